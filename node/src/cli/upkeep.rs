//! Keeping a home whole: verify, backup, restore.

use super::Context;
use super::args::{BackupArgs, RestoreArgs};
use super::devices::words;
use super::exit::{Failure, with_causes};
use super::output::short;
use crate::api::client::ClientError;
use crate::api::types::Problem;
use crate::api::upkeep::{Damaged, MakeBackup, Verified, VerifyProgress};
use crate::home::Home;
use crate::keys::WordsError;
use crate::upkeep::{
    FILES, KeyBoxError, Manifest, RestoreError, Restored, Restoring, STORE, VerifyError, Who, keep_keys, verify_copy,
    verify_home, write_beside,
};
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;
use tidings_protocol::identity::RecoveryPhrase;
use tidings_storage::Store;
use zeroize::Zeroizing;

/// A line of the node's answer.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Progress(VerifyProgress),
    Problem(Problem),
}

pub(super) async fn verify(context: &Context) -> Result<ExitCode, Failure> {
    let Some(home) = Home::find(&context.home)?.filter(|home| home.store_path().exists()) else {
        let what = format!("{}: there is no history here", context.home.display());
        return Err(Failure::failed(what, "name the home with --home DIR; a file is proved by tidings verify FILE"));
    };
    let mut teller = Teller::new(context);
    let verified = match Store::holder(&home.store_path()) {
        Some(_) => by_the_node(context, &mut teller).await?,
        None => verify_home(&home, &mut |progress| teller.tell(progress))?,
    };
    teller.end();
    show(context, &verified.unwrap_or_default())
}

async fn by_the_node(context: &Context, teller: &mut Teller) -> Result<Option<Verified>, Failure> {
    let mut answers = context.client()?.post_stream::<Answer, _>("/v1/store/verify", tokio::io::empty()).await?;
    while let Some(answer) = answers.next().await? {
        match answer {
            Answer::Problem(problem) => return Err(ClientError::Problem(problem).into()),
            Answer::Progress(VerifyProgress::Done(verified)) => return Ok(Some(verified)),
            Answer::Progress(progress) => drop(teller.tell(progress)),
        }
    }
    Err(Failure::failed("the node ended before everything was verified", "start it and run this again"))
}

pub(super) async fn backup(context: &Context, args: BackupArgs) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let folder = std::path::absolute(&args.folder).map_err(|e| Failure::file(&args.folder, &e))?;
    let sealed = match args.without_keys {
        true => None,
        false => {
            let passphrase = passphrase(args.passphrase_stdin, true, "or leave the keys out with --without-keys")?;
            Some(keep_keys(&Home::open(&context.home)?, &passphrase)?)
        }
    };
    let _: Manifest = client.post("/v1/store/backup", &MakeBackup { folder: folder.clone() }).await?;
    if let Some(sealed) = &sealed {
        write_beside(&folder, sealed)?;
    }
    let mut verified = Verified::default();
    if !args.no_verify {
        let mut teller = Teller::new(context);
        let found = verify_copy(&folder.join(STORE), &folder.join(FILES), &mut |progress| teller.tell(progress))?;
        teller.end();
        verified = found.unwrap_or_default();
    }
    let keys = sealed.is_some();
    let value = with(&verified, json!({ "folder": folder, "keys": keys, "verified": !args.no_verify }));
    context.out.show(&value, |_| {
        let read = if args.no_verify { String::new() } else { format!("{}\n", told(&verified)) };
        let keys = match keys {
            true => "the keys lie in it, sealed with your passphrase: without that nobody opens them, nor do you",
            false => "the keys are not in it: the recovery words are needed to restore it (tidings id words)",
        };
        format!("{read}backed up to {}\n{keys}", folder.display())
    });
    ended(&verified)
}

pub(super) fn restore(context: &Context, args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let restoring = Restoring::new(&args.folder, &context.home)?;
    let who = match words(args.words_stdin)? {
        Some(words) => {
            let phrase = RecoveryPhrase::from_words(&words).map_err(WordsError::from);
            Who::Words(phrase.map_err(|error| Failure::usage(error.to_string()))?)
        }
        None if !restoring.has_keys() => return Err(RestoreError::NoKeys(args.folder.clone()).into()),
        None => Who::Passphrase(passphrase(args.passphrase_stdin, false, "or --words-stdin, with the recovery words")?),
    };
    let mut teller = Teller::new(context);
    let restored = restoring.restore(&who, &mut |progress| teller.tell(progress));
    teller.end();
    let Restored { verified, left_out } = match restored {
        Err(RestoreError::Damaged(verified)) => {
            context.out.show(&verified, told);
            return Err(Failure::from(RestoreError::Damaged(verified)).answered());
        }
        other => other?.unwrap_or_default(),
    };
    let is_silent = Home::open(&context.home)?.has("linked");
    let value = with(&verified, json!({ "home": context.home, "silent": is_silent, "settings_left_out": left_out }));
    context.out.show(&value, |_| {
        let left_out = match left_out.as_slice() {
            [] => String::new(),
            names => format!("\nsettings not taken over, as they say whom to believe: {}", names.join(", ")),
        };
        let next = match is_silent {
            true => "the recovery words are not in this backup: nothing can be said from here, only read",
            false => "it is a new device of yours; start it: tidings chat, or tidings up",
        };
        format!("{}\nrestored to {}{left_out}\n{next}", told(&verified), context.home.display())
    });
    Ok(ExitCode::SUCCESS)
}

/// A passphrase from standard input, or typed blind, twice where it is a new one.
fn passphrase(from_stdin: bool, is_new: bool, or: &str) -> Result<Zeroizing<String>, Failure> {
    if from_stdin {
        let mut line = Zeroizing::new(String::new());
        std::io::stdin().lock().take(PASSPHRASE_LEN_MAX).read_line(&mut line)?;
        return Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("a passphrase is needed: --passphrase-stdin reads it, {or}")));
    }
    let ask = |what: &str| rpassword::prompt_password(what).map(Zeroizing::new);
    let typed = ask("passphrase for the keys: ")?;
    if is_new && *ask("the same again: ")? != *typed {
        return Err(Failure::failed("these were two passphrases", "try again: nothing was written"));
    }
    Ok(typed)
}

/// Tells somebody at a terminal how far it is.
struct Teller {
    is_on: bool,
    has_told: bool,
}

impl Teller {
    fn new(context: &Context) -> Self {
        Teller { is_on: std::io::stderr().is_terminal() && !context.out.json, has_told: false }
    }

    fn tell(&mut self, progress: VerifyProgress) -> bool {
        if let VerifyProgress::Reading { rows, events } = progress
            && self.is_on
        {
            self.has_told = true;
            eprint!("\r{rows} rows read, {events} events checked ");
        }
        true
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.has_told) {
            eprintln!();
        }
    }
}

fn show(context: &Context, verified: &Verified) -> Result<ExitCode, Failure> {
    context.out.show(verified, told);
    ended(verified)
}

fn ended(verified: &Verified) -> Result<ExitCode, Failure> {
    match verified.damaged_count {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Failure::failed(format!("{count} damaged: listed above"), DAMAGED_TODO).answered()),
    }
}

fn told(verified: &Verified) -> String {
    let mut text = String::new();
    for damaged in &verified.damaged {
        text += &format!("damaged: {}\n", line(damaged));
    }
    let Verified { events, bytes, signatures, unvouched, files, damaged_count, .. } = verified;
    let files = if *files > 0 { format!(" and {files} files") } else { String::new() };
    text += &format!("{events} events{files} read, {bytes} bytes, {signatures} signatures checked");
    if *unvouched > 0 {
        text += &format!(", {unvouched} events have to wait for one that vouches for them");
    }
    text + &match damaged_count {
        0 => "; nothing is damaged".to_owned(),
        count => format!("; {count} damaged"),
    }
}

fn line(damaged: &Damaged) -> String {
    let of = |what: &str, id: &Option<String>| id.as_ref().map(|id| format!("{what} {}, ", short(id)));
    let of = [of("room", &damaged.room), of("event", &damaged.event), of("file", &damaged.file)];
    format!("{}{}", of.into_iter().flatten().collect::<String>(), damaged.what)
}

/// What was read, and more.
fn with(verified: &Verified, more: serde_json::Value) -> serde_json::Value {
    let mut value = serde_json::to_value(verified).unwrap_or_default();
    if let (Some(value), serde_json::Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Failure::failed(with_causes(&error), "`tidings doctor` looks for the cause")
    }
}

impl From<KeyBoxError> for Failure {
    fn from(error: KeyBoxError) -> Self {
        let text = error.to_string();
        match error {
            KeyBoxError::Short => Failure::usage(text),
            KeyBoxError::Closed => Failure::failed(text, "type it again; the recovery words do as well: --words-stdin"),
            _ => Failure::failed(text, ""),
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let text = error.to_string();
        match error {
            RestoreError::Keys(error) => error.into(),
            RestoreError::Verify(error) => error.into(),
            RestoreError::InUse(_) | RestoreError::OtherUser => Failure::refused(text),
            RestoreError::Damaged(_) => Failure::failed(text, "take an older backup, or another copy of this one"),
            _ => Failure::failed(text, ""),
        }
    }
}

const DAMAGED_TODO: &str =
    "look at the disk (smartctl, dmesg), and copy the home; then start again: what is lost is fetched from others";
const PASSPHRASE_LEN_MAX: u64 = 4096;
