//! Letting another device of this user in, over a stream of its own: the first device answers who knows the one-time secret
//! of the link that is open, asks its user, and certifies; the new device asks, and keeps what it gets.
//!
//! One link is open at a time, for ten minutes, and is used once.

use crate::clock::now_ms;
use crate::config::Settings;
use crate::handle::NodeHandle;
use crate::home::{Home, HomeError};
use crate::keys::{Keys, random};
use crate::network::{self, Duplex, Event, Network, NetworkConfig, NetworkError, Peer, PeerAddress};
use crate::text::is_one_visible_line;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tidings_protocol::codec::encode;
use tidings_protocol::enrol::{Ask, DeviceLink, EnrolFrame, Refused, Transcript, Welcome};
use tidings_protocol::id::DeviceId;
use tidings_protocol::identity::{DeviceKey, RecoveryPhrase};
use tidings_protocol::limits::{ENROL_FRAME_LEN_MAX, NAME_LEN_MAX};
use tidings_protocol::link::LinkError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use zeroize::Zeroizing;

/// How an open link stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// None is open.
    #[default]
    Closed,
    /// Nobody has come yet.
    Waiting,
    /// A device waits for its user's word.
    Asked {
        /// What it is called.
        name: String,
        /// Both devices show this.
        code: String,
        /// Its key.
        device: DeviceId,
    },
    /// The device has what it needs.
    Done {
        /// What it is called.
        name: String,
        /// Its key.
        device: DeviceId,
    },
    /// The user said no, or the device went away.
    Failed,
}

/// The link that is open on this node, if one is.
pub struct Enrolment {
    open: Mutex<Option<Open>>,
    standing: watch::Sender<Standing>,
}

struct Open {
    link: DeviceLink,
    phrase: RecoveryPhrase,
    /// Where the user's word goes, once a device has asked.
    word: Option<oneshot::Sender<bool>>,
}

impl Default for Enrolment {
    fn default() -> Self {
        Enrolment { open: Mutex::default(), standing: watch::channel(Standing::Closed).0 }
    }
}

impl Enrolment {
    /// Opens a link; the one before is closed.
    pub fn begin(&self, link: DeviceLink, phrase: RecoveryPhrase) {
        *self.lock() = Some(Open { link, phrase, word: None });
        self.standing.send_replace(Standing::Waiting);
    }

    /// Closes the link that is open.
    pub fn close(&self) {
        *self.lock() = None;
        self.standing.send_replace(Standing::Closed);
    }

    /// How it stands, now and whenever that changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The user's word on this device; whether it is the one that has asked.
    pub fn decide(&self, accept: bool, device: DeviceId) -> bool {
        let mut open = self.lock();
        let has_asked = matches!(&*self.standing.borrow(), Standing::Asked { device: asked, .. } if *asked == device);
        let word = open.as_mut().filter(|_| has_asked).and_then(|open| open.word.take());
        word.is_some_and(|word| word.send(accept).is_ok())
    }

    /// Forgets the link of this secret, and the words with it, if nobody has come by it.
    pub fn expire(&self, secret: &[u8; 32]) {
        let mut open = self.lock();
        if open.as_ref().is_some_and(|open| *open.link.secret == *secret && open.word.is_none()) {
            *open = None;
            self.standing.send_if_modified(|standing| {
                let waits = *standing == Standing::Waiting;
                if waits {
                    *standing = Standing::Closed;
                }
                waits
            });
        }
    }

    /// Whether somebody may come now.
    fn is_awaited(&self) -> bool {
        self.lock().as_ref().is_some_and(|open| open.link.expires_ms > now_ms())
            && *self.standing.borrow() == Standing::Waiting
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the link up for who has proven to know it; the check code, the answering proof, and where the word will come.
    fn ask(&self, first: &[u8], new: &[u8], nonce: [u8; 32], ask: &Ask) -> Option<Asked> {
        let mut open = self.lock();
        let open = open.as_mut().filter(|open| open.link.expires_ms > now_ms() && open.word.is_none())?;
        let is_first = matches!(*self.standing.borrow(), Standing::Waiting);
        let transcript = Transcript { link: &open.link, first, new, nonce, ask };
        // What no screen can show is no name that a user could decide by.
        let is_named = ask.name.is_empty() || is_one_visible_line(&ask.name);
        if !is_first || !is_named || !transcript.is_proven() {
            return None;
        }
        let (word, answer) = oneshot::channel();
        open.word = Some(word);
        let code = transcript.check_code();
        self.standing.send_replace(Standing::Asked { name: ask.name.clone(), code, device: ask.device });
        let left_ms = open.link.expires_ms.saturating_sub(now_ms());
        Some(Asked { proof: transcript.proof_of_first(), answer, left_ms, secret: open.link.secret.clone() })
    }

    /// The link of this secret is used; another that was opened meanwhile is not.
    fn end(&self, secret: &[u8; 32], standing: Standing) {
        let mut open = self.lock();
        if open.as_ref().is_none_or(|open| *open.link.secret == *secret) {
            *open = None;
            self.standing.send_replace(standing);
        }
    }
}

/// A device that waits for its user's word.
struct Asked {
    proof: [u8; 32],
    answer: oneshot::Receiver<bool>,
    left_ms: u64,
    /// Of the link that it came by.
    secret: Zeroizing<[u8; 32]>,
}

/// Answers devices that ask to be let in, until the network ends.
pub(crate) async fn answer_all(node: NodeHandle, mut streams: mpsc::Receiver<(Peer, Box<dyn Duplex>)>) {
    let refusals = Arc::new(Semaphore::new(ASKING_MAX));
    let mut asking: VecDeque<Asking> = VecDeque::new();
    while let Some((peer, stream)) = streams.recv().await {
        if !node.manager.enrolment.is_awaited() {
            if let Ok(place) = refusals.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    drop(send(&mut stream.compat(), &EnrolFrame::Refused(Refused::NoLink)).await);
                    drop(place);
                });
            }
            continue;
        }
        // Strangers who hold streams open give way to who comes next: a peer to its own next stream, and where there are too
        // many the oldest. Only who has shown that it knows the secret stays.
        asking.retain(|other| !other.task.is_finished());
        while let Some(at) = asking.iter().position(|other| other.may_go(peer, asking.len())) {
            asking.remove(at).into_iter().for_each(|other| other.task.abort());
        }
        let (node, has_asked) = (node.clone(), Arc::new(AtomicBool::new(false)));
        let shown = has_asked.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = answer(&node, peer, stream, &shown).await {
                tracing::debug!(%peer, %error, "enrolment ended");
            }
        });
        asking.push_back(Asking { peer, has_asked, task });
    }
}

/// A stream by which somebody may be about to ask.
struct Asking {
    peer: Peer,
    has_asked: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Asking {
    /// Whether it gives way to a stream of this peer, of so many that there are.
    fn may_go(&self, next: Peer, count: usize) -> bool {
        !self.has_asked.load(Ordering::Relaxed) && (self.peer == next || count >= ASKING_MAX)
    }
}

async fn answer(node: &NodeHandle, peer: Peer, stream: Box<dyn Duplex>, has_asked: &AtomicBool) -> Result<(), Error> {
    let manager = &node.manager;
    let mut stream = stream.compat();
    let nonce = random();
    let EnrolFrame::Commit { commitment } = receive(&mut stream, ASK_PATIENCE).await? else {
        return Err(unexpected());
    };
    send(&mut stream, &EnrolFrame::Hello { nonce }).await?;
    let EnrolFrame::Ask(ask) = receive(&mut stream, ASK_PATIENCE).await? else { return Err(unexpected()) };
    let (first, new) = (manager.us.to_bytes(), peer.to_bytes());
    if ask.commitment() != commitment {
        return Err(unexpected());
    }
    let Some(asked) = manager.enrolment.ask(&first, &new, nonce, &ask) else {
        return send(&mut stream, &EnrolFrame::Refused(Refused::NoLink)).await;
    };
    has_asked.store(true, Ordering::Relaxed);
    let secret = asked.secret.clone();
    let done = welcome(node, &mut stream, &ask, asked).await;
    let standing = match &done {
        Ok(true) => Standing::Done { name: ask.name.clone(), device: ask.device },
        _ => Standing::Failed,
    };
    // A link is used once, however that ends.
    manager.enrolment.end(&secret, standing);
    done.map(drop)
}

/// Waits for the user's word and gives the device what it needs; whether it got it.
async fn welcome(
    node: &NodeHandle,
    stream: &mut Compat<Box<dyn Duplex>>,
    ask: &Ask,
    asked: Asked,
) -> Result<bool, Error> {
    send(stream, &EnrolFrame::Known { proof: asked.proof }).await?;
    let word = tokio::select! {
        word = timeout(Duration::from_millis(asked.left_ms), asked.answer) => word,
        // It says nothing more: what comes is its end.
        _ = stream.read_u8() => return Err(ErrorKind::UnexpectedEof.into()),
    };
    let enrolment = &node.manager.enrolment;
    let welcome = match (matches!(word, Ok(Ok(true))), enrolment.lock().as_ref()) {
        (true, Some(open)) if *open.link.secret == *asked.secret => Some(certified(node, &open.phrase, ask)),
        _ => None,
    };
    match welcome {
        Some(welcome) => {
            send(stream, &EnrolFrame::Welcome(Box::new(welcome))).await?;
            // Its end says that it has it.
            drop(timeout(ANSWER_PATIENCE, stream.read_u8()).await);
            Ok(true)
        }
        None => send(stream, &EnrolFrame::Refused(Refused::Declined)).await.map(|()| false),
    }
}

fn certified(node: &NodeHandle, phrase: &RecoveryPhrase, ask: &Ask) -> Welcome {
    let keys = &node.manager.keys;
    let certificate = phrase.user_key().certify(ask.device, &ask.name, now_ms());
    let genesis = keys.genesis.to_signed().map(|event| encode(&event)).unwrap_or_default();
    Welcome { certificate, genesis, words: keys.words }
}

/// Why this home did not become a device of the user.
#[derive(Debug, Error)]
pub enum LinkingError {
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What it is to be called.
    #[error("a device's name is one line without control characters")]
    Name,
    /// It is too old.
    #[error("this link has expired: make a new one with tidings id add")]
    Expired,
    /// The home folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The first device was not found.
    #[error("the first device does not answer; addresses tried: {0}")]
    Unreachable(String),
    /// The first device does not know this link.
    #[error("the first device does not take this link: it was used, is too old, or was replaced by another")]
    NoLink,
    /// Its user said no.
    #[error("it was declined on the first device")]
    Declined,
    /// It is not what the link promised.
    #[error("who answered is not the device that made this link: nothing was kept")]
    Impostor,
    /// The stream broke.
    #[error("the connection with the first device broke: {0}")]
    Stream(#[from] Error),
}

/// Asks the device that made this link to let this home in, and keeps what it gives. `show` gets the check code while the
/// first device asks its user.
///
/// # Errors
/// `LinkingError`: the home is as it was.
pub async fn link(
    home: &Home,
    settings: &Settings,
    link: &DeviceLink,
    name: &str,
    show: impl Fn(&str),
) -> Result<(), LinkingError> {
    link.check_network(&settings.federation)?;
    let name = &name[..name.floor_char_boundary(NAME_LEN_MAX)];
    if !name.is_empty() && !is_one_visible_line(name) {
        return Err(LinkingError::Name);
    }
    if link.expires_ms <= now_ms() {
        return Err(LinkingError::Expired);
    }
    let mut network = network::start(&NetworkConfig {
        seed: *Keys::node_seed(home)?,
        federation: settings.federation.clone(),
        listen: Vec::new(),
        mdns: false,
    })?;
    let new = network.peer.to_bytes();
    let (first, mut stream) = reach(&mut network, link).await?;
    let has_shown = AtomicBool::new(false);
    let show = |code: &str| {
        has_shown.store(true, Ordering::Relaxed);
        show(code);
    };
    loop {
        let asked = ask_by(stream, home, link, name, (&first.to_bytes(), &new), &show).await;
        // Before its user was asked, a stream that breaks is nothing: others may keep the first device busy.
        let may_try_again = !has_shown.load(Ordering::Relaxed) && link.expires_ms > now_ms();
        if !(may_try_again && matches!(asked, Err(LinkingError::Stream(_)))) {
            return asked;
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
        stream = match network.opener.open_enrolment(first).await {
            Some(stream) => stream,
            None => reach(&mut network, link).await?.1,
        };
    }
}

/// Asks by one stream.
async fn ask_by(
    stream: Box<dyn Duplex>,
    home: &Home,
    link: &DeviceLink,
    name: &str,
    (first, new): (&[u8], &[u8]),
    show: &impl Fn(&str),
) -> Result<(), LinkingError> {
    let mut stream = stream.compat();
    let seed = Zeroizing::new(random());
    let device = DeviceKey::from_seed(&seed).device();
    let mut ask = Ask { nonce: random(), device, name: name.to_owned(), proof: [0; 32] };
    // Refused at once, it may not be there to be written to any more.
    let sent = send(&mut stream, &EnrolFrame::Commit { commitment: ask.commitment() }).await;
    let nonce = match receive(&mut stream, ANSWER_PATIENCE).await {
        Ok(EnrolFrame::Hello { nonce }) => nonce,
        Ok(EnrolFrame::Refused(_)) => return Err(LinkingError::NoLink),
        Ok(_) => return Err(LinkingError::Impostor),
        Err(error) => return Err(sent.err().unwrap_or(error).into()),
    };
    let proof = Transcript { link, first, new, nonce, ask: &ask }.proof_of_new();
    ask.proof = proof;
    let transcript = Transcript { link, first, new, nonce, ask: &ask };
    send(&mut stream, &EnrolFrame::Ask(ask.clone())).await?;
    match receive(&mut stream, ANSWER_PATIENCE).await? {
        EnrolFrame::Known { proof } if transcript.is_by_first(proof) => show(&transcript.check_code()),
        EnrolFrame::Refused(_) => return Err(LinkingError::NoLink),
        _ => return Err(LinkingError::Impostor),
    }
    let patience = Duration::from_millis(link.expires_ms.saturating_sub(now_ms()));
    let welcome = match receive(&mut stream, patience).await? {
        EnrolFrame::Welcome(welcome) => welcome,
        EnrolFrame::Refused(_) => return Err(LinkingError::Declined),
        _ => return Err(LinkingError::Impostor),
    };
    welcome.check(link, device).ok_or(LinkingError::Impostor)?;
    Keys::link(home, &seed, &welcome.certificate, &welcome.genesis, welcome.words)?;
    drop(stream.shutdown().await);
    Ok(())
}

/// Connects with the device that made the link.
async fn reach(network: &mut Network, link: &DeviceLink) -> Result<(Peer, Box<dyn Duplex>), LinkingError> {
    let addresses: Vec<PeerAddress> = link.addresses.iter().filter_map(|a| a.parse().ok()).collect();
    let until = Instant::now() + REACH_PATIENCE;
    let mut again = tokio::time::interval(DIAL_EVERY);
    loop {
        tokio::select! {
            _ = again.tick() => drop(network.commands.send(network::Command::Dial(addresses.clone())).await),
            event = network.events.recv() => match event {
                Some(Event::Connected { peer, .. }) if addresses.iter().any(|a| a.peer == peer) => {
                    if let Some(stream) = network.opener.open_enrolment(peer).await {
                        return Ok((peer, stream));
                    }
                }
                Some(_) => {}
                None => return Err(LinkingError::Unreachable(link.addresses.join(", "))),
            },
            () = tokio::time::sleep_until(until) => {
                return Err(LinkingError::Unreachable(link.addresses.join(", ")));
            }
        }
    }
}

async fn send(stream: &mut Compat<Box<dyn Duplex>>, frame: &EnrolFrame) -> Result<(), Error> {
    let bytes = frame.to_bytes();
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let written = async {
        stream.write_all(&[len.to_be_bytes().as_slice(), &bytes].concat()).await?;
        stream.flush().await
    };
    timeout(ANSWER_PATIENCE, written).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}

/// The next frame; its length is checked before anything is allocated.
async fn receive(stream: &mut Compat<Box<dyn Duplex>>, patience: Duration) -> Result<EnrolFrame, Error> {
    let read = async {
        let len = stream.read_u32().await? as usize;
        if len > ENROL_FRAME_LEN_MAX {
            return Err(Error::new(ErrorKind::InvalidData, format!("a frame of {len} bytes")));
        }
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).await?;
        EnrolFrame::from_bytes(&bytes).map_err(|e| Error::new(ErrorKind::InvalidData, e.to_string()))
    };
    timeout(patience, read).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}

fn unexpected() -> Error {
    Error::new(ErrorKind::InvalidData, "a frame that has no place here")
}

/// Devices that may ask at a time.
const ASKING_MAX: usize = 8;
/// How long the other side may take where nobody has to be asked.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a device may take to say what it has to say at once.
const ASK_PATIENCE: Duration = Duration::from_secs(3);
/// How long a new device waits before it asks once more.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the first device is looked for.
const REACH_PATIENCE: Duration = Duration::from_secs(30);
const DIAL_EVERY: Duration = Duration::from_secs(2);
