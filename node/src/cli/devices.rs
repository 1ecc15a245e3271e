//! My devices: listing them, letting another in, becoming one, coming back with nothing but the words.

use super::Context;
use super::args::UpArgs;
use super::exit::Failure;
use super::output::{is_terminal, one_line, short, time};
use super::rooms::duration;
use super::run::resolve;
use crate::account::Arrived;
use crate::api::client::Client;
use crate::api::client::segment;
use crate::api::types::{
    Decide, Device, DeviceOffer, DeviceRevoked, OfferStanding, RevokeDevice, RevokedIn, WithWords,
};
use crate::config::Settings;
use crate::enrol::{self, LinkingError};
use crate::home::Home;
use crate::keys::{Keys, WordsError, host_name};
use crate::node::Node;
use crate::text::SafeText;
use qrcode::QrCode;
use qrcode::render::unicode;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;
use tidings_protocol::enrol::DeviceLink;
use tidings_protocol::identity::RecoveryPhrase;
use tidings_protocol::link::LinkError;
use zeroize::Zeroizing;

impl From<LinkingError> for Failure {
    fn from(error: LinkingError) -> Self {
        let text = error.to_string();
        match error {
            LinkingError::Link(_) | LinkingError::Name => Failure::usage(text),
            LinkingError::Expired | LinkingError::NoLink | LinkingError::Declined | LinkingError::Impostor => {
                Failure::refused(text).with_todo("make a new link on the first device: tidings id add")
            }
            LinkingError::Unreachable(_) | LinkingError::Stream(_) => {
                Failure::failed(text, "start it there (tidings up), and try again while the link is valid")
            }
            LinkingError::Home(_) | LinkingError::Network(_) => Failure::failed(text, ""),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Failure::usage(error.to_string())
    }
}

pub(super) async fn list(context: &Context) -> Result<ExitCode, Failure> {
    let devices: Vec<Device> = context.client()?.get("/v1/devices").await?;
    context.out.show(&devices, |devices| {
        let line = |d: &Device| {
            let mark = match (d.revoked, d.current) {
                (true, _) => "revoked",
                (_, true) => "this one",
                _ => "",
            };
            format!("{:<20} {:<9} since {}  {}", one_line(&d.name), mark, time(d.created_ms), d.device)
        };
        devices.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The words, or a link, from standard input, if they are to come from there.
pub(super) fn words(wanted: bool) -> Result<Option<Zeroizing<String>>, Failure> {
    if !wanted {
        return Ok(None);
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(WORDS_LEN_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

pub(super) async fn add(context: &Context, yes: bool, words_stdin: bool) -> Result<ExitCode, Failure> {
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Failure::refused("somebody has to look at the new device before it is let in")
            .with_todo("run this in a terminal, or say --yes"));
    }
    let client = context.client()?;
    let words = words(words_stdin)?.map(|words| words.as_str().to_owned());
    let offer: DeviceOffer = client.post("/v1/devices/offer", &WithWords { words }).await?;
    context.out.show(&offer, |o| {
        let qr = QrCode::new(o.link.to_uppercase().as_bytes()).ok().filter(|_| is_terminal());
        let qr = qr.map(|qr| qr.render::<unicode::Dense1x2>().build()).unwrap_or_default();
        format!("on the new device, within ten minutes:\n\ntidings id link {}\n{qr}", o.link)
    });
    let ended = tokio::select! {
        ended = accept(context, &client, yes) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("stopped", "the link is closed")),
    };
    if ended.is_err() {
        let _: Result<Value, _> = client.delete("/v1/devices/offer").await;
    }
    ended
}

pub(super) async fn revoke(context: &Context, device: &str, now: bool, words_stdin: bool) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let words = words(words_stdin)?.map(|words| words.as_str().to_owned());
    let path = format!("/v1/devices/{}/revoke", segment(device));
    let revoked: DeviceRevoked = client.post(&path, &RevokeDevice { words, now }).await?;
    context.out.show(&revoked, |r| {
        let line = |room: &RevokedIn| {
            let name = if room.alias.is_empty() { "your list of devices" } else { &room.alias };
            let state = if room.done { "done" } else { &room.why };
            format!("{name:<20} {state}")
        };
        match r.rooms.is_empty() {
            true => "it counts nowhere: nothing had to be done".to_owned(),
            false => r.rooms.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    });
    match revoked.rooms.iter().all(|room| room.done) {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::refused("it still counts in some rooms").answered()),
    }
}

/// Waits for the new device, and asks about it.
async fn accept(context: &Context, client: &Client, yes: bool) -> Result<ExitCode, Failure> {
    let asked = next(client, "waiting").await?;
    if asked.state != "asked" {
        return Err(Failure::unfinished("no device came by this link", "make another: tidings id add"));
    }
    let name = SafeText::line(&asked.name);
    eprintln!("\"{name}\" asks to be let in. Both devices show a number; here it is {}", asked.code);
    let accept = yes || agrees("Is that the number on the new device? y / n ")?;
    let _: Value = client.post("/v1/devices/offer/decide", &Decide { accept, device: asked.device.clone() }).await?;
    let ended = next(client, "asked").await?;
    if ended.state != "done" {
        let text = if accept { "the new device went away" } else { "it was not let in" };
        return Err(Failure::refused(text).with_todo("try again: tidings id add"));
    }
    let done = json!({ "device": ended.device, "name": ended.name, "code": asked.code });
    context.out.show(&done, |_| format!("{} is one of your devices now", SafeText::line(&ended.name)));
    Ok(ExitCode::SUCCESS)
}

async fn next(client: &Client, after: &str) -> Result<OfferStanding, Failure> {
    let wait_ms = LINK_PATIENCE.as_millis();
    Ok(client.get(&format!("/v1/devices/offer?after={after}&wait_ms={wait_ms}")).await?)
}

fn agrees(question: &str) -> Result<bool, Failure> {
    eprint!("{question}");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A home in which nobody has lived yet.
fn fresh_home(context: &Context) -> Result<Home, Failure> {
    if let Some(home) = Home::find(&context.home)?
        && Keys::is_in_use(&home)
    {
        let path = context.home.display();
        return Err(Failure::refused(format!(
            "{path} is somebody's home already, and what was said from it stays theirs"
        ))
        .with_todo("use a fresh one: tidings --home DIR id ..."));
    }
    Ok(Home::open(&context.home)?)
}

pub(super) async fn link(
    context: &Context,
    text: &str,
    name: Option<String>,
    wait: &str,
    run: UpArgs,
) -> Result<ExitCode, Failure> {
    let wait = duration(wait)?;
    let typed = words(text == "-")?;
    let link = DeviceLink::from_text(typed.as_ref().map_or(text, |typed| typed.as_str()))?;
    let home = fresh_home(context)?;
    let settings = resolve(context, run)?.settings;
    let name = name.unwrap_or_else(host_name);
    let show = |code: &str| eprintln!("accept this device on the first one; both show the number {code}");
    enrol::link(&home, &settings, &link, &name, show).await?;
    arrive(context, &home, settings, link.addresses, wait).await
}

pub(super) async fn recover(
    context: &Context,
    words_stdin: bool,
    name: Option<String>,
    wait: &str,
    run: UpArgs,
) -> Result<ExitCode, Failure> {
    let wait = duration(wait)?;
    let home = fresh_home(context)?;
    let words = words(words_stdin)?.ok_or_else(|| {
        Failure::usage("the words are read from standard input: tidings id recover --words-stdin --peer ADDRESS")
    })?;
    let phrase =
        RecoveryPhrase::from_words(&words).map_err(|error| Failure::usage(WordsError::from(error).to_string()))?;
    let peers = run.peer.clone();
    let settings = resolve(context, run)?.settings;
    Keys::recover(&home, &phrase, &name.unwrap_or_else(host_name))?;
    arrive(context, &home, settings, peers, wait).await
}

/// Runs a node until the rooms of its user are here.
async fn arrive(
    context: &Context,
    home: &Home,
    settings: Settings,
    peers: Vec<String>,
    wait: Duration,
) -> Result<ExitCode, Failure> {
    let node = Node::start(home, &settings).await?;
    let handle = node.handle();
    for address in &peers {
        // What does not read as an address was no use to anybody; the others may be.
        drop(handle.add_peer(address).await);
    }
    let arrived = handle.wait_for_account(wait).await;
    let identity = handle.identity();
    node.stop().await;
    let (arrived, identity) = (failed(arrived)?, failed(identity)?);
    let Arrived { rooms, missing, complete } = arrived;
    let value = json!({
        "user": identity.user, "device": identity.device, "name": identity.name, "rooms": rooms, "missing": missing,
        "complete": complete,
    });
    context.out.show(&value, |_| {
        let who = if identity.name.is_empty() { short(&identity.user) } else { identity.name.clone() };
        format!("this is a device of {who} now; {rooms} rooms are here\nstart it: tidings chat, or tidings up")
    });
    if complete && missing == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let what = match complete {
        false => "nobody who was reached holds what your other devices know".to_owned(),
        true => format!("{missing} rooms are not here yet"),
    };
    let todo = "it goes on whenever the node runs; tidings peers add ADDRESS names somebody who has them";
    Err(Failure::unfinished(what, todo).answered())
}

fn failed<T>(result: Result<T, crate::handle::NodeError>) -> Result<T, Failure> {
    result.map_err(|error| Failure::failed(error.to_string(), "`tidings doctor` looks for the cause"))
}

/// A little longer than a link lives.
const LINK_PATIENCE: Duration = Duration::from_secs(600);
/// 24 words of at most 8 letters, or a link, and room for line breaks.
const WORDS_LEN_MAX: u64 = 8192;
