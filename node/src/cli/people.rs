//! People as this node knows them: pet names, keys compared, who is blocked, names at domains.

use super::Context;
use super::args::PeopleCommand;
use super::exit::Failure;
use super::output::{is_terminal, time};
use crate::api::client::segment;
use crate::api::people::{Code, Person, Pin, SetPetname, SetPin, Verify};
use crate::qr::qr_code;
use serde_json::Value;
use std::process::ExitCode;
use tidings_protocol::verification::VerifyLink;

pub(super) async fn people(context: &Context, command: Option<PeopleCommand>) -> Result<ExitCode, Failure> {
    match command {
        None => list(context).await,
        Some(PeopleCommand::Name { user, name }) => {
            let person: Person = context.client()?.post(&path(&user, "name"), &SetPetname { name }).await?;
            context.out.show(&person, |p| match &p.petname {
                Some(petname) => format!("{} is \"{petname}\" to you; nobody else sees that", p.user),
                None => format!("{} has no pet name any more", p.user),
            });
            Ok(ExitCode::SUCCESS)
        }
        Some(PeopleCommand::Verify { user, code, forget }) => verify(context, &user, code, forget).await,
        Some(PeopleCommand::Block { user }) => {
            let person: Person = context.client()?.post(&path(&user, "block"), &Value::Null).await?;
            context.out.show(&person, |p| {
                format!("blocked {}: what they say is not shown here. They are not told, and others see it", called(p))
            });
            Ok(ExitCode::SUCCESS)
        }
        Some(PeopleCommand::Unblock { user }) => {
            let person: Person = context.client()?.delete(&path(&user, "block")).await?;
            context.out.show(&person, |p| format!("{} is shown again", called(p)));
            Ok(ExitCode::SUCCESS)
        }
        Some(PeopleCommand::Pin { name, replace, forget }) => pin(context, name, replace, forget).await,
    }
}

async fn list(context: &Context) -> Result<ExitCode, Failure> {
    let people: Vec<Person> = context.client()?.get("/v1/people").await?;
    context.out.show(&people, |people| {
        if people.is_empty() {
            return "nobody yet: tidings people name USER NAME, or tidings people verify USER".to_owned();
        }
        people.iter().map(row).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn row(person: &Person) -> String {
    let mut about = Vec::new();
    if person.verified {
        about.push(format!("keys compared {}", time(person.verified_ms)));
    }
    if person.blocked {
        about.push("blocked".to_owned());
    }
    about.extend(person.names.iter().cloned());
    format!("{:<24} {}  {}", called(person), person.user, about.join(", ")).trim_end().to_owned()
}

async fn verify(context: &Context, who: &str, code: Option<String>, forget: bool) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let person: Person = match code {
        _ if forget => {
            let person: Person = client.delete(&path(who, "verify")).await?;
            context.out.show(&person, |p| format!("{} counts as not verified again", called(p)));
            return Ok(ExitCode::SUCCESS);
        }
        Some(code) => client.post(&path(who, "verify"), &Verify { code }).await?,
        None if VerifyLink::is_meant(who) => client.post("/v1/verify", &Verify { code: who.to_owned() }).await?,
        None => {
            let code: Code = client.get(&path(who, "code")).await?;
            context.out.show(&code, |code| explain(code, who));
            return Ok(ExitCode::SUCCESS);
        }
    };
    context.out.show(&person, |p| format!("✓ {} is verified: {}", called(p), p.user));
    Ok(ExitCode::SUCCESS)
}

fn explain(code: &Code, who: &str) -> String {
    let groups: Vec<&str> = code.code.split(' ').collect();
    let rows: Vec<String> = groups.chunks(4).map(|row| format!("    {}", row.join(" "))).collect();
    let qr = if is_terminal() { format!("\n\n{}", qr_code(&code.link)) } else { String::new() };
    let state = if code.person.verified { "\nYou have compared this key before.\n" } else { "" };
    format!(
        "Compare this with {} ({}), by voice or side by side, not in a chat:\n\n{}\n{state}\n\
         Both of you see the same. If so, say it to your node:\n    tidings people verify {who} --code \"...\"\n\
         or give it the link that their screen shows:\n    {}{qr}",
        called(&code.person),
        code.person.user,
        rows.join("\n"),
        code.link,
    )
}

async fn pin(context: &Context, name: String, replace: bool, forget: bool) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    if forget {
        let _: Value = client.delete(&format!("/v1/pins/{}", segment(&name))).await?;
        context.out.show(&serde_json::json!({}), |_| format!("{name} is not pinned any more"));
        return Ok(ExitCode::SUCCESS);
    }
    let pin: Pin = client.post("/v1/pins", &SetPin { name, replace }).await?;
    context.out.show(&pin, |pin| {
        let before = pin.replaced.as_ref().map(|key| format!("\nbefore it was {key}")).unwrap_or_default();
        format!("{} is {}{before}\n{}", pin.name, pin.user, pin.addresses.join("\n")).trim_end().to_owned()
    });
    Ok(ExitCode::SUCCESS)
}

/// What to call somebody: the pet name, else what they say of themselves, else nothing but their key.
fn called(person: &Person) -> String {
    match &person.petname {
        Some(petname) => petname.clone(),
        None if person.name.is_empty() => super::output::short(&person.user),
        None => super::output::name_of_others(&person.name),
    }
}

fn path(user: &str, what: &str) -> String {
    format!("/v1/people/{}/{what}", segment(user))
}
