//! A program that embeds a node: it keeps a notebook in a room of its own, and finds it again at the next start.
//!
//! cargo run --release --example own_node -- FOLDER "something to remember"

use tidings_node::api::types::{CreateRoom, Line};
use tidings_node::config::Settings;
use tidings_node::home::Home;
use tidings_node::node::Node;
use tidings_node::page::From;
use tidings_node::text::SafeText;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: own_node FOLDER TEXT")?;
    let note = arguments.next().ok_or("usage: own_node FOLDER TEXT")?;
    let settings = Settings { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], no_mdns: true, ..Settings::default() };
    let node = Node::start(&Home::open(folder.as_ref())?, &settings).await?;
    let handle = node.handle();

    if handle.room_view("notebook").is_err() {
        handle.create_room(&CreateRoom { name: "notebook".into(), public: false, invite_rank: None }).await?;
    }
    // When this returns, it is on disk.
    handle.send("notebook", &note, None).await?;

    let (_, view) = handle.room_view("notebook")?;
    for line in handle.page(&view, From::Newest, 20)? {
        if let Line::Message(message) = line {
            println!("{}", SafeText::line(&message.text));
        }
    }
    node.stop().await;
    Ok(())
}
