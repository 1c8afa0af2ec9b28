//! Keeps named child processes alive on one machine, and stops them in order.
//!
//! It exists for `rota up`: the services are processes of their own, and this is what a service
//! manager would do for them elsewhere.
//!
//! ```text
//! start ─► Running ──ends──► Waiting ──backoff──► Running       (Restart::Always)
//!             │   └──ends──► Exited                             (Restart::Never)
//!             └──stop──► TERM, grace, KILL ──► Stopped
//! ```
//!
//! What must hold: each child leads a process group, so that Ctrl-C reaches only the parent, which
//! then stops the children in its own order. TERM goes to the child alone; when it has ended, its
//! group is killed, so nothing is left behind; a dropped [`Supervisor`] kills what still runs.
//! Lines of output wait in a bounded queue: when it is full, the child waits. One task owns each
//! child, and it alone signals it: a process id is never used after it may belong to another.

mod backoff;
mod keeper;
mod lines;
mod prefix;

use std::{
    collections::BTreeMap, ffi::OsString, io, path::PathBuf, process::ExitStatus, time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::warn;

use self::keeper::{Control, Keeper};
pub use self::{
    backoff::Backoff,
    lines::{LINE_BYTES_MAX, LogLine},
    prefix::{Colour, PrefixPrinter},
};
use crate::signal::Signal;

/// Requests that may wait for the task that owns a child; more wait with their callers.
const CONTROLS_MAX: usize = 16;

/// A process to run.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// Its name in lines, logs and calls; one process at a time has it.
    pub name: String,
    /// The program, looked up on PATH if it has no slash.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables set on top of the parent's environment.
    pub env: Vec<(OsString, OsString)>,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// What it reads from.
    pub stdin: Stdin,
    /// How long [`ProcessHandle::stop`] waits between TERM and KILL.
    pub stop_grace: Duration,
}

impl ProcessSpec {
    /// A process without arguments that is always restarted and gets 10 s to stop.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            restart: Restart::Always(Backoff::default()),
            stdin: Stdin::Empty,
            stop_grace: Duration::from_secs(10),
        }
    }
}

/// What a process reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing.
    Empty,
    /// A pipe without content that ends when the parent does, however that ends: by this the process can
    /// notice it.
    Lifeline,
}

/// What happens when a process ends by itself, however it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It is started again, after a wait that grows while it keeps ending.
    Always(Backoff),
    /// It stays ended.
    Never,
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running {
        /// Its process id, which is also that of its group.
        pid: u32,
    },
    /// It ended by itself, or could not be started again, and will be started after a wait.
    Waiting {
        /// How it ended; `None` when it could not be started.
        last: Option<ExitStatus>,
    },
    /// It ended by itself and stays so.
    Exited {
        /// How it ended.
        status: ExitStatus,
    },
    /// It was stopped.
    Stopped {
        /// How it ended; `None` when it did not run at the time.
        status: Option<ExitStatus>,
        /// Whether TERM was enough.
        force: Force,
    },
}

impl Status {
    /// Whether the process will not run again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Running { .. } | Self::Waiting { .. } => false,
            Self::Exited { .. } | Self::Stopped { .. } => true,
        }
    }
}

/// What it took to stop a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It ended after TERM, or did not run.
    Asked,
    /// It outlived its grace and was killed.
    Killed,
}

/// How one process was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The name of the process.
    pub process: String,
    /// Its final status.
    pub status: Status,
}

/// Why a process cannot be supervised.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// It could not be started the first time.
    #[error("cannot start {process}, which is {program}")]
    Spawn {
        /// Its name.
        process: String,
        /// Its program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the name.
    #[error("a process named {process} is already supervised")]
    NameTaken {
        /// The name.
        process: String,
    },
    /// There is nothing to signal.
    #[error("{process} does not run")]
    NotRunning {
        /// Its name.
        process: String,
    },
    /// The signal was refused.
    #[error("cannot signal {process}")]
    Signal {
        /// Its name.
        process: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Runs processes. Dropping it kills those that still run, as soon as the runtime gets to it;
/// before
/// `std::process::exit`, call [`Supervisor::kill_all`].
#[derive(Debug)]
pub struct Supervisor {
    lines: mpsc::Sender<LogLine>,
    processes: BTreeMap<String, ProcessHandle>,
    tasks: TaskTracker,
    killing: CancellationToken,
    _kill_on_drop: DropGuard,
}

impl Supervisor {
    /// A supervisor, and the lines that its processes print. At most `lines_max` of them wait to be
    /// read; then the processes that print wait. Lines are discarded once the receiver is dropped.
    ///
    /// # Panics
    ///
    /// When `lines_max` is 0.
    #[must_use]
    pub fn new(lines_max: usize) -> (Self, mpsc::Receiver<LogLine>) {
        let (lines, received) = mpsc::channel(lines_max);
        let killing = CancellationToken::new();
        let supervisor = Self {
            lines,
            processes: BTreeMap::new(),
            tasks: TaskTracker::new(),
            _kill_on_drop: killing.clone().drop_guard(),
            killing,
        };
        (supervisor, received)
    }

    /// Starts a process and returns while it runs. A name is free again once its process has
    /// reached a final status.
    pub fn start(&mut self, spec: ProcessSpec) -> Result<ProcessHandle, SuperviseError> {
        let name = spec.name.clone();
        if self
            .processes
            .get(&name)
            .is_some_and(|process| !process.status().is_final())
        {
            return Err(SuperviseError::NameTaken { process: name });
        }
        let (control, controls) = mpsc::channel(CONTROLS_MAX);
        let stop_grace = spec.stop_grace;
        let program = spec.program.clone();
        let keeper = Keeper::start(spec, controls, self.lines.clone());
        let (keeper, state) = keeper.map_err(|source| SuperviseError::Spawn {
            process: name.clone(),
            program,
            source,
        })?;
        let killing = self.killing.clone();
        self.tasks
            .spawn(async move { killing.run_until_cancelled_owned(keeper.keep()).await });
        let handle = ProcessHandle {
            name: name.clone(),
            control,
            state,
            stop_grace,
        };
        self.processes.insert(name, handle.clone());
        Ok(handle)
    }

    /// The process of that name, also when it has ended.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<&ProcessHandle> {
        self.processes.get(name)
    }

    /// Stops the named processes one after the other, each with up to `grace` between TERM and
    /// KILL, then all others at the same time. A name that is not known is passed over.
    pub async fn stop_all_in_order(&mut self, order: &[&str], grace: Duration) -> Vec<Stopped> {
        let mut stopped = Vec::new();
        for name in order {
            stopped.extend(self.stop_together(&[name], grace).await);
        }
        let rest: Vec<String> = self.processes.keys().cloned().collect();
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        stopped.extend(self.stop_together(&rest, grace).await);
        stopped
    }

    /// Stops the named processes at the same time, so that all drain within one `grace`.
    pub async fn stop_together(&mut self, names: &[&str], grace: Duration) -> Vec<Stopped> {
        let mut stopping = Vec::new();
        for name in names {
            match self.processes.remove(*name) {
                Some(process) => stopping.push(process),
                None => warn!(process = name, "no such process to stop"),
            }
        }
        for process in &stopping {
            process.request_stop(grace).await;
        }
        let mut stopped = Vec::new();
        for process in &stopping {
            stopped.push(process.until_stopped().await);
        }
        stopped
    }

    /// Kills everything that runs, at once, and returns when it is done: for the second Ctrl-C.
    pub async fn kill_all(&mut self) {
        self.killing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.processes.clear();
    }
}

/// What is known of a process, told to its handles.
#[derive(Debug, Clone, Copy)]
struct State {
    status: Status,
    restarts: u32,
}

/// A supervised process. Handles can be cloned, and dropping them stops nothing.
#[derive(Debug, Clone)]
pub struct ProcessHandle {
    name: String,
    control: mpsc::Sender<Control>,
    state: watch::Receiver<State>,
    stop_grace: Duration,
}

impl ProcessHandle {
    /// The name from its [`ProcessSpec`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self.status() {
            Status::Running { pid } => Some(pid),
            Status::Waiting { .. } | Status::Exited { .. } | Status::Stopped { .. } => None,
        }
    }

    /// How often it was started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.state.borrow().restarts
    }

    /// Where it is in its life.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.borrow().status
    }

    /// Signals the process; [`Signal`] says which ones go to all of its group. A process that ends
    /// by it is restarted like any other that ends by itself.
    pub async fn signal(&self, signal: Signal) -> Result<(), SuperviseError> {
        let not_running = || SuperviseError::NotRunning {
            process: self.name.clone(),
        };
        let (reply, answer) = oneshot::channel();
        let sent = self.control.send(Control::Signal { signal, reply }).await;
        sent.map_err(|_| not_running())?;
        match answer.await {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(source))) => Err(SuperviseError::Signal {
                process: self.name.clone(),
                source,
            }),
            Ok(None) | Err(_) => Err(not_running()),
        }
    }

    /// Stops the process for good: TERM, its own grace, KILL.
    pub async fn stop(&self) -> Stopped {
        self.request_stop(self.stop_grace).await;
        self.until_stopped().await
    }

    /// Waits for a status, up to `limit`. `None` when it does not come, or cannot come any more.
    pub async fn wait_for(
        &self,
        mut wanted: impl FnMut(&Status) -> bool,
        limit: Duration,
    ) -> Option<Status> {
        let mut state = self.state.clone();
        let found = timeout(limit, state.wait_for(|state| wanted(&state.status))).await;
        found.ok()?.ok().map(|state| state.status)
    }

    async fn request_stop(&self, grace: Duration) {
        // A process whose task is gone has reached its final status.
        let _ = self.control.send(Control::Stop { grace }).await;
    }

    /// The task of the process bounds this wait: the grace, and a few seconds after KILL.
    async fn until_stopped(&self) -> Stopped {
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| state.status.is_final()).await;
        Stopped {
            process: self.name.clone(),
            status: self.status(),
        }
    }
}
