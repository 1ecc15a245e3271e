//! What the next event, log and room are called: numbers are never given again.

use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer};

/// What the next of each kind is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) event: u64,
    pub(crate) log: u32,
    pub(crate) room: u32,
}

impl Canonical for Counters {
    fn write(&self, w: &mut Writer) {
        w.u64(self.event);
        w.u32(self.log);
        w.u32(self.room);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Counters { event: r.u64()?, log: r.u32()?, room: r.u32()? })
    }
}
