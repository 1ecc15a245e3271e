//! Prosody's rooms with their archive (MUC and MAM), as Debian has it: spoken to in bare XMPP over TCP. It verifies nobody's
//! signature, and its archive is in the page cache when a message goes to those who listen.

use crate::process::{Server, free_port, installed};
use crate::{Result, WAIT_MAX};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running server with one room.
pub struct Prosody {
    pub server: Server,
    port: u16,
}

/// What to call it in a table.
pub async fn name() -> Result<String> {
    let about = installed("prosodyctl", &["about"]).await;
    let about = about.ok_or("prosody is not installed (Debian: apt-get install prosody)")?;
    let version = about.lines().find_map(|line| line.strip_prefix("Prosody ")).unwrap_or("of unknown version");
    Ok(format!("Prosody {}, page cache", version.trim()))
}

impl Prosody {
    pub async fn start(folder: &Path) -> Result<Prosody> {
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let port = free_port()?;
        let file = folder.join("prosody.cfg.lua");
        std::fs::write(&file, config(port, &data))?;
        let arguments = ["--config".as_ref(), file.as_os_str(), "-F".as_ref()];
        let server = Server::spawn("prosody", &arguments, folder)?;
        server.listens(port).await?;
        Ok(Prosody { server, port })
    }

    /// Goes into the room under a name.
    async fn enter(&self, name: &str) -> Result<(Reader, OwnedWriteHalf)> {
        let stream = timeout(WAIT_MAX, TcpStream::connect(("127.0.0.1", self.port))).await??;
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut reader = Reader { read, text: Vec::new() };
        let open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";
        let steps = [
            (format!("<?xml version='1.0'?>{open}"), "</stream:features>"),
            ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>".to_owned(), "<success"),
            (open.to_owned(), "</stream:features>"),
            ("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>".to_owned(), "</iq>"),
            (
                format!(
                    "<presence to='{ROOM}/{name}'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
                ),
                "<subject",
            ),
        ];
        for (say, until) in steps {
            write.write_all(say.as_bytes()).await?;
            timeout(WAIT_MAX, reader.until(until)).await??;
        }
        Ok((reader, write))
    }

    /// Others in the room; each says when it had so many.
    pub async fn listeners(&self, count: usize, events: usize) -> Result<Vec<JoinHandle<Option<Instant>>>> {
        let mut out = Vec::new();
        for n in 0..count {
            let (mut reader, write) = self.enter(&format!("listener{n}")).await?;
            out.push(tokio::spawn(async move {
                let _write = write;
                for _ in 0..events {
                    timeout(WAIT_MAX, reader.next()).await.ok()?.ok()?;
                }
                Some(Instant::now())
            }));
        }
        Ok(out)
    }

    /// Says these with at most `window` that did not come back; returns once all have.
    pub async fn say(&self, texts: &[String], window: usize) -> Result<()> {
        let (mut reader, mut write) = self.enter("speaker").await?;
        let permits = Arc::new(Semaphore::new(window));
        let (freed, count) = (permits.clone(), texts.len());
        let back = tokio::spawn(async move {
            for _ in 0..count {
                reader.next().await.ok()?;
                freed.add_permits(1);
            }
            Some(())
        });
        for (n, text) in texts.iter().enumerate() {
            timeout(WAIT_MAX, permits.acquire()).await??.forget();
            let body = escaped(text);
            let say = format!("<message to='{ROOM}' type='groupchat' id='{MARK}{n}'><body>{body}</body></message>");
            write.write_all(say.as_bytes()).await?;
        }
        Ok(timeout(WAIT_MAX, back).await??.ok_or("prosody did not send everything back")?)
    }
}

fn config(port: u16, data: &Path) -> String {
    format!(
        r#"run_as_root = true
pidfile = {data:?} .. "/pid"
data_path = {data:?}
log = {{ {{ levels = {{ min = "warn" }}, to = "console" }} }}
modules_enabled = {{ "saslauth" }}
modules_disabled = {{ "s2s", "offline" }}
c2s_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_require_encryption = false
storage_archive_item_limit = 10000000
VirtualHost "localhost"
    authentication = "anonymous"
Component "rooms.localhost" "muc"
    modules_enabled = {{ "muc_mam" }}
    muc_room_locking = false
    muc_log_by_default = true
"#
    )
}

/// Reads what a server sends, as far as it has come.
struct Reader {
    read: OwnedReadHalf,
    text: Vec<u8>,
}

impl Reader {
    async fn more(&mut self) -> Result<()> {
        if self.text.len() > TEXT_LEN_MAX {
            return Err("prosody sends what is no message".into());
        }
        match self.read.read_buf(&mut self.text).await? {
            0 => Err("prosody hung up".into()),
            _ => Ok(()),
        }
    }

    /// Drops everything up to the end of this.
    async fn until(&mut self, wanted: &str) -> Result<()> {
        loop {
            if let Some(at) = find(&self.text, wanted.as_bytes()) {
                self.text.drain(..at + wanted.len());
                return Ok(());
            }
            if find(&self.text, b"<failure").or(find(&self.text, b"<stream:error")).is_some() {
                return Err(format!("prosody: {}", String::from_utf8_lossy(&self.text)).into());
            }
            self.more().await?;
        }
    }

    /// The next message of ours.
    async fn next(&mut self) -> Result<()> {
        let mark = format!(" id='{MARK}");
        loop {
            let end = find(&self.text, b"</message>").map(|at| at + b"</message>".len());
            let Some(end) = end else {
                self.more().await?;
                continue;
            };
            let stanza: Vec<u8> = self.text.drain(..end).collect();
            if find(&stanza, b"type='error'").is_some() {
                return Err(format!("prosody: {}", String::from_utf8_lossy(&stanza)).into());
            }
            if find(&stanza, mark.as_bytes()).is_some() {
                return Ok(());
            }
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

/// As XML takes it: without what it forbids, and with nothing that means something.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' => out.push(c),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => {}
            c => out.push(c),
        }
    }
    out
}

const ROOM: &str = "talk@rooms.localhost";
const MARK: &str = "said-";
/// More than any stanza here has.
const TEXT_LEN_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_forbids_goes() {
        assert_eq!(escaped("a<b> & 'c'\u{1}\n\u{ffff}"), "a&lt;b&gt; &amp; &apos;c&apos;\n");
    }

    #[test]
    fn what_is_looked_for_is_found() {
        assert_eq!(find(b"abcabd", b"abd"), Some(3));
        assert_eq!(find(b"ab", b"abd"), None);
    }
}
