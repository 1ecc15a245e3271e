//! Our own node's HTTP API as a client sees it, over the Unix socket in the node's home.
//!
//! One connection for each request. What the node refuses comes back as its own words; what it sends is bounded, so a
//! broken node cannot eat the memory of the program that talks to it.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::api::types::{Notice, Problem};

/// Talks to the node whose socket this is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the node that listens on `socket`. Nothing is connected until the first request.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`. `path` begins with a slash and carries its query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        whole(self.request(Method::GET, path, None).await?).await
    }

    /// `POST path` with `body` as JSON.
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let json = serde_json::to_vec(body).map_err(ProtocolError::Json)?;
        let content =
            Content { media_type: "application/json", body: Full::new(Bytes::from(json)).map_err(never).boxed() };
        whole(self.request(Method::POST, path, Some(content)).await?).await
    }

    /// `DELETE path`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        whole(self.request(Method::DELETE, path, None).await?).await
    }

    /// `POST path` with all of `source` as the body, sent as it is read. The answer's lines of JSON come while the body
    /// is still being sent.
    pub async fn post_stream<T, R>(&self, path: &str, source: R) -> Result<JsonLines<T>, ClientError>
    where
        T: DeserializeOwned,
        R: AsyncRead + Send + Sync + Unpin + 'static,
    {
        let chunks = stream::unfold(Some(source), next_chunk);
        let content = Content { media_type: "application/x-ndjson", body: StreamBody::new(chunks).boxed() };
        let answer = self.request(Method::POST, path, Some(content)).await?;
        Ok(JsonLines { lines: Lines::new(answer.into_body()), shape: PhantomData })
    }

    /// `GET path`, its answer written to `sink` as it comes. Returns the bytes written.
    pub async fn download<W: AsyncWrite + Unpin>(&self, path: &str, sink: &mut W) -> Result<u64, ClientError> {
        let mut body = self.request(Method::GET, path, None).await?.into_body();
        let mut written = 0u64;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(ProtocolError::Http)?.into_data() {
                sink.write_all(&data).await?;
                written += data.len() as u64;
            }
        }
        sink.flush().await?;
        Ok(written)
    }

    /// `GET /v1/events`: what happens from now on, or after the cursor `since`. Once this returns, the node listens:
    /// nothing that happens afterwards is missed while the stream lasts. It does not reconnect by itself.
    pub async fn events(&self, since: Option<u64>) -> Result<Events, ClientError> {
        let path = match since {
            Some(cursor) => format!("/v1/events?since={cursor}"),
            None => "/v1/events".to_owned(),
        };
        let answer = self.request(Method::GET, &path, None).await?;
        Ok(Events { lines: Lines::new(answer.into_body()) })
    }

    /// One request on a connection of its own. An answer that is not a success becomes an error.
    async fn request(
        &self,
        method: Method,
        path: &str,
        content: Option<Content>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ProtocolError::Http)?;
        // Ends by itself when both bodies are done or dropped; its errors reach us through them.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = match content {
            Some(content) => request.header("content-type", content.media_type).body(content.body),
            None => request.body(Empty::new().map_err(never).boxed()),
        };
        let request = request.map_err(|_| ProtocolError::Path(path.to_owned()))?;
        let answer = sender.send_request(request).await.map_err(ProtocolError::Http)?;
        if answer.status().is_success() { Ok(answer) } else { Err(problem(answer).await) }
    }
}

/// The lines of JSON that answer a streamed request.
#[derive(Debug)]
pub struct JsonLines<T> {
    lines: Lines,
    shape: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    /// The next one; none at the end. May be cancelled and called again.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        while let Some(line) = self.lines.next().await? {
            if !line.trim_ascii().is_empty() {
                return Ok(Some(serde_json::from_slice(&line).map_err(ProtocolError::Json)?));
            }
        }
        Ok(None)
    }
}

/// The node's notices as they come.
#[derive(Debug)]
pub struct Events {
    lines: Lines,
}

impl Events {
    /// The next notice; none when the node ends the stream. May be cancelled and called again.
    pub async fn next(&mut self) -> Result<Option<Notice>, ClientError> {
        // A notice is one `data:` line here; its cursor is inside, so `id:` lines say nothing new.
        while let Some(line) = self.lines.next().await? {
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            match serde_json::from_slice(data) {
                Ok(notice) => return Ok(Some(notice)),
                // A kind of notice that a later node has and we do not know is none of our business.
                Err(_) if serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() => {}
                Err(error) => return Err(ProtocolError::Json(error).into()),
            }
        }
        Ok(None)
    }
}

/// Why a request brought no answer that one can use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket, or there is none.
    #[error("no node is running here")]
    NotRunning,
    /// The node said no: in its own words.
    #[error("{}", .0.title)]
    Problem(Problem),
    /// Reading or writing failed on our side.
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
    /// What came back is not what the API promises, or stopped halfway. What was asked for may have been done.
    #[error("the node's answer cannot be used")]
    Protocol(#[from] ProtocolError),
}

/// How an answer broke the API's promise.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// Not HTTP, or cut off.
    #[error("not a whole HTTP answer")]
    Http(#[source] hyper::Error),
    /// Not JSON, or of another shape.
    #[error("not the JSON expected")]
    Json(#[source] serde_json::Error),
    /// More bytes than this.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// An error that explains nothing.
    #[error("HTTP status {0} without an explanation")]
    Status(u16),
    /// Our own path is none.
    #[error("{0:?} is not a path")]
    Path(String),
}

struct Content {
    media_type: &'static str,
    body: BoxBody<Bytes, io::Error>,
}

/// Lines of a body, each bounded.
#[derive(Debug)]
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// No newline between `start` and here.
    searched: usize,
}

impl Lines {
    fn new(body: Incoming) -> Self {
        Self { body, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// The next line without its end; a last line without one counts.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(Some(line));
            }
            if self.buffer.len() - self.start > LINE_LEN_MAX {
                return Err(ProtocolError::TooLong(LINE_LEN_MAX).into());
            }
            let Some(frame) = self.body.frame().await else {
                let rest = self.buffer.split_off(self.start);
                self.searched = self.start;
                return Ok((!rest.is_empty()).then_some(rest));
            };
            if let Ok(data) = frame.map_err(ProtocolError::Http)?.into_data() {
                self.buffer.drain(..self.start);
                self.searched -= self.start;
                self.start = 0;
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    fn cut(&mut self) -> Option<Vec<u8>> {
        let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + found;
        let line = &self.buffer[self.start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.start = end + 1;
        self.searched = self.start;
        Some(line)
    }
}

/// A name as a part of a path.
pub fn segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    // An empty or dotted segment would name another route.
    if matches!(out.as_str(), "" | "." | "..") { "%20".to_owned() } else { out }
}

async fn whole<T: DeserializeOwned>(answer: Response<Incoming>) -> Result<T, ClientError> {
    let bytes = collect(answer).await?;
    let json = if bytes.is_empty() { b"null".as_slice() } else { &bytes };
    Ok(serde_json::from_slice(json).map_err(ProtocolError::Json)?)
}

async fn problem(answer: Response<Incoming>) -> ClientError {
    let status = answer.status().as_u16();
    let explained = collect(answer).await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    explained.map_or_else(|| ProtocolError::Status(status).into(), ClientError::Problem)
}

async fn collect(answer: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX);
    let collected = body.collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return ProtocolError::TooLong(ANSWER_LEN_MAX).into();
        }
        match error.downcast::<hyper::Error>() {
            Ok(error) => ClientError::from(ProtocolError::Http(*error)),
            Err(error) => ClientError::from(io::Error::other(error)),
        }
    })?;
    Ok(collected.to_bytes())
}

async fn next_chunk<R: AsyncRead + Unpin>(source: Option<R>) -> Option<(io::Result<Frame<Bytes>>, Option<R>)> {
    let mut source = source?;
    let mut chunk = vec![0; CHUNK_LEN];
    match source.read(&mut chunk).await {
        Ok(0) => None,
        Ok(read) => {
            chunk.truncate(read);
            Some((Ok(Frame::data(Bytes::from(chunk))), Some(source)))
        }
        Err(error) => Some((Err(error), None)),
    }
}

fn unreachable(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
        _ => ClientError::Io(error),
    }
}

fn never(impossible: std::convert::Infallible) -> io::Error {
    match impossible {}
}

/// A whole answer: the longest is a page of messages, each of 48 KiB that JSON may escape sixfold.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;
/// A line of a stream: one message as above, with its reactions.
const LINE_LEN_MAX: usize = 4 * 1024 * 1024;
/// Read at once from a source that is sent.
const CHUNK_LEN: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Happened, ImportProgress};
    use http_body_util::combinators::UnsyncBoxBody;
    use hyper::server::conn::http1 as server;
    use hyper::service::service_fn;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use tokio::net::UnixListener;

    type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

    fn says(status: u16, body: impl Into<Bytes>) -> Answer {
        Response::builder().status(status).body(Full::new(body.into()).boxed_unsync()).unwrap()
    }

    fn streams(chunks: Vec<&'static [u8]>) -> Answer {
        let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk))));
        Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
    }

    /// A node that answers by the path asked for.
    async fn respond(request: Request<Incoming>) -> Result<Answer, Infallible> {
        let path = request.uri().path_and_query().unwrap().to_string();
        Ok(match (request.method().as_str(), path.as_str()) {
            ("GET", "/v1/id") => says(200, r#"{"user":"u","device":"d","name":"Ana","peer":"p","later":1}"#),
            ("POST", "/v1/echo") => says(200, request.into_body().collect().await.unwrap().to_bytes()),
            ("DELETE", "/v1/thing") => says(204, ""),
            ("GET", "/v1/refused") => {
                says(403, r#"{"status":403,"code":"refused","title":"You may not.","detail":"Ask an admin."}"#)
            }
            ("GET", "/v1/mute") => says(500, "oops"),
            ("GET", "/v1/huge") => says(200, vec![b' '; ANSWER_LEN_MAX + 1]),
            ("GET", "/v1/file") => streams(vec![b"abc", b"", b"defg"]),
            ("POST", "/v1/import") => counted(request),
            ("GET", "/v1/events") => streams(vec![
                b": hello\n\nid: 7\nda",
                b"ta: {\"cursor\":7,\"type\":\"peers\"}\r\n\r\ndata: {\"cursor\":8,\"type\":\"of a later version\"}\n\n",
                b"data:{\"cursor\":9,\"type\":\"backfill\",\"room\":\"r\",\"held\":12}\n\n",
            ]),
            ("GET", "/v1/events?since=5") => streams(vec![b"data: not json\n\n"]),
            ("GET", "/v1/events?since=6") => says(200, vec![b'x'; LINE_LEN_MAX + 2]),
            _ => says(404, ""),
        })
    }

    /// Acknowledges each chunk while the rest is still on its way.
    fn counted(request: Request<Incoming>) -> Answer {
        let lines = stream::unfold((request.into_body(), 0u64), |(mut body, seen)| async move {
            let data = body.frame().await?.unwrap().into_data().unwrap();
            let seen = seen + data.len() as u64;
            Some((Ok(Frame::data(Bytes::from(format!("{{\"acknowledged\":{seen}}}\n\n")))), (body, seen)))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }

    fn node() -> (tempfile::TempDir, Client) {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("node.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), service_fn(respond)));
            }
        });
        (home, Client::new(socket))
    }

    #[tokio::test]
    async fn json_goes_out_and_comes_back() {
        let (_home, client) = node();
        let id: crate::api::types::Identity = client.get("/v1/id").await.unwrap();
        assert_eq!(id.name, "Ana");
        assert_eq!(client.post::<_, Value>("/v1/echo", &json!({"a": [1]})).await.unwrap(), json!({"a": [1]}));
        client.delete::<()>("/v1/thing").await.unwrap();
    }

    #[tokio::test]
    async fn refusal_comes_in_the_nodes_own_words() {
        let (_home, client) = node();
        let error = client.get::<Value>("/v1/refused").await.unwrap_err();
        assert_eq!(error.to_string(), "You may not.");
        assert!(matches!(error, ClientError::Problem(problem) if problem.detail == "Ask an admin."));
        let error = client.get::<Value>("/v1/mute").await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol(ProtocolError::Status(500))), "{error:?}");
    }

    #[tokio::test]
    async fn absent_node_is_told_from_a_broken_one() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("node.sock");
        let client = Client::new(socket.clone());
        assert!(matches!(client.get::<Value>("/v1/id").await, Err(ClientError::NotRunning)));
        // A socket left behind by a node that was killed.
        drop(UnixListener::bind(&socket).unwrap());
        assert!(matches!(client.get::<Value>("/v1/id").await, Err(ClientError::NotRunning)));
        std::fs::remove_file(&socket).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        });
        let error = client.get::<Value>("/v1/id").await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol(ProtocolError::Http(_))), "{error:?}");
    }

    #[tokio::test]
    async fn answers_and_lines_are_bounded() {
        let (_home, client) = node();
        let error = client.get::<Value>("/v1/huge").await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol(ProtocolError::TooLong(ANSWER_LEN_MAX))), "{error:?}");
        let error = client.events(Some(6)).await.unwrap().next().await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol(ProtocolError::TooLong(LINE_LEN_MAX))), "{error:?}");
    }

    #[tokio::test]
    async fn notices_are_read_and_unknown_ones_passed_over() {
        let (_home, client) = node();
        let mut events = client.events(None).await.unwrap();
        let first = events.next().await.unwrap().unwrap();
        assert_eq!((first.cursor, first.what), (7, Happened::Peers));
        let second = events.next().await.unwrap().unwrap();
        assert_eq!(second.what, Happened::Backfill { room: "r".into(), held: 12 });
        assert_eq!(events.next().await.unwrap(), None);
        assert!(client.events(Some(5)).await.unwrap().next().await.is_err());
    }

    #[tokio::test]
    async fn import_is_acknowledged_while_it_is_sent() {
        let (_home, client) = node();
        let (mut feed, source) = tokio::io::duplex(16);
        let mut lines = client.post_stream::<ImportProgress, _>("/v1/import", source).await.unwrap();
        feed.write_all(b"0123456").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(ImportProgress::Acknowledged { acknowledged: 7 }));
        feed.write_all(b"789").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(ImportProgress::Acknowledged { acknowledged: 10 }));
        drop(feed);
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn download_arrives_whole() {
        let (_home, client) = node();
        let mut sink = Vec::new();
        assert_eq!(client.download("/v1/file", &mut sink).await.unwrap(), 7);
        assert_eq!(sink, b"abcdefg");
    }
}
