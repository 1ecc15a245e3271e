//! Reads an exported history without a node: proves it, then prints its messages.
//!
//! tidings export ROOM -o FILE && cargo run --release --example read_history -- FILE

use std::fs::File;
use std::io::{BufReader, Read};
use tidings_node::text::SafeText;
use tidings_protocol::codec::decode;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Body, Class};
use tidings_protocol::limits::EVENT_LEN_MAX;
use tidings_storage::export::{MAGIC, Record};
use tidings_storage::proof::prove;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: read_history FILE")?;
    let (room, proven) = prove(&mut BufReader::new(File::open(&path)?))?;
    println!("room {room}: {} events, {} signatures", proven.events, proven.signatures);

    let mut file = BufReader::new(File::open(&path)?);
    std::io::copy(&mut file.by_ref().take(MAGIC.len() as u64 + 32), &mut std::io::sink())?;
    loop {
        let mut len = [0; 4];
        file.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        if len == 0 {
            return Ok(());
        }
        let mut bytes = vec![0; len.min(EVENT_LEN_MAX)];
        file.read_exact(&mut bytes)?;
        let record: Record = decode(&bytes, EVENT_LEN_MAX)?;
        let Body::Kept(payload) = record.body else { continue };
        if record.header.class != Class::Content {
            continue;
        }
        match Content::decode(record.header.kind, &payload.bytes)? {
            Content::Text(text) | Content::Reply { text, .. } => println!("{}", SafeText::line(&text.body)),
            Content::Imported(i) => println!("{}: {}", SafeText::line(&i.author), SafeText::line(&i.text)),
            _ => {}
        }
    }
}
