//! What deciding who may do what costs: a large room from scratch, the next event on top of it, and rooms as adversaries
//! would have them.

use crate::Result;
use crate::report::Report;
use crate::shapes::SHAPES;
use crate::support::big_room::{BigRoom, Writer};
use std::time::{Duration, Instant};
use tidings_protocol::control::payload::Control;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::event::{Class, Draft, Hlc, Payload};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::DeviceKey;

/// The part.
pub fn run(report: &mut Report) -> Result<()> {
    report.part("authority: who may do what");
    signatures(report)?;
    large(report);
    shapes(report);
    Ok(())
}

/// What is asked of every event before it is decided.
fn signatures(report: &Report) -> Result<()> {
    let device = DeviceKey::from_seed(&[5; 32]);
    let draft = Draft {
        class: Class::Control,
        kind: Control::Leave.kind(),
        room: RoomId([1; 32]),
        grant: EventId([1; 32]),
        seq: 2,
        prev: EventId([2; 32]),
        parents: Vec::new(),
        hlc: Hlc(0),
        payload: Payload { salt: [0; 16], bytes: Vec::new() },
    };
    let event = draft.sign(&device)?.to_signed().ok_or("nothing was signed")?;
    let begun = Instant::now();
    for _ in 0..1_000 {
        event.clone().verify()?;
    }
    let each = begun.elapsed() / 1_000;
    report.note(&format!("apart from this, a signature takes {each:.0?}: 30,000 take {:.1?}", each * 30_000));
    Ok(())
}

fn large(report: &mut Report) {
    let (room, founder) = BigRoom::of_members(10_000);
    let mut times: Vec<Duration> = (0..3).map(|_| timed(|| room.settled()).0).collect();
    times.sort_unstable();
    let name = format!("{} control events of 10,000 members, from scratch", room.events.len());
    let holds = times[0] < Duration::from_secs(1) && room.events.len() >= 30_000;
    report.figure(&name, &format!("{:.0?}, at most {:.0?}", times[0], times[2]), "under 1 s", holds);
    let mut set = room.settled();
    let (mut room, mut founder): (BigRoom, Writer) = (room, founder);
    let before = room.events.len();
    for n in 0..2_000 {
        room.set(&mut founder, "name", Vec::new());
        room.grant(&mut founder, crate::support::big_room::user(50_000 + n), 60, Vec::new());
    }
    let (mut most, mut copies) = (0, 0);
    let (took, ()) = timed(|| {
        for event in room.events.drain(before..) {
            let decisions = set.decisions();
            set.insert(event);
            set.settle();
            most = most.max(set.decisions() - decisions);
            copies += usize::from(set.state().clone().kind.is_some());
        }
    });
    let value = format!("{most} decided at most, {:.1?} with a copy of the state for readers", took / copies as u32);
    report.figure("the next event on top of that", &value, "touches at most 10 events", most <= 10);
}

/// What of each shape comes last, one event after another as a stranger sends it, and all of the room at once.
fn shapes(report: &mut Report) {
    for shape in &SHAPES {
        let costs: Vec<(f64, Duration, Duration)> = shape
            .sizes
            .iter()
            .map(|n| {
                let (room, before) = (shape.make)(*n);
                let mut set = ControlSet::new(room.id);
                room.events[..before].iter().for_each(|event| set.insert(event.clone()));
                set.settle();
                let step = |event: &_| {
                    set.insert(Clone::clone(event));
                    set.settle();
                };
                let (each, ()) = timed(|| room.events[before..].iter().for_each(step));
                ((room.events.len() - before) as f64, each, timed(|| room.settled()).0)
            })
            .collect();
        let exponent = |of: fn(&(f64, Duration, Duration)) -> Duration| {
            let (first, last) = (&costs[0], &costs[2]);
            let size = f64::from(shape.sizes[2]) / f64::from(shape.sizes[0]);
            (of(last).as_secs_f64() / of(first).as_secs_f64()).ln() / size.ln()
        };
        let (one_by_one, at_once) = (exponent(|c| c.1), exponent(|c| c.2));
        let told: Vec<String> =
            costs.iter().zip(shape.sizes).map(|(c, n)| format!("{n}: {:.0?}, {:.0?}", c.1, c.2)).collect();
        let value = format!("{}; exponents {one_by_one:.2}, {at_once:.2}", told.join("; "));
        report.figure(shape.name, &value, shape.promised(), one_by_one < shape.exponent && at_once < shape.exponent);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let made = work();
    (begun.elapsed(), made)
}
