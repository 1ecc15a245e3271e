//! Set reconciliation over heads, where there are too many to list and no agreement to begin from. The initiator of the
//! conversation asks for coded symbols (`sketch`) until it knows what differs; the responder asks it to begin, and learns
//! from it, at the end, what the initiator lacks.

use super::conversation::Conversation;
use super::keys::Keys;
use super::sketch::{Decoder, Encoder, Symbol};
use super::{Failure, Holdings, Side};
use crate::codec::{CodecError, Reader, Writer};
use crate::event::Class;
use crate::id::RoomId;
use crate::limits::{
    HEADS_PER_FRAME_MAX, RECONCILE_ROUNDS_MAX, RECONCILE_SHARE_BITS_MAX, RECONCILE_SYMBOLS_MAX, SYMBOLS_PER_FRAME_MAX,
};
use crate::wire::{Frame, Head, Listing};
use std::collections::BTreeMap;

/// Set reconciliation under way.
pub(super) struct Reconcile {
    /// Our heads that the other side was not found to lack yet, by their items.
    heads: BTreeMap<u64, Head>,
    /// Those that it was found to lack.
    have: Vec<Head>,
    share: Share,
    sides: Sides,
    /// About how many items of the share differ, by the first symbols.
    differ: u32,
    rounds: u32,
}

/// What each side does.
enum Sides {
    /// The initiator: what it asked for last.
    Finds(Decoder, Ask),
    /// The responder, once it was asked.
    Tells(Option<Encoder>),
}

/// What the initiator does next.
enum Next {
    Asks(Ask),
    /// All is found, or as much as may be asked for: the items that we lack.
    Ends(Vec<u64>),
}

/// The items that are compared: those whose last `bits` bits are `part`. All of them, unless far more differ than one exchange
/// can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Share {
    bits: u8,
    part: u16,
}

/// What the initiator asks for: `count` symbols from symbol `from` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ask {
    from: u32,
    count: u16,
    share: Share,
}

impl Share {
    /// One of so many shares that what differs can be told, another one with each exchange.
    fn of(differ: u32, exchange: u32) -> Share {
        let symbols = u64::from(differ) * 2;
        let too_many = |bits: u8| symbols >> bits > u64::from(RECONCILE_SYMBOLS_MAX);
        let bits = (0..RECONCILE_SHARE_BITS_MAX).find(|bits| !too_many(*bits)).unwrap_or(RECONCILE_SHARE_BITS_MAX);
        Share { bits, part: (exchange & ((1 << bits) - 1)) as u16 }
    }

    fn has(self, item: u64) -> bool {
        item & ((1 << self.bits) - 1) == u64::from(self.part)
    }

    fn encoder(self, heads: &BTreeMap<u64, Head>) -> Encoder {
        Encoder::new(heads.keys().copied().filter(|item| self.has(*item)))
    }
}

impl Ask {
    /// Of so many symbols more as fit a message.
    fn new(from: u32, more: u32, share: Share) -> Ask {
        let count = more.clamp(1, SYMBOLS_PER_FRAME_MAX).min(RECONCILE_SYMBOLS_MAX - from);
        Ask { from, count: count as u16, share }
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(self.from);
        w.u16(self.count);
        w.u8(self.share.bits);
        w.u16(self.share.part);
        w.into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Ask, CodecError> {
        let mut r = Reader::new(bytes);
        let (from, count) = (r.u32()?, r.u16()?);
        let share = Share { bits: r.u8()?, part: r.u16()? };
        r.end()?;
        let most = SYMBOLS_PER_FRAME_MAX.min(RECONCILE_SYMBOLS_MAX.saturating_sub(from));
        let is_share = share.bits <= RECONCILE_SHARE_BITS_MAX && u32::from(share.part) >> share.bits == 0;
        if count == 0 || u32::from(count) > most || !is_share {
            return Err(CodecError::Invalid("what symbols are asked for"));
        }
        Ok(Ask { from, count, share })
    }
}

impl Reconcile {
    /// At the initiator, and what it asks for first.
    fn finding(keys: &Keys, heads: Vec<Head>) -> (Self, Ask) {
        let ask = Ask::new(0, FIRST_SYMBOLS, Share::default());
        let mut reconcile = Reconcile::telling(keys, heads);
        reconcile.sides = Sides::Finds(Decoder::new(ask.share.encoder(&reconcile.heads)), ask);
        (reconcile, ask)
    }

    /// At the responder.
    fn telling(keys: &Keys, heads: Vec<Head>) -> Self {
        let heads = heads.into_iter().map(|head| (keys.item(&head), head)).collect();
        let (have, share, sides) = (Vec::new(), Share::default(), Sides::Tells(None));
        Reconcile { heads, have, share, sides, differ: 0, rounds: 0 }
    }

    /// Notes heads that the other side lacks: each once, however often it says so.
    fn lacks(&mut self, items: impl IntoIterator<Item = u64>) {
        self.have.extend(items.into_iter().filter_map(|item| self.heads.remove(&item)));
    }

    fn count_round(&mut self) -> Result<(), Failure> {
        self.rounds += 1;
        if self.rounds > RECONCILE_ROUNDS_MAX { Err(Failure::Budget(ROUNDS)) } else { Ok(()) }
    }

    /// Takes the responder's answer.
    fn next(&mut self, message: &[u8], exchange: u32) -> Result<Next, Failure> {
        self.count_round()?;
        let Sides::Finds(decoder, asked) = &mut self.sides else { return Err(BROKEN) };
        let (items, symbols) = symbols(message).map_err(|_| BROKEN)?;
        if symbols.len() != usize::from(asked.count) {
            return Err(BROKEN);
        }
        let is_done = decoder.take(&symbols).map_err(|_| BROKEN)?;
        let came = decoder.came();
        if is_done || came >= RECONCILE_SYMBOLS_MAX || self.rounds == RECONCILE_ROUNDS_MAX {
            let (have, need) = decoder.found();
            if !is_done && have.is_empty() && need.is_empty() {
                return Err(Failure::Budget(ROUNDS));
            }
            self.lacks(have);
            return Ok(Next::Ends(need));
        }
        if asked.from == 0 {
            self.differ = decoder.estimate(items);
        }
        let (differ, share) = (self.differ, Share::of(self.differ, exchange));
        if asked.from == 0 && self.share.bits == 0 && share.bits > 0 {
            self.share = share;
            *decoder = Decoder::new(share.encoder(&self.heads));
            *asked = Ask::new(0, SYMBOLS_PER_FRAME_MAX, share);
        } else {
            let enough = differ.saturating_add(differ / 2);
            *asked = Ask::new(came, enough.saturating_sub(came).max(came / 4), self.share);
        }
        Ok(Next::Asks(*asked))
    }

    fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.count_round()?;
        let ask = Ask::from_bytes(message).map_err(|_| BROKEN)?;
        let Sides::Tells(encoder) = &mut self.sides else { return Err(BROKEN) };
        if ask.share != self.share {
            (self.share, *encoder) = (ask.share, None);
        }
        let encoder = encoder.get_or_insert_with(|| ask.share.encoder(&self.heads));
        if ask.from != encoder.told() {
            return Err(BROKEN);
        }
        let mut w = Writer::default();
        w.length(encoder.len());
        for symbol in encoder.tell(u32::from(ask.count)) {
            w.u64(symbol.sum);
            w.u32(symbol.check);
            w.u16(symbol.count);
        }
        Ok(w.into_bytes())
    }
}

/// How many items they are of, and the symbols.
fn symbols(message: &[u8]) -> Result<(u32, Vec<Symbol>), CodecError> {
    let mut r = Reader::new(message);
    let items = r.u32()?;
    let mut out = Vec::with_capacity(r.rest().len() / SYMBOL_LEN);
    while !r.rest().is_empty() {
        out.push(Symbol { sum: r.u64()?, check: r.u32()?, count: r.u16()? });
    }
    Ok((items, out))
}

impl Conversation {
    /// Asks the initiator to begin: it may think that its list is enough, or that nothing differs.
    pub(super) fn ask_reconcile(&mut self, id: RoomId, class: Class) {
        if let Some(room) = self.open_handle(id) {
            self.send(Frame::Reconcile { room, class, message: Vec::new() });
        }
    }

    pub(super) fn begin_reconcile(&mut self, id: RoomId, class: Class, heads: Vec<Head>) -> Result<(), Failure> {
        let (Some(room), Some(keys)) = (self.open_handle(id), self.keys) else { return Ok(()) };
        let (reconcile, ask) = Reconcile::finding(&keys, heads);
        if let Some(exchange) = self.exchange(id, class) {
            exchange.reconcile = Some(reconcile);
        }
        self.send(Frame::Reconcile { room, class, message: ask.to_bytes() });
        Ok(())
    }

    pub(super) fn take_reconcile(
        &mut self,
        id: RoomId,
        class: Class,
        message: &[u8],
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let (Some(room), Some(keys)) = (self.open_handle(id), self.keys) else { return Ok(()) };
        let (side, now_ms) = (self.settings.side, self.now_ms);
        let Some(exchange) = self.answer(id, class, held)? else { return Ok(()) };
        exchange.moved_ms = now_ms;
        match (side, exchange.told) {
            // They have our list, or it is on its way; it is answered by what we lack.
            (_, Some(Listing::Whole)) => Ok(()),
            (Side::Initiator, told) if message.is_empty() => {
                // They cannot tell what we lack; where we have told all that they may, they still cannot.
                let begins = told.is_some() && !exchange.heard && exchange.reconcile.is_none() && !exchange.reconciled;
                if begins { self.begin_reconcile(id, class, held.heads(id, class, 0)?) } else { Ok(()) }
            }
            (Side::Initiator, _) => {
                let Some(mut reconcile) = exchange.reconcile.take() else {
                    return Err(Failure::Unexpected("reconciliation"));
                };
                let ask = match reconcile.next(message, exchange.number)? {
                    Next::Asks(ask) => ask,
                    Next::Ends(need) => return self.end_reconcile(id, class, reconcile, need, held),
                };
                exchange.reconcile = Some(reconcile);
                self.send(Frame::Reconcile { room, class, message: ask.to_bytes() });
                Ok(())
            }
            (Side::Responder, _) => {
                let mut reconcile = match exchange.reconcile.take() {
                    Some(reconcile) => reconcile,
                    None => Reconcile::telling(&keys, held.heads(id, class, 0)?),
                };
                let message = reconcile.answer(message)?;
                exchange.reconcile = Some(reconcile);
                self.send(Frame::Reconcile { room, class, message });
                Ok(())
            }
        }
    }

    /// Tells what was found, both ways; not what a list has told already.
    fn end_reconcile(
        &mut self,
        id: RoomId,
        class: Class,
        mut done: Reconcile,
        need: Vec<u64>,
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let (Some(room), Some(exchange)) = (self.open_handle(id), self.exchange(id, class)) else { return Ok(()) };
        exchange.reconciled = true;
        let (told, heard) = (exchange.told, exchange.heard);
        if !heard {
            let is_full = need.len().is_multiple_of(HEADS_PER_FRAME_MAX);
            let mut parts: Vec<_> = need.chunks(HEADS_PER_FRAME_MAX).map(<[_]>::to_vec).collect();
            // A part shorter than can be ends them.
            parts.extend(is_full.then(Vec::new));
            parts.into_iter().for_each(|items| self.send(Frame::Lack { room, class, items }));
        }
        if told.is_none() {
            self.tell(id, class, Listing::Part, std::mem::take(&mut done.have))?;
        }
        self.settle(Some(id), held)
    }

    /// Heads that the initiator lacks; a list shorter than a frame's limit ends them.
    pub(super) fn take_lack(
        &mut self,
        id: RoomId,
        class: Class,
        items: &[u64],
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let side = self.settings.side;
        let exchange = self.exchange(id, class).filter(|_| side == Side::Responder);
        let Some((told, reconcile)) = exchange.and_then(|e| Some((e.told, e.reconcile.as_mut()?))) else {
            return Err(Failure::Unexpected("items that nobody reconciles"));
        };
        if told.is_some() {
            return Ok(());
        }
        reconcile.lacks(items.iter().copied());
        if items.len() == HEADS_PER_FRAME_MAX {
            return Ok(());
        }
        let heads = std::mem::take(&mut reconcile.have);
        self.tell(id, class, Listing::Part, heads)?;
        self.settle(Some(id), held)
    }
}

/// Symbols asked for first: enough for some fifty items that differ.
const FIRST_SYMBOLS: u32 = 80;
/// A symbol on the wire.
const SYMBOL_LEN: usize = 14;
const BROKEN: Failure = Failure::Unexpected("a false message of reconciliation");
const ROUNDS: &str = "rounds of reconciliation";
