//! Running one attempt of a command.
//!
//! The input goes to stdin, stdout is the output, stderr goes to the log. What must hold:
//!
//! - The command runs in a process group of its own, and when the attempt is over nobody is left
//!   in it, whether the attempt ended by itself, was stopped, or its future was dropped.
//! - An attempt ends soon after the command's own process has ended, whoever still holds a pipe.
//! - Memory is bounded: by the output limit, and by fixed sizes for stderr.
//!
//! Not guaranteed: a process that leaves the group (`setsid`) is left alone while the worker lives; when the
//! worker dies, its guardian ends that one too.

mod exit;
mod group;
pub(crate) mod look;
mod pipes;
pub(crate) mod processes;
mod stderr;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rota_wire::WorkerId;
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::attempt::control::AttemptControl;
use crate::attempt::{Attempt, Cause, supervise};
use crate::ended::{Blame, Ended, Verdict};
use crate::guardian::WORKER_ID;
use crate::handler::registry::Limits;
use crate::handler::task::Task;
use exit::exit_of;
use group::Group;
use pipes::{Pipes, Pumped};
use processes::Processes;

/// How long the pipes are read on after the command's process has ended. Its group is dead by
/// then, so they close at once unless a process that left the group holds them.
const PIPES_CLOSE_MAX: Duration = Duration::from_millis(500);

/// The pauses before a command is started again that the machine had no room for; then it is handed back.
const START_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(750),
    Duration::from_millis(1500),
];
/// A W3C trace context has 55 bytes; later versions may have some more.
const TRACE_BYTES_MAX: usize = 256;

/// A command that handles the tasks of one kind.
///
/// It inherits the worker's environment but for `ROTA_*`, `NATS_*` and `TRACEPARENT`: these are
/// the worker's own affairs, credentials among them. It is told `ROTA_TASK_ID`, `ROTA_KIND`,
/// `ROTA_ATTEMPT`, `ROTA_WORKER_ID`, and, where there is one, `ROTA_DEADLINE` (RFC 3339) and `TRACEPARENT`.
///
/// A command that cannot be started at all has not run: no attempt is used up, and the worker does not offer
/// its kind until it can be started again.
///
/// Exit 0 completes the task; 65 (`EX_DATAERR`) fails it for good; anything else, a signal or the
/// time limit is a failed attempt that may be retried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandHandler {
    /// A path, or a name that is looked up in `PATH`.
    pub program: String,
    /// What the program is given, as it is: no shell is in between.
    pub args: Vec<String>,
    /// Added to the environment; cannot replace what the command is told about its task.
    pub env: BTreeMap<String, String>,
    /// Where it runs; by default where the worker runs.
    pub working_dir: Option<PathBuf>,
}

/// The attempt as a process group with its pipes.
struct CommandAttempt {
    group: Group,
    pipes: Pipes,
}

impl CommandHandler {
    pub(crate) async fn run(
        &self,
        task: &Task,
        limits: &Limits,
        control: &AttemptControl,
        processes: &Processes,
    ) -> Ended {
        let mut attempt = match self.start(task, limits, control, processes).await {
            Ok(attempt) => attempt,
            Err(verdict) => return Ended::unstarted(verdict),
        };
        let supervised = supervise(&mut attempt, limits, control).await;
        let (output, stderr_tail) = attempt.finish().await;
        let verdict = match (supervised.cause, output, &supervised.end) {
            (Some(Cause::Stop), ..) => Verdict::Stopped,
            (Some(Cause::TimeLimit), ..) => limits.over_time(),
            (None, None, _) => limits.over_output(),
            (None, Some(output), Some(Ok(status))) => exit::verdict_of(exit_of(*status), output),
            (None, _, Some(Err(error))) => Verdict::retry(format!("lost the process: {error}")),
            (None, Some(_), None) => unreachable!("only an attempt made to end is given up"),
        };
        let exit = supervised.end.and_then(Result::ok).map(exit_of);
        Ended {
            verdict,
            exit,
            stderr_tail,
            ran: supervised.ran,
        }
    }

    /// What the machine lacks it may have in a moment.
    async fn start(
        &self,
        task: &Task,
        limits: &Limits,
        control: &AttemptControl,
        processes: &Processes,
    ) -> Result<CommandAttempt, Verdict> {
        let mut pauses = START_PAUSES.into_iter();
        loop {
            let mut command = self.command(task, processes.worker());
            let error = match CommandAttempt::start(&mut command, task, limits, processes) {
                Ok(attempt) => return Ok(attempt),
                Err(error) => error,
            };
            let pause = pauses.next().filter(|_| is_of_the_machine(&error));
            let Some(pause) = pause else {
                return Err(self.not_started(&error));
            };
            debug!(%error, ?pause, "no process now, trying again");
            tokio::select! {
                biased;
                () = control.stopped() => return Err(Verdict::Stopped),
                () = sleep(pause) => {}
            }
        }
    }

    fn command(&self, task: &Task, worker: Option<&WorkerId>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for name in std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| is_private(name))
        {
            command.env_remove(name);
        }
        command.envs(&self.env).envs(environment(task, worker));
        if let Some(dir) = &self.working_dir {
            command.current_dir(dir);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn not_started(&self, error: &io::Error) -> Verdict {
        let place = match &self.working_dir {
            Some(dir) => format!(" in {}", dir.display()),
            None => String::new(),
        };
        let blame = if is_of_the_machine(error) {
            Blame::Machine
        } else {
            Blame::Handler
        };
        let reason = format!("could not start {:?}{place}: {error}", self.program);
        Verdict::not_started(blame, reason)
    }
}

impl CommandAttempt {
    fn start(
        command: &mut Command,
        task: &Task,
        limits: &Limits,
        processes: &Processes,
    ) -> io::Result<Self> {
        let (group, pipes) = Group::spawn(command, processes)?;
        Ok(Self {
            group,
            pipes: Pipes::new(pipes, task, limits.output_bytes_max),
        })
    }

    /// Reads what is left. The output is `None` when it was over the limit.
    async fn finish(mut self) -> (Option<Bytes>, String) {
        if timeout(PIPES_CLOSE_MAX, self.pipes.pump()).await.is_err() {
            debug!("a process outside the command's group holds its pipes");
        }
        self.pipes.finish()
    }
}

impl Attempt for CommandAttempt {
    type End = io::Result<ExitStatus>;

    fn suspend(&mut self) {
        self.group.signal(Signal::STOP);
    }

    fn resume(&mut self) {
        self.group.signal(Signal::CONT);
    }

    fn ask_to_end(&mut self) {
        self.group.signal(Signal::TERM);
        // A stopped process takes no TERM until it goes on.
        self.group.signal(Signal::CONT);
    }

    fn kill(&mut self) {
        self.group.signal(Signal::KILL);
    }

    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let pumped = tokio::select! {
            biased;
            status = self.group.ended() => return status,
            pumped = self.pipes.pump() => pumped,
        };
        match pumped {
            Pumped::Closed => {}
            Pumped::OverLimit => self.group.signal(Signal::KILL),
        }
        self.group.ended().await
    }
}

/// Whether the machine is short of something, or the program is just being replaced. All else is wrong
/// with the handler itself: nothing of a task has a part in whether its command starts.
fn is_of_the_machine(error: &io::Error) -> bool {
    let short = [
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::TXTBSY,
        Errno::INTR,
        Errno::IO,
        Errno::NOSPC,
    ];
    Errno::from_io_error(error).is_some_and(|error| short.contains(&error))
}

/// What a command is told about its task.
fn environment(
    task: &Task,
    worker: Option<&WorkerId>,
) -> impl Iterator<Item = (&'static str, String)> {
    let always = [
        ("ROTA_TASK_ID", task.id().to_owned()),
        ("ROTA_KIND", task.kind().to_owned()),
        ("ROTA_ATTEMPT", task.attempt().to_string()),
    ];
    let deadline = task
        .deadline()
        .map(|deadline| ("ROTA_DEADLINE", deadline.to_string()));
    let traceparent = task
        .traceparent()
        .filter(|trace| is_trace(trace))
        .map(|trace| ("TRACEPARENT", trace.to_owned()));
    let worker = worker.map(|worker| (WORKER_ID, worker.to_string()));
    let always = always.into_iter().chain(worker);
    always.chain(deadline).chain(traceparent)
}

/// Whether a submitted text is fit to be a variable. One that is not must not keep the command from
/// starting: all workers would then withdraw the kind.
fn is_trace(text: &str) -> bool {
    text.len() <= TRACE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Variables of the worker that are none of a command's business.
pub(crate) fn is_private(name: impl AsRef<OsStr>) -> bool {
    let name = name.as_ref().as_encoded_bytes();
    name.starts_with(b"ROTA_") || name.starts_with(b"NATS_") || name == b"TRACEPARENT"
}

#[cfg(test)]
mod tests;
