//! One nats-server process on 127.0.0.1, with its configuration and its store, as a value.
//!
//! It exists for `rota up` and for tests that stop, kill and restart the server under the services.
//!
//! ```text
//! start ─► running ──stop (TERM), kill (KILL), ends by itself──► stopped
//!             ▲                                                      │
//!             └───────── start_again: same port, same store ─────────┘
//! ```
//!
//! What must hold: a value from [`NatsServer::start`] has answered a client's connection and, where
//! it was asked for, has JetStream up; the port stays the same for the value's life; two servers
//! never use one store; when the value is dropped, the process is gone, and so is a temporary
//! store.

mod config;
mod error;
mod home;
mod probe;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tracing::{debug, info, warn};

pub use self::error::ServerError;
use self::{
    error::{file_error, process_error},
    home::{CONFIG_FILE, Home, LOG_FILE, OUTPUT_FILE, PORTS_FOLDER},
};
use crate::{
    fetch::nats_server,
    signal::{Signal, signal_process},
};

/// A large store is read from its beginning before the server answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server gets to end after TERM, before KILL.
const STOP_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);
/// Runs a program that is sent TERM when the thread ends that started it.
const SETPRIV: [&str; 4] = ["setpriv", "--pdeathsig", "TERM", "--"];
const EXIT_POLL: Duration = Duration::from_millis(100);

/// How to start a server. The default: a free port, a temporary store, JetStream on.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// The binary; found or fetched by [`nats_server`] when there is none here.
    pub binary: Option<PathBuf>,
    /// The port on 127.0.0.1; a free one when there is none here.
    pub port: Option<u16>,
    /// The folder for data, configuration and log; a temporary one when there is none here.
    pub store: Option<PathBuf>,
    /// The largest message in bytes; the server's own default (1 MiB) when there is none here.
    pub max_payload: Option<u32>,
    /// Whether messages can be stored.
    pub jetstream: JetStream,
    /// How much the streams may set aside in bytes, whatever the disk has; by default three quarters of
    /// what is free on it.
    pub store_bytes_max: Option<u64>,
    /// Lines put at the end of the configuration as they are.
    pub extra: Vec<String>,
    /// Whether Ctrl-C in the terminal reaches the server too.
    pub terminal_signals: TerminalSignals,
    /// What becomes of the server when this process is killed.
    pub orphaned: Orphaned,
}

/// Whether the server stores messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JetStream {
    /// With JetStream, below the store folder.
    #[default]
    On,
    /// Core NATS alone.
    Off,
}

/// Whether the signals of the terminal (Ctrl-C) reach the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TerminalSignals {
    /// The server has a process group of its own; the parent decides when it ends.
    #[default]
    Shielded,
    /// The server shares the parent's group and ends on Ctrl-C by itself.
    Shared,
}

/// What becomes of the server when this process is killed, so that it cannot end it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orphaned {
    /// It runs on, and keeps others out of its store.
    #[default]
    RunsOn,
    /// It is sent TERM, where util-linux's `setpriv` is on PATH; elsewhere it runs on.
    ///
    /// The kernel does so when the thread ends that started the server: only for a thread that lives as
    /// long as the process does.
    Ends,
}

/// A nats-server on this machine. Dropping it kills the process and removes a temporary store.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    options: ServerOptions,
    home: Home,
    port: u16,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Running(Child),
    Stopped,
}

impl NatsServer {
    /// Starts a server and waits until clients can use it, up to a minute.
    pub async fn start(mut options: ServerOptions) -> Result<Self, ServerError> {
        let binary = match options.binary.take() {
            Some(binary) => binary,
            None => nats_server().await.map_err(ServerError::Binary)?,
        };
        let home = Home::open(options.store.as_deref()).await?;
        let port = options.port.unwrap_or(0);
        let mut server = Self {
            binary,
            options,
            home,
            port,
            process: Process::Stopped,
        };
        server.launch().await?;
        Ok(server)
    }

    /// The address for clients: `nats://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port for clients. It stays the same when the server is started again.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, while the server runs or has not been noticed to have ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::Running(child) => Some(child.id()),
            Process::Stopped => None,
        }
    }

    /// The binary that runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The folder with data, configuration and log.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.home.folder
    }

    /// The server's log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.home.folder.join(LOG_FILE)
    }

    /// Kills the server as a crash would, without a chance to write anything. Nothing happens when
    /// it does not run.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Process::Running(child) = &mut self.process {
            let pid = child.id();
            let gone = child.kill().and_then(|()| child.wait());
            gone.map_err(process_error("kill", pid))?;
            self.process = Process::Stopped;
            info!(pid, port = self.port, "nats-server killed");
        }
        Ok(())
    }

    /// Ends the server in an orderly way: TERM, and KILL when it has not ended after 15 s.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        self.signal(Signal::Terminate)?;
        // A server that was paused can only end when it goes on.
        self.signal(Signal::Resume)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while self.try_exited()?.is_none() && self.pid().is_some() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        if let Some(pid) = self.pid() {
            warn!(
                pid,
                limit_ms = STOP_LIMIT.as_millis(),
                "nats-server does not end, killing it"
            );
        }
        self.kill()
    }

    /// Starts the server again on the same port and store after it was stopped, killed or ended by
    /// itself. Nothing happens while it runs.
    pub async fn start_again(&mut self) -> Result<(), ServerError> {
        self.try_exited()?;
        match self.process {
            Process::Running(_) => Ok(()),
            Process::Stopped => self.launch().await,
        }
    }

    /// Signals the server: [`Signal::Pause`] makes it stand still with its connections open.
    /// Nothing happens when it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        match &self.process {
            // The child is not reaped yet, so the id is still its own.
            Process::Running(child) => {
                signal_process(child.id(), signal).map_err(process_error("signal", child.id()))
            }
            Process::Stopped => Ok(()),
        }
    }

    /// How the server ended, if it has ended by itself since it was last started; told once.
    pub fn try_exited(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        let Process::Running(child) = &mut self.process else {
            return Ok(None);
        };
        let status = child
            .try_wait()
            .map_err(process_error("wait for", child.id()))?;
        if status.is_some() {
            self.process = Process::Stopped;
        }
        Ok(status)
    }

    /// Waits until the server ends by itself. Pending for as long as it runs or was stopped; safe
    /// to cancel.
    pub async fn exited(&mut self) -> Result<ExitStatus, ServerError> {
        loop {
            if let Some(status) = self.try_exited()? {
                return Ok(status);
            }
            sleep(EXIT_POLL).await;
        }
    }

    async fn launch(&mut self) -> Result<(), ServerError> {
        self.home.prepare(self.port, &self.options)?;
        self.process = Process::Running(self.spawn()?);
        let started = Instant::now();
        match self.until_ready(started + START_LIMIT).await {
            Ok(port) => self.port = port,
            Err(error) => {
                self.kill()?;
                return Err(error);
            }
        }
        let elapsed_ms = started.elapsed().as_millis();
        info!(
            pid = self.pid(),
            port = self.port,
            elapsed_ms,
            "nats-server started"
        );
        Ok(())
    }

    fn spawn(&self) -> Result<Child, ServerError> {
        let output = || self.home.output.try_clone().map(Stdio::from);
        let file = self.home.folder.join(OUTPUT_FILE);
        let mut command = self.command();
        command
            .arg("--config")
            .arg(self.home.folder.join(CONFIG_FILE))
            .stdin(Stdio::null())
            .stdout(output().map_err(file_error("share", &file))?)
            .stderr(output().map_err(file_error("share", &file))?);
        if self.options.terminal_signals == TerminalSignals::Shielded {
            command.process_group(0);
        }
        command.spawn().map_err(|source| ServerError::Spawn {
            binary: self.binary.clone(),
            source,
        })
    }

    fn command(&self) -> Command {
        match self.options.orphaned {
            Orphaned::Ends if can_end_orphans() => {
                // It becomes the server, with the same process id.
                let mut command = Command::new(SETPRIV[0]);
                command.args(&SETPRIV[1..]).arg(&self.binary);
                command
            }
            Orphaned::Ends | Orphaned::RunsOn => Command::new(&self.binary),
        }
    }

    async fn until_ready(&mut self, deadline: Instant) -> Result<u16, ServerError> {
        let ports = self.home.folder.join(PORTS_FOLDER);
        loop {
            if let Some(status) = self.try_exited()? {
                return Err(ServerError::Ended {
                    status,
                    log: self.home.last_words(),
                });
            }
            // The ports file first: only this server writes it, while another may hold the port.
            if let Some(port) = probe::read_port(&ports) {
                match probe::greeting(port).await {
                    Ok(info) if info.is_ready(self.options.jetstream) => return Ok(port),
                    answer => debug!(port, ?answer, "nats-server is not ready yet"),
                }
            }
            if Instant::now() >= deadline {
                let log = self.home.last_words();
                return Err(ServerError::NotReady {
                    limit: START_LIMIT,
                    log,
                });
            }
            sleep(POLL).await;
        }
    }
}

/// Not everywhere, and not every implementation of it.
fn can_end_orphans() -> bool {
    let mut trial = Command::new(SETPRIV[0]);
    trial.args(&SETPRIV[1..]).arg("true");
    let quiet = trial.stdin(Stdio::null()).stdout(Stdio::null());
    let ended = quiet.stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // The process must be gone before a temporary store is removed under it. It can only fail
        // for a process that is gone already.
        let _ = self.kill();
    }
}
