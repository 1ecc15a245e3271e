//! Addresses and ports that cannot be had.

use super::{goes_on, somebody};
use crate::support::nodes::Person;
use std::net::{TcpListener, UdpSocket};

#[test]
fn ports_that_are_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, history) = somebody(folder.path());
    alice.down();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let taken = TcpListener::bind(("127.0.0.1", tcp)).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_port = udp.local_addr().unwrap().port();
    let up = |flags: &[&str], says: &[&str]| {
        alice.refused(1, &[&["up", "--no-mdns"], flags].concat(), &[says, &["in use"]].concat());
    };
    let free = "/ip4/127.0.0.1/tcp/0";
    up(&["--listen", &format!("/ip4/127.0.0.1/tcp/{tcp}")], &["cannot listen on", "--listen /ip4/0.0.0.0/tcp/0"]);
    up(&["--listen", &format!("/ip4/127.0.0.1/udp/{udp_port}/quic-v1")], &["cannot listen on", "--listen"]);
    up(&["--listen", free, "--api", &format!("127.0.0.1:{tcp}")], &["the API cannot listen", "--api 127.0.0.1:0"]);
    drop((taken, udp));
    alice.up();
    goes_on(&alice, &history);
}

#[test]
fn addresses_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, history) = somebody(folder.path());
    for address in ["", "nonsense", "/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/99999/p2p/x"] {
        alice.refused(2, &["peers", "add", address], &["12D3Koo"]);
    }
    let own = alice.ready["listen"][0].as_str().unwrap().to_owned();
    alice.refused(2, &["peers", "add", &own], &["this node's own address"]);
    alice.down();
    let free = "/ip4/127.0.0.1/tcp/0";
    for (flags, says) in [
        (&["--listen", "nonsense"][..], "write for example /ip4/0.0.0.0/tcp/4001"),
        (&["--listen", free, "--peer", "nonsense"], "write for example"),
        (&["--listen", free, "--peer", "/ip4/1.2.3.4/tcp/1"], "does not end in /p2p/"),
        (&["--listen", free, "--api", "nonsense"], "write for example 127.0.0.1:0"),
        (&["--listen", free, "--api", "0.0.0.0:0"], "only loopback addresses"),
    ] {
        alice.refused(2, &[&["up", "--no-mdns"], flags].concat(), &[says]);
    }
    alice.up();
    goes_on(&alice, &history);
    let nobody = Person::at(folder.path(), "nobody");
    nobody.refused(3, &["down"], &["no node is running"]);
}
