//! Frames on a stream: four bytes of length, then the frame. The length is checked before anything is allocated.

use crate::network::Duplex;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidings_protocol::limits::FRAME_LEN_MAX;
use tidings_protocol::wire::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// Bytes of a conversation on its stream, both ways, and those of them that are events.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Received, length prefixes included.
    pub received: AtomicU64,
    /// Sent.
    pub sent: AtomicU64,
    /// Of both: frames that carry chunks of events or pushed events.
    pub events: AtomicU64,
}

impl Traffic {
    fn count(&self, direction: &AtomicU64, frame: &Frame, len: usize) {
        let len = len as u64 + 4;
        direction.fetch_add(len, Ordering::Relaxed);
        if matches!(frame, Frame::Events { .. } | Frame::Push { .. }) {
            self.events.fetch_add(len, Ordering::Relaxed);
        }
    }
}

/// The two ends of a stream. Frames are boxed: a queue has room for 32 from its beginning, and most streams are idle.
pub struct Frames {
    /// Frames that come; an error ends them.
    pub incoming: mpsc::Receiver<Result<Box<Frame>, Error>>,
    /// Frames to send.
    pub outgoing: mpsc::Sender<Box<Frame>>,
}

/// Serves a stream with two tasks, so that neither side ever waits with both hands full.
pub fn serve(stream: Box<dyn Duplex>, traffic: Arc<Traffic>) -> Frames {
    let (reader, writer) = tokio::io::split(stream.compat());
    let (in_queue, incoming) = mpsc::channel(IN_MAX);
    let (outgoing, out_queue) = mpsc::channel(OUT_MAX);
    tokio::spawn(read(reader, in_queue, traffic.clone()));
    tokio::spawn(write(writer, out_queue, traffic));
    Frames { incoming, outgoing }
}

async fn read(
    mut reader: ReadHalf<Compat<Box<dyn Duplex>>>,
    queue: mpsc::Sender<Result<Box<Frame>, Error>>,
    traffic: Arc<Traffic>,
) {
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut reader, &traffic) => frame,
            () = queue.closed() => return,
        };
        let ended = frame.is_err();
        if queue.send(frame.map(Box::new)).await.is_err() || ended {
            return;
        }
    }
}

async fn read_frame(reader: &mut ReadHalf<Compat<Box<dyn Duplex>>>, traffic: &Traffic) -> Result<Frame, Error> {
    let len = reader.read_u32().await? as usize;
    if len > FRAME_LEN_MAX {
        return Err(Error::new(ErrorKind::InvalidData, format!("a frame of {len} bytes")));
    }
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).await?;
    let frame = Frame::from_bytes(&bytes).map_err(|e| Error::new(ErrorKind::InvalidData, e.to_string()))?;
    traffic.count(&traffic.received, &frame, len);
    Ok(frame)
}

async fn write(
    mut writer: WriteHalf<Compat<Box<dyn Duplex>>>,
    mut queue: mpsc::Receiver<Box<Frame>>,
    traffic: Arc<Traffic>,
) {
    while let Some(frame) = queue.recv().await {
        let bytes = frame.to_bytes();
        traffic.count(&traffic.sent, &frame, bytes.len());
        let mut framed = Vec::with_capacity(bytes.len() + 4);
        framed.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend_from_slice(&bytes);
        let flush = queue.is_empty();
        let written = async {
            writer.write_all(&framed).await?;
            if flush { writer.flush().await } else { Ok(()) }
        };
        // A peer that takes nothing must not keep what is queued for it.
        if !matches!(tokio::time::timeout(STALLED_AFTER, written).await, Ok(Ok(()))) {
            return;
        }
    }
    drop(writer.shutdown().await);
}

/// Frames read and not yet dealt with; with 256 KiB each the memory of one peer stays bounded.
const IN_MAX: usize = 8;
/// Frames that wait to be sent: few, since they go even to a peer that is shut out meanwhile.
const OUT_MAX: usize = 16;
/// A frame that nobody takes for so long ends the stream.
const STALLED_AFTER: Duration = Duration::from_secs(30);
