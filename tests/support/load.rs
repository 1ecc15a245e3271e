//! People who talk without a pause, and note what is acknowledged to them.

use super::kill::Oracle;
use super::nodes::Person;
use super::seeded::Seeded;
use serde_json::json;
use std::thread::{Scope, ScopedJoinHandle};
use tidings_node::api::client::{Client, ClientError};
use tidings_node::api::types::Sent;

/// Says one after the other in a room, several at a time, until the node is gone or nothing more counts. Returns what the
/// last of them was told.
pub fn talk<'scope>(
    scope: &'scope Scope<'scope, '_>,
    person: &Person,
    room: &'static str,
    seed: u64,
    oracle: &'scope Oracle,
) -> ScopedJoinHandle<'scope, Option<ClientError>> {
    let client = person.client();
    scope.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let speakers = (0..SPEAKERS).map(|n| speak(&client, room, Seeded::new(seed * SPEAKERS + n), oracle));
        runtime.block_on(futures::future::join_all(speakers)).pop().flatten()
    })
}

async fn speak(client: &Client, room: &str, mut dice: Seeded, oracle: &Oracle) -> Option<ClientError> {
    while !oracle.is_closed() {
        match client.post::<_, Sent>(&format!("/v1/rooms/{room}/messages"), &json!({ "text": words(&mut dice) })).await
        {
            Ok(sent) => oracle.note(&sent.id),
            Err(error) => return Some(error),
        }
    }
    None
}

/// A text of some hundreds or thousands of letters, and no other like it.
pub fn words(dice: &mut Seeded) -> String {
    (0..1 + dice.below(200)).map(|_| format!("{:016x} ", dice.next())).collect()
}

const SPEAKERS: u64 = 8;
