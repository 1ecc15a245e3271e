//! Runs the chat on the terminal: feeds keys, time and the node's notices to the state, performs its effects, draws.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use crate::api::client::{Client, ClientError};
use crate::tui::effect::{Effect, Input};
use crate::tui::perform::{Performer, failure};
use crate::tui::screen::Screen;
use crate::tui::state::{Start, State};
use crate::tui::theme::Theme;
use crate::tui::time::Zone;

/// Why the chat ended otherwise than by its user's wish.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The terminal cannot be used, or went away.
    #[error("the terminal cannot be used")]
    Terminal(#[from] io::Error),
    /// Something else in the program panicked, and said so where the chat was.
    #[error("a part of the program broke; what it said stands above")]
    Broken,
    /// Texts that were sent just before the end and did not reach the node.
    #[error("not sent: {}", .0.join("; "))]
    Unsent(Vec<String>),
}

/// Chats with `client`'s node until the user quits. Begins in `room` (its id, alias, name, or the beginning of its id),
/// else where something is unread. The node need not be reachable: the chat waits for it and says so.
pub async fn run(client: Client, room: Option<String>) -> Result<(), ChatError> {
    let zone = local_zone();
    let mut screen = Screen::open()?;
    let (width, height) = screen.size()?;
    let theme =
        if std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty()) { Theme::Plain } else { Theme::Coloured };
    let mut state = State::new(Start { width, height, now_ms: now_ms(), zone, theme, room });
    let (inputs, mut told) = mpsc::channel(INPUTS_MAX);
    let mut performer = Performer::new(client.clone(), inputs.clone());
    let listener = tokio::spawn(listen(client, inputs));
    let ended = chat(&mut state, &mut screen, &mut performer, &mut told).await;
    drop(screen);
    listener.abort();
    drop(told);
    let unsent = performer.finish().await;
    ended?;
    if unsent.is_empty() { Ok(()) } else { Err(ChatError::Unsent(unsent)) }
}

async fn chat(
    state: &mut State,
    screen: &mut Screen,
    performer: &mut Performer,
    told: &mut mpsc::Receiver<Input>,
) -> Result<(), ChatError> {
    let mut keys = EventStream::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut terminated, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let (mut drawn, mut is_changed): (Option<Instant>, bool) = (None, true);
    loop {
        if !screen.is_ours() {
            return Err(ChatError::Broken);
        }
        let due = drawn.map_or_else(Instant::now, |drawn| drawn + FRAME);
        if is_changed && due <= Instant::now() {
            screen.draw(state)?;
            drawn = Some(Instant::now());
            is_changed = false;
        }
        let first = tokio::select! {
            biased;
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            event = keys.next() => input_of(event)?,
            _ = ticks.tick() => Some(Input::Tick { now_ms: now_ms() }),
            Some(input) = told.recv() => Some(input),
            () = sleep_until(due), if is_changed => None,
        };
        is_changed = true;
        // What has come meanwhile is taken together: a flood of messages does not slow the keys down.
        let mut next = first;
        let mut taken = 0;
        while let Some(input) = next {
            for effect in state.update(input) {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Redraw => screen.redraw(state)?,
                    Effect::ShowPlain(lines) => screen.show_plain(&lines)?,
                    effect => performer.begin(effect),
                }
            }
            taken += 1;
            next = if taken < INPUTS_PER_DRAW { told.try_recv().ok() } else { None };
        }
    }
}

/// What a terminal's event means to the chat; mouse and the like mean nothing.
fn input_of(event: Option<io::Result<Event>>) -> io::Result<Option<Input>> {
    let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone");
    Ok(match event.ok_or_else(gone)?? {
        Event::Key(key) => Some(Input::Key(key)),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(width, height) => Some(Input::Resize { width, height }),
        Event::FocusGained => Some(Input::Focus(true)),
        Event::FocusLost => Some(Input::Focus(false)),
        Event::Mouse(_) => None,
    })
}

/// Follows the node's event stream for as long as somebody listens, and opens it again whenever it ends.
async fn listen(client: Client, inputs: mpsc::Sender<Input>) {
    let mut cursor = None;
    let mut wait = RETRY_FIRST;
    loop {
        let ended = match client.events(cursor).await {
            Ok(mut events) => {
                wait = RETRY_FIRST;
                if inputs.send(Input::Connected).await.is_err() {
                    return;
                }
                loop {
                    match events.next().await {
                        Ok(Some(notice)) => {
                            cursor = Some(notice.cursor);
                            if inputs.send(Input::Notice(Box::new(notice))).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break ClientError::NotRunning,
                        Err(error) => break error,
                    }
                }
            }
            Err(error) => error,
        };
        if matches!(ended, ClientError::Problem(_)) {
            // The node does not know the cursor: another store, perhaps. From now on, then.
            cursor = None;
        }
        if inputs.send(Input::Disconnected(failure(&ended))).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_LAST);
    }
}

/// The terminal's time zone, as `date` tells it; UTC where there is no `date`.
fn local_zone() -> Zone {
    let told = Command::new("date").arg("+%z").stdin(Stdio::null()).stderr(Stdio::null()).output();
    told.ok().and_then(|told| Zone::parse(&String::from_utf8_lossy(&told.stdout))).unwrap_or_default()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Answers and notices that wait to be taken in; the node's stream waits beyond that.
const INPUTS_MAX: usize = 1024;
/// Inputs taken in between two drawings.
const INPUTS_PER_DRAW: usize = 256;
/// No more drawings than the eye can tell apart.
const FRAME: Duration = Duration::from_millis(16);
const TICK: Duration = Duration::from_millis(250);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(3);
