//! The guardian of a worker: a process that outlives it by a moment, ends what it has left behind, and
//! tells the scheduler that it is dead.
//!
//! A killed worker cannot tidy up. So each worker starts its own program once more, with a pipe as
//! standard input. The kernel closes the pipe when the worker is gone, however it went:
//!
//! ```text
//! worker ── group 4711, over 4711, … ──► guardian          goodbye ──► exits
//!    ╳ killed: the pipe ends ──────────► SIGKILL to all that is left of its tasks,
//!                                        then the obituary on <prefix>.worker.<id>.died
//! ```
//!
//! What must hold:
//!
//! - It is only told of a death when nothing of the worker's tasks runs any more on this machine, or
//!   after [`vigil`]'s limit.
//! - A worker that stands still is not dead, and its pipe does not end. Nobody but the worker holds it.
//! - The end of the guardian hurts nobody: another one is started.
//! - It has its standard output and error closed, so that nobody who reads the worker's waits for it; a
//!   process group of its own, so that what is meant for the worker's group does not end it first; and it
//!   takes no notice of SIGTERM, SIGINT and SIGHUP, which service managers send to all processes of a
//!   service.
//!
//! Not guaranteed: when the whole machine or its container dies, the guardian dies too; then three missed
//! heartbeats tell. A command that runs as another user is not ended. On other systems than Linux a
//! process that has left its group (`setsid`) is not found.
//!
//! A program is only started as a guardian if its `main` begins with [`guardian_entry`]: anything else
//! that it does first would be done twice.

mod deaths;
pub(crate) mod line;
mod vigil;

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rota_service::{ConnectOptions, ServerUrl};
use rota_wire::WorkerId;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::agent::throttle::Throttle;
use crate::command::processes::Processes;

/// Says to a process that it is the guardian of the worker of that id.
const GUARDIAN: &str = "ROTA_GUARDIAN";
/// The variable by which the processes of a worker's commands are known.
pub(crate) const WORKER_ID: &str = "ROTA_WORKER_ID";
/// What is not said must not come from the worker's own environment.
const CREDENTIALS: &str = "ROTA_NATS_CREDS";
const INBOX_PREFIX: &str = "ROTA_INBOX_PREFIX";
/// The pause before another guardian is started; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A guardian that has lived so long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(60);
/// How long a worker that leaves waits for its guardian to be gone.
const DISMISS_LIMIT: Duration = Duration::from_secs(1);

/// Whether this program can be started as a guardian.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Call it first thing in the `main` of a program that runs workers, before anything else is done:
/// a worker is guarded by a second process of its own program, which ends what a killed worker leaves
/// behind and tells the scheduler at once that it is dead. If this process is such a guardian, it does
/// that and ends here; else this returns at once.
///
/// [`Worker::from_args`](crate::Worker::from_args) does it by itself. Workers of a program that never
/// comes here have no guardian: their death is known after three missed heartbeats, and what their
/// commands have started may go on.
pub fn guardian_entry() {
    let Ok(worker) = std::env::var(GUARDIAN) else {
        ENTERED.store(true, Ordering::Relaxed);
        return;
    };
    // On a thread of its own, for this one may belong to a runtime.
    let vigil = std::thread::spawn(move || vigil::keep(&worker));
    std::process::exit(vigil.join().map_or(1, i32::from));
}

/// Whether [`guardian_entry`] was called in this process.
pub(crate) fn is_entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

/// The worker's hold on its guardian. Dropped, it leaves the guardian to the end of the pipe.
#[derive(Debug)]
pub(crate) struct Guardian {
    dismissed: CancellationToken,
    keeping: AbortOnDropHandle<()>,
}

/// What a guardian is started with.
#[derive(Debug)]
struct Errand {
    worker: WorkerId,
    processes: Processes,
    env: Vec<(&'static str, OsString)>,
}

impl Guardian {
    /// Starts a guardian for a worker, and others after it should it die. The first is there when this
    /// returns: a worker that offers itself is guarded.
    pub(crate) fn start(worker: WorkerId, processes: Processes, connect: &ConnectOptions) -> Self {
        let errand = Errand {
            env: environment(connect),
            worker,
            processes,
        };
        let dismissed = CancellationToken::new();
        let first = errand.start();
        let keeping = tokio::spawn(errand.keep(first, dismissed.clone()));
        Self {
            dismissed,
            keeping: AbortOnDropHandle::new(keeping),
        }
    }

    /// Lets it go: the worker leaves in order. It must hold nothing any more.
    pub(crate) async fn dismiss(self) {
        self.dismissed.cancel();
        // It never panics, and what is late is left to itself.
        let _ = timeout(DISMISS_LIMIT, self.keeping).await;
    }
}

impl Errand {
    async fn keep(self, first: io::Result<Child>, dismissed: CancellationToken) {
        let (mut pause, mut trouble) = (PAUSE_FIRST, Throttle::default());
        let mut next = Some(first);
        loop {
            let started = Instant::now();
            match next.take().unwrap_or_else(|| self.start()) {
                Ok(mut guardian) => {
                    tokio::select! {
                        biased;
                        () = dismissed.cancelled() => {
                            return self.dismiss(&mut guardian).await;
                        }
                        _ = guardian.wait() => {}
                        () = self.processes.deaf() => end(&mut guardian).await,
                    }
                    self.processes.detach();
                    if started.elapsed() >= GOOD_AFTER {
                        pause = PAUSE_FIRST;
                    }
                    if let Some(times) = trouble.count(Instant::now()) {
                        warn!(worker = %self.worker, times, "guardian lost, starting another");
                    }
                }
                Err(error) => {
                    if let Some(times) = trouble.count(Instant::now()) {
                        warn!(worker = %self.worker, times, %error, "no guardian yet");
                    }
                }
            }
            tokio::select! {
                biased;
                () = dismissed.cancelled() => return,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One that cannot be told must not take the end of the worker for its death.
    async fn dismiss(&self, guardian: &mut Child) {
        if self.processes.say_goodbye().is_err() {
            end(guardian).await;
        }
        // An error means that it was reaped already.
        let _ = guardian.wait().await;
        self.processes.detach();
    }

    fn start(&self) -> io::Result<Child> {
        let (theirs, ours) = io::pipe()?;
        let mut command = Command::new(own_program()?);
        command
            .arg(format!("guardian-of-{}", self.worker))
            .env_remove(CREDENTIALS)
            .env_remove(INBOX_PREFIX)
            .envs(self.env.iter().cloned())
            .env(GUARDIAN, self.worker.as_str())
            // Should this worker be the command of another one, its guardian is not.
            .env_remove(WORKER_ID)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let child = command.spawn()?;
        debug!(worker = %self.worker, process = child.id(), "guarded");
        self.processes.attach(prepared(ours)?);
        Ok(child)
    }
}

/// A guardian that does not read must not hold up the worker.
fn prepared(pipe: PipeWriter) -> io::Result<PipeWriter> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    // Room for the first words about all groups that a worker can have. The default has some too.
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(&pipe, 1024 * 1024);
    Ok(pipe)
}

/// Before its pipe ends, for to a living one that would be the death of the worker.
async fn end(guardian: &mut Child) {
    let _ = guardian.start_kill();
    let _ = guardian.wait().await;
}

/// The file that this process was started from, also if it has been replaced since.
fn own_program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let itself = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && !program.exists() {
        Ok(itself)
    } else {
        Ok(program)
    }
}

/// Where the installation is. Not in arguments, which everybody can read: an address may hold a password.
fn environment(connect: &ConnectOptions) -> Vec<(&'static str, OsString)> {
    let servers: Vec<&str> = connect.nats.iter().map(ServerUrl::expose).collect();
    let always = [
        ("ROTA_NATS_URL", servers.join(",").into()),
        ("ROTA_PREFIX", connect.prefix.clone().into()),
    ];
    let credentials = connect.creds.iter().map(|file| (CREDENTIALS, file.into()));
    let inbox = connect.inbox_prefix.iter();
    let inbox = inbox.map(|prefix| (INBOX_PREFIX, prefix.into()));
    always.into_iter().chain(credentials).chain(inbox).collect()
}
