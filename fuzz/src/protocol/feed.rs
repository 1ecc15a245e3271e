//! Bytes that become decisions. At their end everything is zero, so a short input is one that is soon over.

/// What is left of an input.
pub struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Feed(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    /// A number that is small, at the end of its range, or any.
    pub fn u64(&mut self) -> u64 {
        match self.u8() {
            small @ 0..=0xf7 => u64::from(small),
            0xf8 => u64::MAX,
            0xf9 => u64::MAX - u64::from(self.u8()),
            0xfa => i64::MAX as u64,
            0xfb => u64::from(self.u32()),
            _ => u64::from_be_bytes(self.array()),
        }
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.bytes(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A length of two bytes, and at most so many.
    pub fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16());
        self.bytes(len)
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// One of these; `None` where there are none.
    pub fn pick<'b, T>(&mut self, of: &'b [T]) -> Option<&'b T> {
        let n = usize::from(self.u8());
        of.get(n.checked_rem(of.len())?)
    }

    /// True as often as `times` in 256.
    pub fn rarely(&mut self, times: u8) -> bool {
        self.u8() > u8::MAX - times
    }
}
