//! One attempt from its start until its result is stored.
//!
//! What must hold: a result is in ROTA_RESULTS before anybody is told that there is one. While it
//! cannot be stored the attempt is not over: it keeps its slot and its place in the heartbeats, and
//! tries again until it is stored or stopped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rota_bus::{Bus, Link, Settlement, StoreError};
use rota_service::chain;
use rota_wire::dispatch::{Assignment, Ending, Failure, Retry};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Kind, Micros, Span, TaskId, WorkerId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::AttemptEnd;
use super::fetch::input_of;
use super::throttle::Throttle;
use crate::attempt::control::AttemptControl;
use crate::command::processes::Processes;
use crate::ended::{Blame, Ended, Exit, Verdict};
use crate::handler::registry::Registry;
use crate::handler::task::{Task, TaskParts};

/// The first pause before a result is stored again; it doubles up to the longest.
const STORE_PAUSE_FIRST: Duration = Duration::from_millis(100);
const STORE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs attempts and stores their results.
#[derive(Debug)]
pub(crate) struct Runner {
    bus: Bus,
    worker: WorkerId,
    registry: Registry,
    processes: Processes,
    store_trouble: Mutex<Throttle>,
    fetch_trouble: Mutex<Throttle>,
}

/// When an attempt ran, and how long, suspensions left out.
#[derive(Debug, Clone, Copy)]
struct Times {
    started: Micros,
    finished: Micros,
    ran: Span,
}

impl Runner {
    /// Outputs are cut off at what the server can store, whatever a handler allows.
    pub(crate) fn new(
        bus: Bus,
        worker: WorkerId,
        registry: &Registry,
        processes: Processes,
    ) -> Self {
        let registry = registry.with_output_limit(bus.body_bytes_max());
        Self {
            bus,
            worker,
            registry,
            processes,
            store_trouble: Mutex::default(),
            fetch_trouble: Mutex::default(),
        }
    }

    /// Looks whether attempts of a kind can be started, and tells why not.
    pub(super) async fn look(&self, kind: &Kind) -> Option<String> {
        let entry = Arc::clone(self.registry.entry(kind)?);
        // Files may lie on something slow.
        let looking = tokio::task::spawn_blocking(move || entry.look());
        let unfit = looking.await.ok()?;
        (!unfit.is_empty()).then(|| unfit.join("; "))
    }

    /// Runs one attempt to its end, and tells how long it ran.
    pub(super) async fn run(
        &self,
        assignment: Assignment,
        control: &AttemptControl,
    ) -> (Span, AttemptEnd) {
        let entry = self.registry.entry(&assignment.kind);
        let entry = entry.expect("only kinds of the registry are given a slot");
        let input = match input_of(&assignment, &self.bus, control).await {
            Ok(input) => input,
            Err(end) => {
                self.note_unfetched(&assignment.id, &end);
                return (Span::default(), end);
            }
        };
        let started = Micros::now();
        let task = task_of(&assignment, input);
        let ended = crate::attempt::run_among(entry, task, control, &self.processes).await;
        let times = Times {
            started,
            finished: Micros::now(),
            ran: span_of(ended.ran),
        };
        log_end(&assignment, &ended);
        (
            times.ran,
            self.conclude(&assignment, ended, times, control).await,
        )
    }

    async fn conclude(
        &self,
        assignment: &Assignment,
        ended: Ended,
        times: Times,
        control: &AttemptControl,
    ) -> AttemptEnd {
        match ended.verdict {
            Verdict::Stopped => AttemptEnd::Stopped,
            Verdict::NotStarted { blame, reason } => match blame {
                Blame::Handler => AttemptEnd::Unfit { reason },
                Blame::Machine => AttemptEnd::Returned { reason },
            },
            Verdict::Completed(output) => {
                let result = self.result(assignment, ended.exit, times);
                self.store(result, output, control).await
            }
            Verdict::Failed { retry, reason } => AttemptEnd::Ended(Ending::Failed(Failure {
                retry,
                reason,
                exit: ended.exit.map(exit_text),
                stderr_tail: ended.stderr_tail,
                started: times.started,
                finished: times.finished,
            })),
        }
    }

    fn result(&self, assignment: &Assignment, exit: Option<Exit>, times: Times) -> TaskResult {
        TaskResult {
            id: assignment.id.clone(),
            state: FinalState::Completed,
            kind: assignment.kind.to_string(),
            attempts: assignment.attempt,
            worker: Some(self.worker.clone()),
            exit: exit.map(exit_text),
            reason: None,
            submitted: Some(assignment.submitted),
            started: Some(times.started),
            finished: times.finished,
            ran: Some(times.ran),
            estimate: assignment.estimate,
            traceparent: assignment.traceparent.clone(),
        }
    }

    /// Stores a result, however long that takes, unless it is stopped between two tries.
    async fn store(
        &self,
        result: TaskResult,
        output: Bytes,
        control: &AttemptControl,
    ) -> AttemptEnd {
        let mut link = self.bus.link();
        let mut pause = STORE_PAUSE_FIRST;
        loop {
            if let Some(ending) = self.try_store(&result, output.clone(), &mut link).await {
                return AttemptEnd::Ended(ending);
            }
            tokio::select! {
                biased;
                () = control.stopped() => return AttemptEnd::Stopped,
                () = wait_to_store_again(pause, &mut link) => {}
            }
            pause = (pause * 2).min(STORE_PAUSE_MAX);
        }
    }

    /// One try; nothing when there is to be another. That somebody else was first is as good, if it was a
    /// worker or a scheduler: what strangers have written there is replaced.
    async fn try_store(
        &self,
        result: &TaskResult,
        output: Bytes,
        link: &mut watch::Receiver<Link>,
    ) -> Option<Ending> {
        let task = &result.id;
        let breaks = link.borrow_and_update().breaks;
        let stored = tokio::select! {
            biased;
            stored = self.bus.settle_result(result, output) => stored,
            // The answer is lost with the connection that it was to come by.
            Ok(_) = link.wait_for(|link| link.breaks != breaks) => return None,
        };
        match stored {
            Ok(Settlement::Stored) => Some(Ending::Stored),
            Ok(Settlement::Already) => {
                // Perhaps our own, when the answer to an earlier try was lost.
                info!(%task, "result not stored: the task has one already");
                Some(Ending::Stored)
            }
            Err(error) if error.is_temporary() => {
                self.complain(task, &error);
                None
            }
            Err(error) => Some(unstorable(result, &error)),
        }
    }

    fn note_unfetched(&self, task: &TaskId, end: &AttemptEnd) {
        let AttemptEnd::Returned { reason } = end else {
            return;
        };
        let throttle = self.fetch_trouble.lock();
        let mut throttle = throttle.unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = throttle.count(Instant::now()) {
            warn!(%task, times, reason, "handed back without its input");
        }
    }

    fn complain(&self, task: &TaskId, error: &StoreError) {
        let throttle = self.store_trouble.lock();
        let mut throttle = throttle.unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = throttle.count(Instant::now()) {
            warn!(%task, times, error = %chain(error), "result not stored yet, trying again");
        }
    }
}

/// Ends only while the connection is up, so its limit is the life of the attempt.
async fn wait_to_store_again(pause: Duration, link: &mut watch::Receiver<Link>) {
    sleep(pause).await;
    // An error means that the connection is closed for good, which ends the worker.
    let _ = link.wait_for(|link| link.up).await;
}

/// In whole milliseconds, as it is told.
pub(super) fn span_of(ran: Duration) -> Span {
    Span::from_ms(u64::try_from(ran.as_millis()).unwrap_or(u64::MAX))
}

fn task_of(assignment: &Assignment, input: Bytes) -> Task {
    Task::new(TaskParts {
        id: assignment.id.to_string(),
        kind: assignment.kind.to_string(),
        attempt: assignment.attempt,
        input,
        time_limit: Some(assignment.timeout.duration()),
        traceparent: assignment.traceparent.clone(),
    })
}

fn log_end(assignment: &Assignment, ended: &Ended) {
    let Assignment {
        id, kind, attempt, ..
    } = assignment;
    let elapsed_ms = ended.ran.as_millis();
    match &ended.verdict {
        Verdict::Completed(output) => {
            let output_bytes = output.len();
            debug!(task = %id, %kind, attempt, elapsed_ms, output_bytes, "attempt completed");
        }
        Verdict::Failed { retry, reason } => {
            info!(task = %id, %kind, attempt, elapsed_ms, ?retry, reason, "attempt failed");
        }
        // What the agent makes of it is logged there.
        Verdict::NotStarted { reason, .. } => debug!(task = %id, %kind, attempt, reason),
        Verdict::Stopped => info!(task = %id, %kind, attempt, elapsed_ms, "attempt stopped"),
    }
}

/// A code as it is, so that a script can compare it; a signal by its number.
fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(signal) => format!("signal {signal}"),
    }
}

fn unstorable(result: &TaskResult, error: &StoreError) -> Ending {
    let task = &result.id;
    warn!(%task, error = %chain(error), "result cannot be stored, failing the task");
    Ending::Failed(Failure {
        retry: Retry::Never,
        reason: format!("the result cannot be stored: {}", chain(error)),
        exit: result.exit.clone(),
        stderr_tail: String::new(),
        started: result.started.unwrap_or(result.finished),
        finished: result.finished,
    })
}
