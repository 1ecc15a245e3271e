//! How a command ends: 0 done, 1 failed, 2 wrong usage, 3 no node running, 4 refused, 5 not found, 6 not finished in time.

use super::output::{Output, try_line};
use crate::api::client::ClientError;
use crate::home::HomeError;
use crate::text::SafeText;
use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

/// Why a command did not do it: a line that says what, one that says what to do, and the exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    what: String,
    todo: String,
    /// Its JSON is on stdout already and says as much.
    is_answered: bool,
}

impl Failure {
    fn new(code: u8, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Failure { code, what: what.into(), todo: todo.into(), is_answered: false }
    }

    /// With what to do.
    pub fn with_todo(self, todo: &str) -> Self {
        Failure { todo: todo.to_owned(), ..self }
    }

    /// The command has printed its JSON: no other value follows.
    pub fn answered(self) -> Self {
        Failure { is_answered: true, ..self }
    }

    /// 1: a file that was named on the command line, and why it cannot be read or written.
    pub fn file(path: &Path, error: &std::io::Error) -> Self {
        let todo = match error.kind() {
            ErrorKind::NotFound => "look at the path: there is no such file or folder",
            ErrorKind::IsADirectory => "that is a folder: name a file",
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "choose another, or make it yours",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space and try again",
            _ => "choose another file",
        };
        Failure::failed(format!("{}: {error}", path.display()), todo)
    }

    /// 1.
    pub fn failed(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Failure::new(1, what, todo)
    }

    /// 2.
    pub fn usage(what: impl Into<String>) -> Self {
        Failure::new(2, what, "")
    }

    /// 3.
    pub fn not_running() -> Self {
        Failure::new(3, "no node is running in this home", "start it: tidings chat, or tidings up")
    }

    /// 4.
    pub fn refused(what: impl Into<String>) -> Self {
        Failure::new(4, what, "")
    }

    /// 6.
    pub fn unfinished(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Failure::new(6, what, todo)
    }

    /// Says it on stderr, and with --json on stdout too, where anybody still reads that.
    pub fn report(self, out: Output) -> ExitCode {
        if out.json && !self.is_answered {
            let error = serde_json::json!({ "exit": self.code, "title": self.what, "detail": self.todo });
            drop(try_line(&serde_json::json!({ "error": error }).to_string()));
        }
        eprintln!("tidings: {}", SafeText::block(&self.what));
        if !self.todo.is_empty() {
            eprintln!("{}", SafeText::block(&self.todo));
        }
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotRunning => Failure::not_running(),
            ClientError::Problem(problem) => {
                let code = match problem.code.as_str() {
                    "usage" | "ambiguous" | "link" => 2,
                    "refused" => 4,
                    "not_found" => 5,
                    "unfinished" => 6,
                    _ => 1,
                };
                Failure::new(code, problem.title, problem.detail)
            }
            other => Failure::failed(with_causes(&other), "look at `tidings status`, and try again"),
        }
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        Failure::failed(error.to_string(), "")
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::failed(error.to_string(), "try again; `tidings doctor` looks for the cause")
    }
}

/// An error with all its causes that it does not name itself.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = error.source();
    }
    text
}
