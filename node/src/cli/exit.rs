//! How a command ends: 0 done, 1 failed, 2 wrong usage, 3 no node running, 4 refused, 5 not found, 6 not finished in time.

use crate::api::client::ClientError;
use crate::home::HomeError;
use crate::text::SafeText;
use std::error::Error;
use std::process::ExitCode;

/// Why a command did not do it: a line that says what, one that says what to do, and the exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    what: String,
    todo: String,
}

impl Failure {
    fn new(code: u8, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Failure { code, what: what.into(), todo: todo.into() }
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
    pub fn unfinished(what: impl Into<String>) -> Self {
        Failure::new(6, what, "")
    }

    /// Says it on stderr.
    pub fn report(self) -> ExitCode {
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
                    _ => 1,
                };
                Failure::new(code, problem.title, problem.detail)
            }
            other => {
                let cause = other.source().map(|s| format!(": {s}")).unwrap_or_default();
                Failure::failed(format!("{other}{cause}"), "look at `tidings status`, and try again")
            }
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
        Failure::failed(error.to_string(), "")
    }
}
