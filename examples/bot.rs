//! A bot: repeats what others say in a room, over the HTTP API of a node that runs already. Says goodbye at "bye bot".
//!
//! tidings up &   cargo run --release --example bot -- HOME ROOM

use tidings_node::api::client::Client;
use tidings_node::api::types::{Happened, Identity, Room, SendMessage, Sent};
use tidings_node::home::Home;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let home = arguments.next().ok_or("usage: bot HOME ROOM")?;
    let room = arguments.next().ok_or("usage: bot HOME ROOM")?;
    let running = Home::existing(home.as_ref()).and_then(|home| home.running()).ok_or("no node runs in that home")?;
    let node = Client::new(running.socket.into());
    let me: Identity = node.get("/v1/id").await?;
    let room: Room = node.get(&format!("/v1/rooms/{room}")).await?;

    // From now on; what is said while we answer waits in the stream.
    let mut events = node.events(None).await?;
    println!("listening in {}", room.name);
    while let Some(notice) = events.next().await? {
        let Happened::Message { message } = notice.what else { continue };
        // Our own answers come back to us too, and edits of old messages tell nothing new.
        if message.room != room.room || message.user == me.user || message.edited || message.erased {
            continue;
        }
        let bye = message.text == "bye bot";
        let text = if bye { "bye".to_owned() } else { format!("you said: {}", message.text) };
        let answer = SendMessage { text, reply_to: Some(message.id), file: None };
        let sent: Sent = node.post(&format!("/v1/rooms/{}/messages", room.room), &answer).await?;
        println!("answered with {}", sent.id);
        if bye {
            break;
        }
    }
    Ok(())
}
