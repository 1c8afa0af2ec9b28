//! One service as a child process: signals, its end, and what it says.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::Service;
use crate::wait::wait_for;

/// Lines kept of each process; older ones are forgotten.
const LINES_MAX: usize = 1_000;

/// A service that runs, or has ended. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

/// What a process has said.
#[derive(Debug)]
pub(crate) struct Log {
    name: String,
    lines: Mutex<VecDeque<String>>,
}

impl Process {
    /// Starts a service on a server. It logs without colours, one line for each event.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(service: Service, name: &str, url: &str, flags: &[&str]) -> Self {
        Self::start_in(service, name, url, flags, &[])
    }

    pub(crate) fn start_in(
        service: Service,
        name: &str,
        url: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(service.binary());
        for (variable, _) in env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"ROTA_") {
                command.env_remove(variable);
            }
        }
        let spawned = command
            .args(["--nats", url])
            .args(flags)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = spawned.expect("a binary that was just built can be started");
        let log = Arc::new(Log {
            name: format!("{name} (process {})", child.id()),
            lines: Mutex::default(),
        });
        log.read(child.stdout.take().expect("it is piped"));
        log.read(child.stderr.take().expect("it is piped"));
        let name = name.to_owned();
        Self { name, child, log }
    }

    pub(crate) fn log_handle(&self) -> Arc<Log> {
        self.log.clone()
    }

    /// What it has said so far, the last thousand lines.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// How many of its lines hold a text.
    #[must_use]
    pub fn said(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until it says something with this text, and gives the line.
    pub async fn until_said(&self, text: &str, limit: Duration) -> String {
        let what = format!("{} says {text:?}", self.name);
        wait_for(what, limit, async || {
            let lines = self.log();
            let found = lines.iter().find(|line| line.contains(text));
            found.cloned().ok_or_else(|| "nothing of it".to_owned())
        })
        .await
    }

    /// The most memory that it has had so far, in MiB, as Linux tells.
    #[must_use]
    pub fn peak_memory_mib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.expect("it runs, on Linux") / 1_024
    }

    /// SIGKILL: gone at once, without a chance to say anything.
    pub fn kill(&mut self) {
        // It can only fail for a process that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGSTOP: it stands still with its connection open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM: it drains.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended, if it has.
    pub fn try_exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait();
        status.expect("a child of ours can be waited for")
    }

    /// Waits for its end.
    pub async fn exited(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(what, limit, async || {
            self.try_exited().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// Its process was not waited for while it runs, so the id is still its own.
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Log {
    pub(crate) fn print(&self) {
        eprintln!("---- {}", self.name);
        for line in self.lines() {
            eprintln!("{line}");
        }
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Reads until the other end is closed, which is when the process has ended.
    fn read(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut lines = log.lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
    }
}
