//! The task that owns the swarm.

use super::boxed::Boxed;
use super::swarm::{Behaviour, BehaviourEvent};
use super::{Command, Event, GossipTicket, GossipVerdict, Peer, PeerAddress, PeerInfo, gossip};
use futures::StreamExt;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Swarm, identify, mdns, ping};
use std::collections::{BTreeMap, VecDeque};
use tidings_protocol::gossip::MESSAGE_LEN_MAX;
use tokio::sync::mpsc::{self, error::TrySendError};

struct Task {
    swarm: Swarm<Boxed<Behaviour>>,
    events: mpsc::Sender<Event>,
    /// Events that found the queue full. While there are any, the swarm waits and commands do not: who reads the events may
    /// be waiting to command.
    backlog: VecDeque<Event>,
    peers: BTreeMap<Peer, PeerInfo>,
}

/// Runs until nobody can command it any more.
pub(super) async fn run(
    swarm: Swarm<Boxed<Behaviour>>,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) {
    let queue = events.clone();
    let mut task = Task { swarm, events, backlog: VecDeque::new(), peers: BTreeMap::new() };
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => task.command(command),
                None => return,
            },
            room = queue.reserve(), if !task.backlog.is_empty() => match (room, task.backlog.pop_front()) {
                (Ok(room), Some(event)) => room.send(event),
                _ => return,
            },
            event = task.swarm.select_next_some(), if task.backlog.is_empty() => task.swarm_event(event),
        }
    }
}

impl Task {
    fn command(&mut self, command: Command) {
        match command {
            Command::Dial(addresses) => self.dial(addresses),
            Command::Subscribe(name) => {
                let topic = gossip::topic(&name);
                let full = self.swarm.behaviour().gossip.topics().count() >= gossip::TOPICS_MAX;
                if !full && self.swarm.behaviour_mut().gossip.subscribe(&topic).is_ok() {
                    let _ = self.swarm.behaviour_mut().gossip.set_topic_params(topic, gossip::topic_params());
                }
            }
            Command::Unsubscribe(name) => drop(self.swarm.behaviour_mut().gossip.unsubscribe(&gossip::topic(&name))),
            Command::Publish { topic, data } => {
                // Trap D: an error here says nothing of who got it; the event is committed, and sync is the guarantee.
                match self.swarm.behaviour_mut().gossip.publish(gossip::topic(&topic), data) {
                    Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
                    Err(error) => tracing::debug!(%error, "gossip not published"),
                }
            }
            Command::Report(GossipTicket { id, from }, verdict) => {
                let acceptance = match verdict {
                    GossipVerdict::Accept => MessageAcceptance::Accept,
                    GossipVerdict::Reject => MessageAcceptance::Reject,
                    GossipVerdict::Ignore => MessageAcceptance::Ignore,
                };
                self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance);
            }
            Command::Disconnect(peer) => drop(self.swarm.disconnect_peer_id(peer.0)),
            Command::Ban(peers) => peers.iter().for_each(|peer| {
                self.swarm.behaviour_mut().blocked.block_peer(peer.0);
            }),
            Command::Unban(peers) => peers.iter().for_each(|peer| {
                self.swarm.behaviour_mut().blocked.unblock_peer(peer.0);
            }),
            Command::Peers(reply) => drop(reply.send(self.peers.values().cloned().collect())),
        }
    }

    fn dial(&mut self, addresses: Vec<PeerAddress>) {
        let mut by_peer: BTreeMap<Peer, Vec<Multiaddr>> = BTreeMap::new();
        for PeerAddress { peer, address } in addresses {
            if let Ok(address) = address.parse() {
                by_peer.entry(peer).or_default().push(address);
            }
        }
        for (peer, addresses) in by_peer {
            let options = DialOpts::peer_id(peer.0)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "not dialled");
            }
        }
    }

    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let address = self.with_own_id(address);
                self.tell(Event::Listening(address));
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. } => {
                let (peer, outbound) = (Peer(peer_id), endpoint.is_dialer());
                let address = with_id(endpoint.get_remote_address().clone(), peer_id);
                if num_established.get() == 1 {
                    self.peers.insert(peer, PeerInfo { peer, address: address.clone(), outbound, rtt_ms: None });
                    let address = PeerAddress { peer, address };
                    self.tell(Event::Connected { peer, address, outbound });
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.peers.remove(&Peer(peer_id));
                self.tell(Event::Disconnected(Peer(peer_id)));
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(peer = ?peer_id, %error, "dialling failed");
            }
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            _ => {}
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                let addresses = info.listen_addrs.into_iter().take(ADDRESSES_PER_PEER_MAX);
                self.tell_addresses(peer_id, addresses.collect(), false);
            }
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(rtt), .. }) => {
                if let Some(info) = self.peers.get_mut(&Peer(peer)) {
                    info.rtt_ms = Some(rtt.as_secs_f64() * 1000.0);
                }
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(ping::Failure::Timeout | ping::Failure::Other { .. }),
            }) => {
                // Nothing else notices a cable that was pulled: the peer would count as connected for a quarter of an hour.
                tracing::debug!(%peer, "no answer to a ping");
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    self.tell_addresses(peer, vec![address], true);
                }
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.gossip(propagation_source, message_id, message);
            }
            _ => {}
        }
    }

    /// Never waits: what cannot be taken now is ignored, and sync brings it.
    fn gossip(&mut self, from: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let ticket = GossipTicket { id, from };
        if message.data.len() > MESSAGE_LEN_MAX {
            return self.command(Command::Report(ticket, GossipVerdict::Reject));
        }
        let topic = message.topic.into_string();
        let event = Event::Gossip { ticket: ticket.clone(), from: Peer(from), topic, data: message.data };
        if self.events.try_send(event).is_err() {
            self.command(Command::Report(ticket, GossipVerdict::Ignore));
        }
    }

    fn tell_addresses(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, local: bool) {
        let whole = |a| PeerAddress { peer: Peer(peer), address: with_id(a, peer) };
        let addresses = addresses.into_iter().map(whole).collect();
        self.tell(Event::Addresses { peer: Peer(peer), addresses, local });
    }

    fn tell(&mut self, event: Event) {
        if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
            self.backlog.push_back(event);
        }
    }

    fn with_own_id(&self, address: Multiaddr) -> String {
        with_id(address, *self.swarm.local_peer_id())
    }
}

fn with_id(address: Multiaddr, peer: PeerId) -> String {
    match address.iter().last() {
        Some(Protocol::P2p(_)) => address.to_string(),
        _ => address.with(Protocol::P2p(peer)).to_string(),
    }
}

/// Addresses that a peer may tell of itself.
const ADDRESSES_PER_PEER_MAX: usize = 16;
