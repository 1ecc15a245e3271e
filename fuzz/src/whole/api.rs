//! JSON of the HTTP API, both ways: what reads is written, and what is written reads as the same; all else is an error that
//! says where. The first byte picks what it should be.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings_node::api::{erasures, inbox, keep, people, purge, search, types, upkeep};

/// A body.
pub fn api(bytes: &[u8]) {
    let Some((shape, body)) = bytes.split_first() else { return };
    SHAPES[usize::from(*shape) % SHAPES.len()](body);
}

fn shape<T: Serialize + DeserializeOwned>(body: &[u8]) {
    match serde_json::from_slice::<T>(body) {
        Ok(value) => {
            // By way of a value: whether a number is written as 1e2 or 100.0 is all the same.
            let written = serde_json::to_value(&value).unwrap();
            let text = serde_json::to_vec(&written).unwrap();
            let again = serde_json::from_slice::<T>(&text).unwrap_or_else(|e| panic!("{written}: {e}"));
            assert!(is_alike(&serde_json::to_value(&again).unwrap(), &written), "{written}");
        }
        Err(error) => {
            assert!(error.line() > 0 || error.is_eof() || error.is_data());
            assert!(!error.to_string().is_empty() && !error.is_io());
        }
    }
}

/// The same, but for the last bit of a fraction.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| is_alike(value, other)))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= a.abs() * f64::EPSILON * 2.0,
            _ => false,
        },
        _ => one == other,
    }
}

/// Requests first, then what our own screens read of answers.
const SHAPES: &[fn(&[u8])] = &[
    shape::<types::SetName>,
    shape::<types::AddPeer>,
    shape::<types::SendMessage>,
    shape::<types::React>,
    shape::<types::MarkRead>,
    shape::<types::Typing>,
    shape::<types::CreateRoom>,
    shape::<types::CreateInvite>,
    shape::<types::JoinRoom>,
    shape::<types::SetAlias>,
    shape::<types::Appoint>,
    shape::<types::SetSetting>,
    shape::<types::SetTeam>,
    shape::<Option<types::LeaveRoom>>,
    shape::<types::SetSuccessor>,
    shape::<types::SetHidden>,
    shape::<types::SendReport>,
    shape::<types::WithWords>,
    shape::<types::RevokeDevice>,
    shape::<types::Decide>,
    shape::<people::SetPetname>,
    shape::<people::Verify>,
    shape::<people::SetPin>,
    shape::<purge::Purge>,
    shape::<search::Search>,
    shape::<keep::Keep>,
    shape::<upkeep::MakeBackup>,
    shape::<types::Status>,
    shape::<Vec<types::Peer>>,
    shape::<Vec<types::Room>>,
    shape::<Vec<types::Line>>,
    shape::<types::Notice>,
    shape::<types::ImportProgress>,
    shape::<types::Problem>,
    shape::<types::Running>,
    shape::<Vec<types::Member>>,
    shape::<search::Found>,
    shape::<Vec<inbox::InboxLine>>,
    shape::<upkeep::VerifyProgress>,
    shape::<erasures::Erasure>,
];
