//! Requests to the HTTP API that are not from here, too large or make no sense: refused as problem+json, nothing done.

use super::{goes_on, somebody};
use crate::support::nodes::Person;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// An answer: its status, and its body.
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

impl Answer {
    fn read(mut from: impl Read) -> Answer {
        let mut bytes = Vec::new();
        // A node that refuses a body may close before it has read all of it, which resets the connection.
        let _ = from.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let kind = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-type: ").map(str::to_owned));
        Answer { status, kind: kind.unwrap_or_default(), body: body.to_owned() }
    }

    /// It is a refusal in the form of the API.
    fn refuses(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.kind, "application/problem+json", "{}", self.body);
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
    }
}

/// Where a node's API is on TCP, and its token.
struct Door {
    address: String,
    token: String,
}

impl Door {
    fn of(person: &Person) -> Door {
        let node: Value = serde_json::from_slice(&fs::read(person.home.join("node.json")).unwrap()).unwrap();
        let address = node["api"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Door { address, token: node["token"].as_str().unwrap().to_owned() }
    }

    fn ask(&self, first: &str, headers: &[String], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut head = format!("{first} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
        Answer::read(stream)
    }

    /// With token and Host as they should be.
    fn post(&self, path: &str, kind: &str, body: &[u8]) -> Answer {
        let headers = [&self.host(), &self.bearer(), &format!("Content-Type: {kind}")].map(Clone::clone);
        self.ask(&format!("POST {path}"), &headers, body)
    }

    fn host(&self) -> String {
        format!("Host: {}", self.address)
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }
}

#[test]
fn nobody_asks_over_tcp_without_the_token_or_from_another_page() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let door = Door::of(&alice);
    let (host, bearer) = (door.host(), door.bearer());
    let origin = |origin: &str| format!("Origin: {origin}");
    let text = |text: &str| text.to_owned();
    let half = format!("Authorization: Bearer {}", &door.token[..door.token.len() / 2]);
    let as_basic = format!("Authorization: Basic {}", door.token);
    let refused: [(u16, Vec<String>); 13] = [
        (401, vec![host.clone()]),
        (401, vec![host.clone(), text("Authorization: Bearer wrong")]),
        (401, vec![host.clone(), text("Authorization: Bearer ")]),
        (401, vec![host.clone(), half]),
        (401, vec![host.clone(), as_basic]),
        (403, vec![text("Host: example.org"), bearer.clone()]),
        (403, vec![text("Host: 127.0.0.1.example.org"), bearer.clone()]),
        (403, vec![text("Host: example.org:127.0.0.1"), bearer.clone()]),
        (403, vec![text("Host: "), bearer.clone()]),
        (403, vec![host.clone(), bearer.clone(), origin("http://example.org")]),
        (403, vec![host.clone(), bearer.clone(), origin("null")]),
        (403, vec![host.clone(), bearer.clone(), origin("http://localhost.example.org:80")]),
        (403, vec![host.clone(), bearer.clone(), origin("file://localhost")]),
    ];
    let routes = [
        "GET /v1/status",
        "GET /livez",
        "GET /v1/rooms/zig/messages",
        "GET /v1/events",
        "GET /v1/rooms/zig/export",
        "POST /v1/rooms/zig/messages",
        "POST /v1/rooms/zig/import",
        "POST /v1/stop",
        "GET /v1/people",
        "POST /v1/people/x/block",
        "POST /v1/pins",
        "DELETE /v1/bans/x",
        "GET /no/such/route",
    ];
    for route in routes {
        for (status, headers) in &refused {
            door.ask(route, headers, b"{\"text\": \"intruder\"}").refuses(*status, "unauthorized");
        }
    }
    // The control: as it should be, it is answered.
    for allowed in [vec![host.clone(), bearer.clone()], vec![host, bearer, origin("http://localhost:4711")]] {
        assert_eq!(door.ask("GET /v1/status", &allowed, b"").status, 200);
    }
    goes_on(&alice, &history);
}

#[test]
fn requests_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let door = Door::of(&alice);
    let (json, path) = ("application/json", "/v1/rooms/zig/messages");
    door.post(path, json, b"this is no JSON").refuses(400, "usage");
    door.post(path, json, b"{\"text\": \"cut").refuses(400, "usage");
    door.post(path, json, b"{\"text\": \"caf\xe9\"}").refuses(400, "usage");
    door.post(path, json, b"").refuses(400, "usage");
    door.post(path, json, b"{}").refuses(422, "usage");
    door.post(path, json, b"{\"text\": 1}").refuses(422, "usage");
    door.post(path, json, b"[]").refuses(422, "usage");
    door.post(path, "text/plain", b"{\"text\": \"x\"}").refuses(415, "usage");
    door.post(path, json, b"{\"text\": \"\"}").refuses(400, "usage");
    door.post(path, json, b"{\"text\": \"\\u0007\"}").refuses(400, "usage");
    door.post(path, json, "[".repeat(100_000).as_bytes()).refuses(422, "usage");
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(60_000));
    door.post(path, json, long.as_bytes()).refuses(400, "usage");
    door.post("/v1/rooms/zig/import", json, b"\n\n");
    door.post("/v1/rooms/nowhere/messages", json, b"{\"text\": \"x\"}").refuses(404, "not_found");
    door.post("/v1/rooms/%2e%2e/messages", json, b"{\"text\": \"x\"}").refuses(404, "not_found");
    door.post("/v1/no/such/route", json, b"{}").refuses(404, "not_found");
    door.post("/v1/join", json, b"{\"link\": \"x\", \"wait_ms\": 1}").refuses(400, "link");
    door.post("/v1/status", json, b"{}").refuses(405, "usage");
    let headers = [door.host(), door.bearer()];
    for query in ["?limit=many", "?limit=-1", "?before=a&after=b", "?limit=99999999999999999999999"] {
        door.ask(&format!("GET {path}{query}"), &headers, b"").refuses(400, "usage");
    }
    goes_on(&alice, &history);
}

#[test]
fn requests_that_are_too_large_or_are_not_http() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let door = Door::of(&alice);
    let body = format!("{{\"text\": \"{}\"}}", "x".repeat(3 << 20));
    door.post("/v1/rooms/zig/messages", "application/json", body.as_bytes()).refuses(413, "usage");
    let path = format!("GET /v1/rooms/{}", "x".repeat(100_000));
    assert!((400..500).contains(&door.ask(&path, &[door.host(), door.bearer()], b"").status));
    let headers = vec![format!("X-Long: {}", "x".repeat(1 << 20)), door.host(), door.bearer()];
    assert_ne!(door.ask("GET /v1/status", &headers, b"").status, 200);
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"\r\n\r\n\r\n",
        b"GET\x00/ HTTP/9.9\r\n\r\n",
        &[0xff; 70_000],
    ] {
        let mut stream = TcpStream::connect(&door.address).unwrap();
        let _ = stream.write_all(bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        assert_ne!(Answer::read(stream).status, 200);
    }
    // Connections that say nothing hold nobody up, on either door.
    let node: Value = serde_json::from_slice(&fs::read(alice.home.join("node.json")).unwrap()).unwrap();
    let socket = node["socket"].as_str().unwrap();
    let silent: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(socket).unwrap()).collect();
    goes_on(&alice, &history);
    drop(silent);
}
