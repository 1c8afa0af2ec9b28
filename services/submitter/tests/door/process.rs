//! A submitter as a process of its own, which can be stopped and continued.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rota_local::NatsServer;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(server: &NatsServer, flags: &[&str]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rota-submitter"))
            .args(["--nats", &server.url()])
            .args(flags)
            .env_clear()
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        Ok(Self { child, lines })
    }

    pub(crate) async fn line_with(&mut self, text: &str) -> Result<String> {
        let search = async {
            while let Some(line) = self.lines.next_line().await? {
                if line.contains(text) {
                    return Ok(line);
                }
            }
            anyhow::bail!("the output ended without {text:?}")
        };
        timeout(DEADLINE, search).await.context(text.to_owned())?
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id().context("it has ended")?)?;
        Ok(kill_process(Pid::from_raw(pid).context("a pid")?, signal)?)
    }
}
