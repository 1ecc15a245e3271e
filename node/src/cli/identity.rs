//! Who I am: works without a running node, but for setting the name.

use super::Context;
use super::args::IdCommand;
use super::devices;
use super::erasures;
use super::exit::Failure;
use super::output::is_terminal;
use crate::api::types::{Identity, SetName};
use crate::home::Home;
use crate::keys::Keys;
use crate::network;
use std::process::ExitCode;

pub(super) async fn id(context: &Context, command: Option<IdCommand>) -> Result<ExitCode, Failure> {
    match command {
        None => show(context).await,
        Some(IdCommand::Name { name, erase_former }) => {
            let identity: Identity = context.client()?.post("/v1/id/name", &SetName { name }).await?;
            let erased = if erase_former { erasures::former_names(context).await? } else { 0 };
            context.out.show(&identity, |id| match erased {
                0 => format!("people see you as {}", id.name),
                n => format!("people see you as {}; {n} former names are erased", id.name),
            });
            Ok(ExitCode::SUCCESS)
        }
        Some(IdCommand::Words) => words(context),
        Some(IdCommand::Devices) => devices::list(context).await,
        Some(IdCommand::Add { yes, words_stdin }) => devices::add(context, yes, words_stdin).await,
        Some(IdCommand::Revoke { device, now, words_stdin }) => {
            devices::revoke(context, &device, now, words_stdin).await
        }
        Some(IdCommand::Link { link, name, wait, run }) => devices::link(context, &link, name, &wait, run).await,
        Some(IdCommand::Recover { words_stdin, name, wait, run }) => {
            devices::recover(context, words_stdin, name, &wait, run).await
        }
    }
}

async fn show(context: &Context) -> Result<ExitCode, Failure> {
    let from_node = match context.client() {
        Ok(client) => client.get::<Identity>("/v1/id").await.ok(),
        Err(_) => None,
    };
    let identity = match from_node {
        Some(identity) => identity,
        None => {
            let keys = Keys::open(&Home::open(&context.home)?)?;
            Identity {
                user: keys.user.to_string(),
                device: keys.device().id().to_string(),
                name: String::new(),
                peer: network::peer_of(*keys.node_seed).map(|p| p.to_string()).unwrap_or_default(),
            }
        }
    };
    context.out.show(&identity, |id| {
        let name = if id.name.is_empty() { "(none yet: tidings id name NAME)" } else { &id.name };
        format!("name    {name}\nuser    {}\ndevice  {}\npeer    {}", id.user, id.device, id.peer)
    });
    Ok(ExitCode::SUCCESS)
}

fn words(context: &Context) -> Result<ExitCode, Failure> {
    if !context.out.json && !is_terminal() {
        return Err(Failure::refused("the recovery words are shown on a terminal only, or with --json"));
    }
    let keys = Keys::open(&Home::open(&context.home)?)?;
    let Some(phrase) = &keys.phrase else {
        return Err(Failure::refused("this device does not have the recovery words: another device let it in")
            .with_todo("they are on the device where you began, and wherever you wrote them down"));
    };
    let words = phrase.words();
    context.out.show(&serde_json::json!({ "words": words.as_str() }), |_| {
        format!("Whoever has these words is you. Write them down, show nobody:\n\n{}", words.as_str())
    });
    Ok(ExitCode::SUCCESS)
}
