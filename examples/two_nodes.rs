//! Two nodes in one process: one makes a room, the other joins by link, both have the same history.
//!
//! cargo run --release --example two_nodes

use std::time::Duration;
use tidings_node::api::types::{CreateInvite, CreateRoom, Line};
use tidings_node::config::Settings;
use tidings_node::home::Home;
use tidings_node::node::Node;
use tidings_node::page::From;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = Settings { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], no_mdns: true, ..Settings::default() };
    let alice = Node::start(&Home::open(&folder.path().join("alice"))?, &settings).await?;
    let bob = Node::start(&Home::open(&folder.path().join("bob"))?, &settings).await?;
    alice.handle().wait_listening().await;
    alice.handle().set_name("Alice").await?;
    bob.handle().set_name("Bob").await?;

    let room = CreateRoom { name: "lab".into(), public: false, invite_rank: None };
    alice.handle().create_room(&room).await?;
    alice.handle().send("lab", "the experiment has begun", None).await?;

    let invite = alice.handle().invite("lab", &CreateInvite { role: None, expires_ms: None }).await?;
    let link = invite.link.ok_or("no link")?;
    let joined = bob.handle().join(&link, Duration::from_secs(20)).await?;
    println!("Bob joined {}", joined.alias);

    let mut news = alice.handle().notices(None)?;
    let sent = bob.handle().send("lab", "I see it", None).await?;
    while let Some(notice) = news.next().await {
        if serde_json::to_string(&notice)?.contains(&sent.id) {
            break;
        }
    }
    for (name, node) in [("Alice", &alice), ("Bob", &bob)] {
        println!("what {name} sees:");
        let (_, view) = node.handle().room_view("lab")?;
        for line in node.handle().page(&view, From::Newest, 10)? {
            if let Line::Message(message) = line {
                println!("  {}: {}", message.name, message.text);
            }
        }
    }
    alice.stop().await;
    bob.stop().await;
    Ok(())
}
