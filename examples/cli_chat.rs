//! The smallest peer-to-peer chat: a line typed is a message, a message is a line. Ends with its input.
//!
//! cargo run --release --example cli_chat -- FOLDER NAME          makes a room and prints its link
//! cargo run --release --example cli_chat -- FOLDER NAME LINK     joins it

use std::io::BufRead;
use std::time::Duration;
use tidings_node::api::types::{CreateInvite, CreateRoom, Happened};
use tidings_node::config::Settings;
use tidings_node::handle::NodeHandle;
use tidings_node::home::Home;
use tidings_node::node::Node;
use tidings_node::text::SafeText;
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, name, link @ ..] = arguments.as_slice() else {
        return Err("usage: cli_chat FOLDER NAME [LINK]".into());
    };
    let node = Node::start(&Home::open(folder.as_ref())?, &Settings::default()).await?;
    let handle = node.handle();
    handle.wait_listening().await;
    handle.set_name(name).await?;
    let room = match link.first() {
        Some(link) => handle.join(link, Duration::from_secs(60)).await?.room,
        None => make_room(&handle).await?,
    };
    let mut news = handle.notices(None)?;
    let mut lines = typed();
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => drop(handle.send(&room, &line, None).await?),
                None => break,
            },
            notice = news.next() => match notice.map(|n| n.what) {
                Some(Happened::Message { message }) if message.room == room => {
                    println!("{}: {}", SafeText::line(&message.name), SafeText::line(&message.text));
                }
                Some(_) => {}
                None => break,
            },
        }
    }
    node.stop().await;
    Ok(())
}

async fn make_room(handle: &NodeHandle) -> Result<String> {
    let room = handle.create_room(&CreateRoom { name: "chat".into(), public: false, invite_rank: None }).await?;
    let invite = handle.invite(&room.room, &CreateInvite { role: None, expires_ms: None }).await?;
    println!("{}", invite.link.unwrap_or_default());
    Ok(room.room)
}

/// Lines of standard input, read where waiting for a person holds nobody up.
fn typed() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
