//! Gossipsub's settings. Each guards against a trap that was seen by experiment; `tests/` has a test for each.

use libp2p::gossipsub::{
    AllowAllSubscriptionFilter, Behaviour, ConfigBuilder, IdentTopic, MaxCountSubscriptionFilter, Message,
    MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicScoreParams, ValidationMode,
};
use std::time::Duration;
use tidings_protocol::gossip::message_id;

/// A topic filter that does not drop a whole greeting at its 101st topic (trap C).
pub(super) type Filter = MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>;
/// Gossipsub with it.
pub(super) type Gossip = Behaviour<libp2p::gossipsub::IdentityTransform, Filter>;

/// Gossipsub of a federation: another's speaks another protocol.
pub(super) fn behaviour(federation: &str) -> Result<Gossip, String> {
    let mut config = ConfigBuilder::default();
    if !federation.is_empty() {
        config.protocol_id_prefix(format!("/tidings/{federation}/meshsub"));
    }
    let config = config
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(id_of)
        .mesh_n(8)
        .mesh_n_low(4)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .flood_publish(false)
        .history_length(12)
        .history_gossip(3)
        .duplicate_cache_time(Duration::from_secs(600))
        .connection_handler_queue_len(1000)
        // Trap A: the limit is compared with the whole receive buffer, so it is four times what we accept.
        .max_transmit_size(256 * 1024)
        // Trap B: more ids of 20 bytes than this in one RPC exceed what receivers take.
        .max_control_messages_sent(400)
        // Trap E: on connecting, all subscriptions go in one RPC.
        .max_control_message_size(64 * 1024)
        .build()
        .map_err(|e| e.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: TOPICS_MAX * 2,
        max_subscriptions_per_request: TOPICS_MAX * 2,
    };
    let mut gossip = Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)?;
    gossip.with_peer_score(score_params(), score_thresholds())?;
    Ok(gossip)
}

fn id_of(message: &Message) -> MessageId {
    MessageId::from(message_id(message.topic.as_str(), &message.data).to_vec())
}

pub(super) fn topic(name: &str) -> IdentTopic {
    IdentTopic::new(name)
}

/// Without scoring slow peers are never pruned. What a mesh owes in messages is not scored: chat comes in bursts.
fn score_params() -> PeerScoreParams {
    PeerScoreParams {
        topic_score_cap: 100.0,
        slow_peer_weight: -0.2,
        slow_peer_threshold: 5.0,
        slow_peer_decay: 0.2,
        // Many honest nodes share an address: behind one NAT, or on one machine.
        ip_colocation_factor_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

pub(super) fn topic_params() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_cap: 100.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1000.0,
        ..TopicScoreParams::default()
    }
}

fn score_thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -500.0,
        publish_threshold: -1000.0,
        graylist_threshold: -2500.0,
        ..PeerScoreThresholds::default()
    }
}

/// Topics that a node takes part in; rooms beyond ride on sync alone.
pub(super) const TOPICS_MAX: usize = 400;
