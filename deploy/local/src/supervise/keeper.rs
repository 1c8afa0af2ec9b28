//! The task that owns one child: starts it, waits for it, signals it, starts it again.
//!
//! It alone reaps the child, between two requests and never during one, so the process id that it
//! signals is the child's own. Dropping it, at whatever await, kills the child's group.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    process::{Child, ChildStdin, Command},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use super::{
    Force, ProcessSpec, Restart, State, Status, Stdin,
    backoff::Waits,
    lines::{LogLine, forward},
};
use crate::signal::{Signal, signal_group, signal_leader};

/// How long a killed process gets to disappear; the kernel may hold it in a write.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How long the last lines of an ended process may take to be read. Something that left its process
/// group can hold the pipe open for ever.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(1);

/// A request from a handle.
#[derive(Debug)]
pub(super) enum Control {
    /// Signal the group; the answer is `None` when it does not run.
    Signal {
        signal: Signal,
        reply: oneshot::Sender<Option<io::Result<()>>>,
    },
    /// Stop for good.
    Stop { grace: Duration },
}

pub(super) struct Keeper {
    spec: ProcessSpec,
    name: Arc<str>,
    controls: mpsc::Receiver<Control>,
    lines: mpsc::Sender<LogLine>,
    state: watch::Sender<State>,
    running: Option<Running>,
}

impl Keeper {
    /// Starts the process; [`Keeper::keep`] then takes care of it.
    pub(super) fn start(
        spec: ProcessSpec,
        controls: mpsc::Receiver<Control>,
        lines: mpsc::Sender<LogLine>,
    ) -> io::Result<(Self, watch::Receiver<State>)> {
        let name: Arc<str> = spec.name.as_str().into();
        let running = Running::spawn(&spec, &name, &lines)?;
        let pid = running.pid;
        info!(process = %name, pid, "process started");
        let status = Status::Running { pid };
        let (state, observed) = watch::channel(State {
            status,
            restarts: 0,
        });
        Ok((
            Self {
                spec,
                name,
                controls,
                lines,
                state,
                running: Some(running),
            },
            observed,
        ))
    }

    /// Runs until the process is stopped, or has ended and is not to be restarted.
    pub(super) async fn keep(mut self) {
        let last = match self.spec.restart {
            Restart::Always(backoff) => self.keep_restarting(Waits::new(backoff)).await,
            Restart::Never => self.keep_once().await,
        };
        self.state.send_modify(|state| state.status = last);
    }

    async fn keep_once(&mut self) -> Status {
        match self.until_end().await {
            End::Stopped(status) => status,
            End::ByItself { status, .. } => Status::Exited { status },
        }
    }

    async fn keep_restarting(&mut self, mut waits: Waits) -> Status {
        loop {
            let (last, lived) = match self.until_end().await {
                End::Stopped(status) => return status,
                End::ByItself { status, lived } => (Some(status), lived),
            };
            self.tell(Status::Waiting { last });
            let mut wait = waits.next(lived);
            while let Err(stopped) = self.start_after(wait).await {
                match stopped {
                    NotStarted::Stopped => {
                        return Status::Stopped {
                            status: last,
                            force: Force::Asked,
                        };
                    }
                    NotStarted::Failed(error) => {
                        error!(process = %self.name, %error, "process cannot be started again");
                        self.tell(Status::Waiting { last: None });
                        wait = waits.next(Duration::ZERO);
                    }
                }
            }
        }
    }

    /// Serves requests until the process has ended, by itself or because it was stopped.
    async fn until_end(&mut self) -> End {
        let mut running = self
            .running
            .take()
            .expect("a process was started before it is awaited");
        let (status, stopped) = loop {
            tokio::select! {
                biased;
                Some(control) = self.controls.recv() => match control {
                    Control::Signal { signal, reply } => {
                        // Nobody waits for the answer of a call that was cancelled.
                        let _ = reply.send(Some(signal_leader(running.pid, signal)));
                    }
                    Control::Stop { grace } => {
                        let (status, force) = running.stop(&self.name, grace).await;
                        break (status, Some(force));
                    }
                },
                status = running.child.wait() => break (status.ok(), None),
            }
        };
        let (pid, lived) = (running.pid, running.since.elapsed());
        running.finish().await;
        match (status, stopped) {
            (status, Some(force)) => {
                info!(process = %self.name, pid, ?status, ?force, "process stopped");
                End::Stopped(Status::Stopped { status, force })
            }
            (Some(status), None) => {
                let lived_ms = lived.as_millis();
                warn!(process = %self.name, pid, %status, lived_ms, "process ended by itself");
                End::ByItself { status, lived }
            }
            (None, None) => {
                error!(process = %self.name, pid, "process cannot be waited for, giving it up");
                End::Stopped(Status::Stopped {
                    status: None,
                    force: Force::Killed,
                })
            }
        }
    }

    async fn start_after(&mut self, wait: Duration) -> Result<(), NotStarted> {
        let waited = sleep(wait);
        tokio::pin!(waited);
        loop {
            tokio::select! {
                biased;
                Some(control) = self.controls.recv() => match control {
                    Control::Signal { reply, .. } => {
                        let _ = reply.send(None);
                    }
                    Control::Stop { .. } => return Err(NotStarted::Stopped),
                },
                () = &mut waited => break,
            }
        }
        let running = Running::spawn(&self.spec, &self.name, &self.lines);
        let running = running.map_err(NotStarted::Failed)?;
        let pid = running.pid;
        self.running = Some(running);
        self.state.send_modify(|state| {
            state.status = Status::Running { pid };
            state.restarts = state.restarts.saturating_add(1);
        });
        let restarts = self.state.borrow().restarts;
        info!(process = %self.name, pid, restarts, "process started again");
        Ok(())
    }

    fn tell(&self, status: Status) {
        self.state.send_modify(|state| state.status = status);
    }
}

impl Drop for Keeper {
    /// A keeper that is dropped while its process runs leaves it killed, and its handles shall
    /// know.
    fn drop(&mut self) {
        self.state.send_if_modified(|state| {
            let is_cut_off = !state.status.is_final();
            if is_cut_off {
                state.status = Status::Stopped {
                    status: None,
                    force: Force::Killed,
                };
            }
            is_cut_off
        });
    }
}

enum End {
    ByItself { status: ExitStatus, lived: Duration },
    Stopped(Status),
}

enum NotStarted {
    Stopped,
    Failed(io::Error),
}

/// A child that leads a process group, and the tasks that read its output.
struct Running {
    pid: u32,
    child: Child,
    /// Held open and never written to.
    _lifeline: Option<ChildStdin>,
    readers: JoinSet<()>,
    since: Instant,
    /// Whether the group was killed after its leader had ended.
    is_finished: bool,
}

impl Running {
    fn spawn(
        spec: &ProcessSpec,
        name: &Arc<str>,
        lines: &mpsc::Sender<LogLine>,
    ) -> io::Result<Self> {
        let mut child = Command::new(&spec.program)
            .args(&spec.args)
            .envs(spec.env.iter().map(|(key, value)| (key, value)))
            .stdin(match spec.stdin {
                Stdin::Empty => Stdio::null(),
                Stdin::Lifeline => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().expect("the child was not awaited yet");
        let lifeline = child.stdin.take();
        let stdout = child.stdout.take().expect("a pipe was asked for");
        let stderr = child.stderr.take().expect("a pipe was asked for");
        let mut readers = JoinSet::new();
        readers.spawn(forward(Arc::clone(name), stdout, lines.clone()));
        readers.spawn(forward(Arc::clone(name), stderr, lines.clone()));
        Ok(Self {
            pid,
            child,
            _lifeline: lifeline,
            readers,
            since: Instant::now(),
            is_finished: false,
        })
    }

    /// TERM for the child, up to `grace`, then KILL for its whole group.
    async fn stop(&mut self, name: &str, grace: Duration) -> (Option<ExitStatus>, Force) {
        self.signal(name, Signal::Terminate);
        // A process that was paused can only end when it goes on.
        self.signal(name, Signal::Resume);
        if let Ok(status) = timeout(grace, self.child.wait()).await {
            return (status.ok(), Force::Asked);
        }
        let grace_ms = grace.as_millis();
        warn!(
            process = name,
            pid = self.pid,
            grace_ms,
            "process outlived its grace, killing it"
        );
        self.signal(name, Signal::Kill);
        let status = timeout(KILL_LIMIT, self.child.wait()).await;
        (status.ok().and_then(Result::ok), Force::Killed)
    }

    fn signal(&self, name: &str, signal: Signal) {
        if let Err(error) = signal_leader(self.pid, signal) {
            warn!(process = name, pid = self.pid, ?signal, %error, "process cannot be signalled");
        }
    }

    /// Ends what the process has left in its group, and passes on its last lines.
    ///
    /// The leader was reaped a moment ago. Its id is not given away while its group has members;
    /// once the group is empty there is nothing to kill, and ids come round much later than this.
    async fn finish(mut self) {
        self.is_finished = true;
        let _ = signal_group(self.pid, Signal::Kill);
        let _ = timeout(LAST_LINES_LIMIT, async {
            while self.readers.join_next().await.is_some() {}
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = signal_group(self.pid, Signal::Kill);
        }
    }
}
