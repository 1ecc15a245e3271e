//! `send --wait`: a message's way from this disk to those of others, by their own word.

use super::Context;
use super::exit::Failure;
use super::output::{name_of_others, short};
use super::rooms::duration;
use crate::api::client::{Client, Events};
use crate::api::types::{Delivery, Happened, Holder, Member, Message, Sent};
use crate::text::SafeText;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What is to be waited for, from before the message is sent.
pub(super) struct Watch {
    /// None where nobody asked to wait.
    waiting: Option<(Events, Instant)>,
    copies: usize,
}

/// With `--json`: what `send` answers, and how far the message got.
#[derive(Serialize)]
struct Way<'a> {
    #[serde(flatten)]
    sent: &'a Sent,
    delivery: Option<&'a Delivery>,
    read_by: &'a [String],
}

impl Watch {
    /// Listens from now on. Nothing was sent if this fails.
    pub(super) async fn begin(client: &Client, wait: Option<&str>, copies: u32) -> Result<Watch, Failure> {
        let copies = usize::try_from(copies).unwrap_or(usize::MAX);
        let Some(wait) = wait.map(duration).transpose()? else { return Ok(Watch { waiting: None, copies }) };
        let events = client.events(None).await?;
        Ok(Watch { waiting: Some((events, Instant::now() + wait.min(WAIT_MAX))), copies })
    }

    /// Says that a message was sent, and follows it until enough have it.
    pub(super) async fn follow(self, context: &Context, client: &Client, sent: Sent) -> Result<ExitCode, Failure> {
        let Some((mut events, until)) = self.waiting else { return super::messages::sent(context, sent) };
        if !context.out.json {
            context.out.show(&sent, |sent| sent.id.clone());
        }
        let (mut last, mut told) = (None::<Box<Message>>, Vec::new());
        let mut names = Names { client, room: &sent.room, members: Vec::new() };
        let mut held = 0;
        while held < self.copies {
            let Ok(notice) = timeout_at(until, events.next()).await else { break };
            let Some(notice) = notice? else { break };
            let Happened::Message { message } = notice.what else { continue };
            let Some(delivery) = message.delivery.as_ref().filter(|_| message.id == sent.id) else { continue };
            held = delivery.nodes.len();
            if !context.out.json {
                names.say(steps(delivery), &message.read_by, &mut told).await?;
            }
            last = Some(message);
        }
        if context.out.json {
            let delivery = last.as_ref().and_then(|message| message.delivery.as_ref());
            let read_by = last.as_ref().map_or(&[][..], |message| &message.read_by);
            context.out.show(&Way { sent: &sent, delivery, read_by }, |_| String::new());
        }
        if held >= self.copies {
            return Ok(ExitCode::SUCCESS);
        }
        let what = format!("it is on disk here; {held} of {} other devices have said that they have it", self.copies);
        let todo = "nothing is lost, and it goes on by itself; read --json shows how far it got";
        Err(Failure::unfinished(what, todo).answered())
    }
}

/// One thing to say of a message's way.
enum Step<'a> {
    Queued,
    Sent(usize),
    Held(&'a [Holder]),
}

fn steps(delivery: &Delivery) -> Step<'_> {
    match (delivery.nodes.is_empty(), delivery.peers.len()) {
        (false, _) => Step::Held(&delivery.nodes),
        (true, 0) => Step::Queued,
        (true, peers) => Step::Sent(peers),
    }
}

/// Who people are, asked for once somebody has the message.
struct Names<'a> {
    client: &'a Client,
    room: &'a str,
    members: Vec<Member>,
}

impl Names<'_> {
    /// Says it on stderr, unless it was said: stdout has the message's id alone.
    async fn say(&mut self, step: Step<'_>, readers: &[String], told: &mut Vec<String>) -> Result<(), Failure> {
        let mut lines = vec!["on disk here".to_owned()];
        match step {
            Step::Queued => lines.push("queued: nobody who shares the room is connected yet".to_owned()),
            Step::Sent(peers) => lines.push(format!("sent to {}", count(peers, "peer"))),
            Step::Held(holders) => {
                self.look_up().await?;
                let of = holders.iter().map(|holder| format!("{}'s {}", self.of(&holder.user), short(&holder.device)));
                lines.push(format!(
                    "on disk at {}: {}",
                    count(holders.len(), "device"),
                    of.collect::<Vec<_>>().join(", ")
                ));
            }
        }
        if !readers.is_empty() {
            self.look_up().await?;
            let readers: Vec<String> = readers.iter().map(|user| self.of(user)).collect();
            lines.push(format!("read by {}", readers.join(", ")));
        }
        for line in lines {
            if !told.contains(&line) {
                eprintln!("{}", SafeText::line(&line));
                told.push(line);
            }
        }
        Ok(())
    }

    async fn look_up(&mut self) -> Result<(), Failure> {
        if self.members.is_empty() {
            self.members = self.client.get(&format!("/v1/rooms/{}/members", self.room)).await?;
        }
        Ok(())
    }

    fn of(&self, user: &str) -> String {
        let member = self.members.iter().find(|member| member.user == user);
        let name = member.map(|member| name_of_others(member.petname.as_deref().unwrap_or(&member.name)));
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| short(user))
    }
}

fn count(many: usize, what: &str) -> String {
    format!("{many} {what}{}", if many == 1 { "" } else { "s" })
}

/// Nobody waits longer at a terminal.
const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
