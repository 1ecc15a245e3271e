//! What a device's node holds of a room at this moment, signed for one who asked: Draft -> SignedAnswer -> checked. A Holds
//! beacon says the same to all, some time later; an answer is as fresh as the question, whose nonce it has.
//!
//! Of these `tidings audit` is made. An answer is its device's claim, and no more.

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::event::Hlc;
use crate::id::{DeviceId, RoomId};
use crate::identity::{BadSignature, DeviceKey, Domain, Signature, verify};

/// What we are about to answer: a typed local intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draft {
    /// Of which room.
    pub room: RoomId,
    /// Of the Ask.
    pub nonce: [u8; 16],
    /// When, by our clock.
    pub hlc: Hlc,
    /// Digest of the control heads that we hold (PROTOCOL.md, section 14).
    pub control: [u8; 32],
    /// Of the content heads that count.
    pub content: [u8; 32],
    /// Nothing below these heads is missing, and all of it is on disk.
    pub durable: bool,
}

impl Draft {
    /// Signs it.
    pub fn sign(self, key: &DeviceKey) -> SignedAnswer {
        let Draft { room, nonce, hlc, control, content, durable } = self;
        let signature = Signature([0; 64]);
        let unsigned = SignedAnswer { device: key.device(), nonce, hlc, control, content, durable, signature };
        SignedAnswer { signature: key.sign(Domain::Answer, &unsigned.claim(room)), ..unsigned }
    }
}

/// An answer as it travels, in a frame that names the room: nothing of it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedAnswer {
    /// Who answers.
    pub device: DeviceId,
    /// What it answers.
    pub nonce: [u8; 16],
    /// When, by its clock.
    pub hlc: Hlc,
    /// Digest of the control heads that its node holds.
    pub control: [u8; 32],
    /// Of the content heads that count.
    pub content: [u8; 32],
    /// Nothing below these heads is missing there, and all of it is on disk.
    pub durable: bool,
    /// By the device, over all of it and the room.
    pub signature: Signature,
}

impl SignedAnswer {
    /// Checks that the device said this, of this room.
    ///
    /// # Errors
    /// `BadSignature`: whoever brings it is at fault.
    pub fn verify(&self, room: RoomId) -> Result<(), BadSignature> {
        verify(self.device.as_bytes(), Domain::Answer, &self.claim(room), &self.signature)
    }

    fn claim(&self, room: RoomId) -> Vec<u8> {
        let mut w = Writer::default();
        room.write(&mut w);
        self.write_unsigned(&mut w);
        w.into_bytes()
    }

    fn write_unsigned(&self, w: &mut Writer) {
        self.device.write(w);
        w.array(&self.nonce);
        w.u64(self.hlc.0);
        w.array(&self.control);
        w.array(&self.content);
        w.u8(u8::from(self.durable));
    }
}

impl Canonical for SignedAnswer {
    fn write(&self, w: &mut Writer) {
        self.write_unsigned(w);
        self.signature.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (device, nonce, hlc) = (DeviceId::read(r)?, r.array()?, Hlc(r.u64()?));
        let (control, content) = (r.array()?, r.array()?);
        let durable = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Invalid("flag")),
        };
        Ok(SignedAnswer { device, nonce, hlc, control, content, durable, signature: Signature::read(r)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    const ROOM: RoomId = RoomId([3; 32]);

    fn answer() -> SignedAnswer {
        let (control, content) = ([5; 32], [6; 32]);
        let draft = Draft { room: ROOM, nonce: [4; 16], hlc: Hlc::at_ms(7), control, content, durable: true };
        draft.sign(&DeviceKey::from_seed(&[1; 32]))
    }

    #[test]
    fn each_bit_of_an_answer_is_signed_and_its_room() {
        let bytes = encode(&answer());
        assert_eq!(decode::<SignedAnswer>(&bytes, bytes.len()).unwrap(), answer());
        assert!(answer().verify(ROOM).is_ok() && answer().verify(RoomId([2; 32])).is_err());
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let read = decode::<SignedAnswer>(&other, other.len());
            assert!(read.is_ok_and(|answer| answer.verify(ROOM).is_err()), "byte {at}");
        }
        let mut flag = bytes.clone();
        flag[bytes.len() - 65] = 2;
        assert!(decode::<SignedAnswer>(&flag, flag.len()).is_err());
    }
}
