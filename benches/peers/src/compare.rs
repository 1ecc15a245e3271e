//! P3: what it takes to see in what two nodes differ: the sync conversation itself between two rooms in memory, beside the
//! `negentropy` crate over the same events, and over the tips of their logs.

use crate::data::Message;
use crate::holdings::{Author, Held, ROOM};
use crate::table::{Figure, Target};
use crate::{Bench, Result};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use std::collections::BTreeMap;
use std::time::Instant;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::sync::{Agreed, Conversation, Input, Offer, Output, Settings, Side};
use tidings_protocol::wire::Frame;

/// What a comparison took: bytes both ways, those that ask for what was found to be missing, round trips, milliseconds in
/// process, with the fetching.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    bytes: f64,
    asked: f64,
    trips: f64,
    ms: f64,
}

pub async fn run(bench: &mut Bench) -> Result<()> {
    let messages = bench.messages.clone();
    let sizes = if bench.is_short { vec![messages.len()] } else { vec![100_000, 1_000_000] };
    let each = if bench.is_short { vec![1, 10] } else { vec![1, 10, 1_000] };
    let work = move || -> Result<Vec<Figure>> {
        let mut out = Vec::new();
        for size in sizes {
            of_size(&messages, size, &each, &mut out)?;
        }
        Ok(out)
    };
    let figures = tokio::task::spawn_blocking(work).await??;
    bench.figures.extend(figures);
    bench.note("P3: in process, once, as bytes do not vary; a = 20 logs, the busiest; differences are the newest events of these logs; what asks for events is counted apart, the events are not".to_owned());
    Ok(())
}

fn of_size(messages: &[Message], size: usize, each: &[u64], out: &mut Vec<Figure>) -> Result<()> {
    let events = events(messages, size);
    let authors = authors(&events);
    let most = (100 * LOGS + 2048) as f64;
    let figure = |what: String, unit, ours, target| Figure::alone("P3", &what, unit, vec![ours], target);
    for each in each {
        // The quietest of these logs may have less to differ in.
        let each = authors.iter().take(LOGS).map(|a| a.seq - 1).min().unwrap_or(0).min(*each);
        let (d, logs) = (each * LOGS as u64, authors.len());
        let (agreed, strangers) = of_tidings(messages, &authors, each)?;
        let theirs = by_events(&events, &authors, each)?;
        let name = "negentropy over events";
        let what = format!("{size} events of {logs} logs, {d} differ in {LOGS}");
        out.push(
            figure(format!("{what}, agreed before"), "B", agreed.bytes, Target::at_most(most))
                .beside(name, vec![theirs.bytes]),
        );
        out.push(figure(format!("{what}, asking for them"), "B", agreed.asked, Target::STATED));
        out.push(
            figure(format!("{what}, strangers"), "B", strangers.bytes, Target::STATED).beside(name, vec![theirs.bytes]),
        );
        out.push(
            figure(format!("{what}, strangers"), "round trips", strangers.trips, Target::STATED)
                .beside(name, vec![theirs.trips]),
        );
        out.push(
            figure(format!("{what}, strangers"), "ms", strangers.ms, Target::STATED).beside(name, vec![theirs.ms]),
        );
        if each == 1 {
            let tips = by_tips(&authors)?;
            out.push(
                figure(format!("{what}, strangers"), "B", strangers.bytes, Target::ratio_at_most(1.0))
                    .beside("negentropy over tips", vec![tips.bytes]),
            );
        }
    }
    let held = Held::of(&authors)?;
    let (equal, _) = talk([&mut held.clone(), &mut held.clone()])?;
    out.push(figure(format!("{size} events, equal"), "B", equal.bytes, Target::STATED));
    out.push(figure(format!("{size} events, equal"), "round trips", equal.trips, Target::at_most(2.0)));
    Ok(())
}

/// One event of the room as a set of ids sees it.
struct Event {
    author: usize,
    ts: u64,
    id: [u8; 32],
}

struct Events {
    names: Vec<String>,
    all: Vec<Event>,
}

/// So many of the log's messages; what it lacks is the log again, later, by the same authors.
fn events(messages: &[Message], size: usize) -> Events {
    let span = messages.iter().map(|m| m.ts).max().unwrap_or(0) - messages.iter().map(|m| m.ts).min().unwrap_or(0) + 1;
    let (mut names, mut numbers) = (Vec::new(), BTreeMap::new());
    let mut all = Vec::with_capacity(size);
    for (n, m) in messages.iter().cycle().take(size).enumerate() {
        let author = *numbers.entry(&m.author).or_insert_with(|| {
            names.push(m.author.clone());
            names.len() - 1
        });
        let id = blake3::hash(format!("{n} {} {}", m.author, m.text).as_bytes());
        all.push(Event { author, ts: m.ts + span * (n / messages.len()) as u64, id: *id.as_bytes() });
    }
    Events { names, all }
}

/// Who said how much, the busiest first.
fn authors(events: &Events) -> Vec<Author> {
    let mut out: Vec<Author> = events.names.iter().map(|name| Author { name: name.clone(), seq: 0, ts: 0 }).collect();
    for event in &events.all {
        let author = &mut out[event.author];
        (author.seq, author.ts) = (author.seq + 1, author.ts.max(event.ts));
    }
    out.sort_by_key(|author| std::cmp::Reverse(author.seq));
    out
}

/// The initiator lacks the last `each` events of the busiest logs: after an agreement, and between strangers.
fn of_tidings(messages: &[Message], authors: &[Author], each: u64) -> Result<(Cost, Cost)> {
    let mut before = authors.to_vec();
    before.iter_mut().take(LOGS).for_each(|author| author.seq -= each);
    let mut behind = Held::of(&before)?;
    let mut ahead = behind.clone();
    let (_, [ours, theirs]) = talk([&mut behind, &mut ahead])?;
    let texts: Vec<&str> = messages.iter().map(|m| m.text.as_str()).cycle().take(each as usize).collect();
    for author in before.iter().take(LOGS) {
        ahead.take(author.log(), author.say(&texts)?)?;
    }
    let (mut stranger, mut other) = (behind.clone(), ahead.clone());
    let (strangers, _) = talk([&mut stranger, &mut other])?;
    (behind.agreed, ahead.agreed) = (ours, theirs);
    let (agreed, _) = talk([&mut behind, &mut ahead])?;
    Ok((agreed, strangers))
}

/// A conversation until both agree and are silent.
fn talk(held: [&mut Held; 2]) -> Result<(Cost, [Option<Agreed>; 2])> {
    let began = Instant::now();
    let offer = Offer {
        room: ROOM,
        kind: RoomKind::Public,
        secret: [0; 32],
        inner: None,
        credential: None,
        introduction: Vec::new(),
        joining: false,
    };
    let mut talks = [Side::Initiator, Side::Responder].map(|side| {
        let (us, them) = if side == Side::Initiator { (1, 2) } else { (2, 1) };
        let settings =
            Settings { side, network: String::new(), nonce: [us; 16], us: vec![us; 38], them: vec![them; 38] };
        Conversation::new(settings, vec![offer.clone()])
    });
    let (mut bytes, mut asked, mut ways, mut ways_to_agree, mut agreed) = (0, 0, 0_u32, 0, [None, None]);
    let mut inboxes: [Vec<Frame>; 2] = [Vec::new(), Vec::new()];
    loop {
        let mut sent: [Vec<Frame>; 2] = [Vec::new(), Vec::new()];
        for side in [0, 1] {
            for frame in std::mem::take(&mut inboxes[side]) {
                talks[side].handle(Input::Frame(frame), &*held[side], 0)?;
            }
            while let Some(output) = talks[side].next_output(&*held[side])? {
                match output {
                    Output::Send(frame) | Output::Farewell(frame) => {
                        let len = frame.to_bytes().len() + FRAME_PREFIX_LEN;
                        match frame {
                            Frame::Events { .. } => {}
                            Frame::Want { .. } | Frame::Credit(_) => asked += len,
                            _ => bytes += len,
                        }
                        sent[1 - side].push(frame);
                    }
                    Output::Deliver { request, room, log, top, vouched, range, bytes, .. } => {
                        let bottom = (range.prev, range.first_seq);
                        held[side].take(log, range.verify(room, log, top, vouched)?)?;
                        let delivered = Input::Delivered { request, bytes, new: true, kept: true, bottom };
                        talks[side].handle(delivered, &*held[side], 0)?;
                    }
                    Output::Agreed { agreed: now, .. } => (agreed[side], ways_to_agree) = (Some(now), ways),
                    _ => {}
                }
            }
        }
        if sent.iter().all(Vec::is_empty) || ways >= WAYS_MAX {
            break;
        }
        inboxes = sent;
        ways += 1;
    }
    if agreed.contains(&None) || held[0].digest() != held[1].digest() {
        return Err("the two did not come to hold the same".into());
    }
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    Ok((Cost { bytes: bytes as f64, asked: asked as f64, trips: f64::from(ways_to_agree) / 2.0, ms }, agreed))
}

/// The negentropy crate over all events: one side lacks the last `each` of the busiest logs.
fn by_events(events: &Events, authors: &[Author], each: u64) -> Result<Cost> {
    let numbers: BTreeMap<&str, usize> = events.names.iter().zip(0..).map(|(name, n)| (name.as_str(), n)).collect();
    let mut lacks = vec![0; events.names.len()];
    for author in authors.iter().take(LOGS) {
        lacks[numbers[author.name.as_str()]] = each;
    }
    let mut behind = Vec::with_capacity(events.all.len());
    let mut ahead = Vec::with_capacity(events.all.len());
    for event in events.all.iter().rev() {
        ahead.push((event.ts, event.id));
        match &mut lacks[event.author] {
            0 => behind.push((event.ts, event.id)),
            left => *left -= 1,
        }
    }
    reconcile(&behind, &ahead)
}

/// The negentropy crate over the heads of the logs alone.
fn by_tips(authors: &[Author]) -> Result<Cost> {
    let tips = |moved: u64| -> Result<Vec<(u64, [u8; 32])>> {
        let mut authors = authors.to_vec();
        authors.iter_mut().take(LOGS).for_each(|author| author.seq -= moved);
        Ok(Held::of(&authors)?.all_heads().iter().map(|head| (head.hlc.ms(), head.tip.id.0)).collect())
    };
    reconcile(&tips(1)?, &tips(0)?)
}

fn reconcile(initiator: &[(u64, [u8; 32])], responder: &[(u64, [u8; 32])]) -> Result<Cost> {
    let storage = |items: &[(u64, [u8; 32])]| -> Result<NegentropyStorageVector> {
        let mut storage = NegentropyStorageVector::with_capacity(items.len());
        for (ts, id) in items {
            storage.insert(*ts, Id::from_byte_array(*id))?;
        }
        storage.seal()?;
        Ok(storage)
    };
    let (ours, theirs) = (storage(initiator)?, storage(responder)?);
    let began = Instant::now();
    let (mut client, mut server) = (Negentropy::owned(ours, 0)?, Negentropy::owned(theirs, 0)?);
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let (mut message, mut bytes, mut trips) = (Some(client.initiate()?), 0, 0_u32);
    while let Some(ask) = message {
        let answer = server.reconcile(&ask)?;
        (bytes, trips) = (bytes + ask.len() + answer.len(), trips + 1);
        message = client.reconcile_with_ids(&answer, &mut have, &mut need)?;
    }
    Ok(Cost { bytes: bytes as f64, asked: 0.0, trips: f64::from(trips), ms: began.elapsed().as_secs_f64() * 1000.0 })
}

/// The logs that differ.
const LOGS: usize = 20;
/// A frame's length on the stream.
const FRAME_PREFIX_LEN: usize = 4;
/// Far more than any of these conversations goes to and fro.
const WAYS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Vec<Message> {
        let message =
            |n: u64| Message { author: format!("author {}", n % 40), text: format!("text {n}"), ts: 1_000 * n };
        (0..2_000).map(message).collect()
    }

    #[test]
    fn what_differs_is_found_and_agreement_makes_it_cheap() {
        let messages = chat();
        let events = events(&messages, 4_000);
        let authors = authors(&events);
        assert_eq!((authors.len(), authors[0].seq), (40, 100));
        let (agreed, strangers) = of_tidings(&messages, &authors, 5).unwrap();
        assert!(agreed.bytes <= (100 * LOGS + 2048) as f64, "{agreed:?}");
        assert!(agreed.bytes < strangers.bytes, "{agreed:?} {strangers:?}");
    }

    #[test]
    fn sets_of_events_are_reconciled() {
        let events = events(&chat(), 4_000);
        let all = authors(&events);
        let (few, many) = (by_events(&events, &all, 1).unwrap(), by_events(&events, &all, 90).unwrap());
        assert!(few.bytes > 0.0 && many.bytes > few.bytes, "{few:?} {many:?}");
    }
}
