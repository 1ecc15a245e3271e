//! Servers of others: started in a folder of their own, ended by their id, whatever happens.

use crate::{Result, WAIT_MAX, machine};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// A server; ends when it is dropped.
pub struct Server {
    child: Child,
    name: String,
}

impl Server {
    /// What it prints goes to a file in its folder.
    pub fn spawn(program: &str, arguments: &[&OsStr], folder: &Path) -> Result<Server> {
        let log = std::fs::File::create(folder.join("log"))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(Server { child: command.spawn().map_err(|e| format!("{program}: {e}"))?, name: program.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    pub fn cpu_seconds(&self) -> f64 {
        machine::cpu_seconds(self.pid())
    }

    /// Waits until somebody listens on a port of this machine.
    pub async fn listens(&self, port: u16) -> Result<()> {
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if began.elapsed() > WAIT_MAX {
                return Err(format!("{} does not listen", self.name).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends it and waits until it has ended, so that the next one is not measured beside it.
    pub async fn stop(mut self) -> Result<()> {
        self.child.start_kill()?;
        tokio::time::timeout(WAIT_MAX, self.child.wait()).await??;
        Ok(())
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What an installed program prints; `None` where it is not installed.
pub async fn installed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = tokio::time::timeout(WAIT_MAX, Command::new(program).args(arguments).kill_on_drop(true).output());
    let output = output.await.ok()?.ok()?;
    let all = [output.stdout, output.stderr].concat();
    output.status.success().then(|| String::from_utf8_lossy(&all).trim().to_owned())
}
