//! Errands: what waits for an answer of the server, many at a time and without holding up a turn.
//!
//! Each ends in an event for the core, or in something that the session does itself. Bounded: a fixed
//! number are under way, the rest wait in order; their number is bounded by the tasks in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rota_bus::{Bus, LaneError, Message, Opened, StoreError, Subject};
use rota_scheduler_core::{Event, Looked};
use rota_wire::dispatch::Failure;
use rota_wire::explain::Explanation;
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Lane, Micros, Span, TaskId, TaskSpec, WorkerId};
use tracing::warn;

/// Errands under way at a time.
const UNDER_WAY_MAX: usize = 256;

/// Something to do that takes a while.
pub(crate) enum Errand {
    FindLanes,
    OpenLane(Lane),
    /// Tells the core something once all errands begun before are done.
    Tell(Event),
    /// Answers why a task is where it is: with what the core knows, else with what the streams tell.
    Explain {
        task: TaskId,
        known: Option<Box<Explanation>>,
        reply: Subject,
    },
    LookUp {
        seq: u64,
        task: Arc<TaskSpec>,
    },
    StoreRetry {
        seq: u64,
        task: Arc<TaskSpec>,
        wait: Span,
    },
    Bury {
        seq: u64,
        task: Arc<TaskSpec>,
        reason: String,
        worker: Option<WorkerId>,
        failure: Option<Box<Failure>>,
        course: Course,
    },
}

/// What is known of a task's last attempt beside how it ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Course {
    pub(crate) ran: Option<Span>,
    pub(crate) estimate: Option<Span>,
}

/// How an errand ended.
pub(crate) enum ErrandEnd {
    Event(Event),
    LanesFound(Vec<Lane>),
    LaneOpened(Lane, Opened),
    Done,
    Failed(ErrandFailed),
}

/// An errand about lanes that failed.
pub(crate) struct ErrandFailed {
    pub(crate) lane: Option<Lane>,
    pub(crate) error: LaneError,
}

pub(crate) struct Errands {
    bus: Bus,
    waiting: VecDeque<Errand>,
    under_way: FuturesUnordered<BoxFuture<'static, ErrandEnd>>,
}

impl Errands {
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            bus,
            waiting: VecDeque::new(),
            under_way: FuturesUnordered::new(),
        }
    }

    pub(crate) fn start(&mut self, errand: Errand) {
        self.waiting.push_back(errand);
        self.begin_waiting();
    }

    /// The next end; never, while there are no errands. Safe to cancel.
    pub(crate) async fn next_end(&mut self) -> ErrandEnd {
        loop {
            self.begin_waiting();
            match self.under_way.next().await {
                Some(end) => return end,
                None => std::future::pending::<()>().await,
            }
        }
    }

    pub(crate) fn try_next_end(&mut self) -> Option<ErrandEnd> {
        self.begin_waiting();
        self.under_way.next().now_or_never().flatten()
    }

    fn begin_waiting(&mut self) {
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(errand) = self.waiting.pop_front()
        {
            if matches!(errand, Errand::Tell(_)) && !self.under_way.is_empty() {
                self.waiting.push_front(errand);
                return;
            }
            let bus = self.bus.clone();
            self.under_way.push(run(bus, errand).boxed());
        }
    }
}

async fn run(bus: Bus, errand: Errand) -> ErrandEnd {
    match errand {
        Errand::Tell(event) => ErrandEnd::Event(event),
        Errand::FindLanes => match bus.lanes().await {
            Ok(lanes) => ErrandEnd::LanesFound(lanes),
            Err(error) => ErrandEnd::Failed(ErrandFailed { lane: None, error }),
        },
        Errand::OpenLane(lane) => match bus.open_lane(&lane).await {
            Ok(opened) => ErrandEnd::LaneOpened(lane, opened),
            Err(error) => ErrandEnd::Failed(ErrandFailed {
                lane: Some(lane),
                error,
            }),
        },
        Errand::Explain { task, known, reply } => {
            let explanation = match known {
                Some(known) => *known,
                None => explain_unknown(&bus, task).await,
            };
            answer(&bus, reply, &explanation).await;
            ErrandEnd::Done
        }
        Errand::LookUp { seq, task } => {
            let found = match bus.result(&task.id).await {
                Ok(Some(_)) => Looked::Result,
                Ok(None) => Looked::Nothing,
                Err(error) => {
                    warn!(task = %task.id, error = %rota_service::chain(&error), "look-up failed");
                    Looked::Unanswered
                }
            };
            ErrandEnd::Event(Event::Looked { seq, found })
        }
        Errand::StoreRetry { seq, task, wait } => {
            let stored = store_retry(&bus, seq, &task, wait).await;
            settled(seq, &task, stored)
        }
        Errand::Bury {
            seq,
            task,
            reason,
            worker,
            failure,
            course,
        } => {
            let letter = Letter {
                seq,
                task: &task,
                reason: &reason,
                worker,
                failure,
                course,
            };
            let stored = bury(&bus, letter).await;
            settled(seq, &task, stored)
        }
    }
}

/// What can be said of a task that the scheduler has not got in memory.
async fn explain_unknown(bus: &Bus, task: TaskId) -> Explanation {
    let why = match bus.result(&task).await {
        Ok(Some(found)) => match found.result {
            Some(result) => format!("it has ended: {}", result.state),
            None => "it has a result that Rota did not write".to_owned(),
        },
        Ok(None) => {
            "the scheduler has not read it: it waits in the stream behind tasks of its kind \
                     and priority, or no live worker handles its kind, or it is scheduled for later, or \
                     there is no such task"
                .to_owned()
        }
        Err(error) => format!(
            "its result cannot be looked up: {}",
            rota_service::chain(&error)
        ),
    };
    Explanation {
        task,
        state: "unknown".to_owned(),
        why,
        known: None,
        decision: None,
        candidates: Vec::new(),
        others: 0,
    }
}

async fn answer(bus: &Bus, reply: Subject, explanation: &Explanation) {
    let body = serde_json::to_vec(explanation).expect("an explanation is plain data");
    if let Err(error) = bus.send(Message::new(reply, body.into())).await {
        warn!(task = %explanation.task, error = %rota_service::chain(&error), "explanation not sent");
    }
}

/// Why a retry or a dead letter is not stored.
#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error("the task's message cannot be read")]
    Read(#[from] LaneError),
    #[error("the message is not stored")]
    Store(#[from] StoreError),
}

fn settled(seq: u64, task: &TaskSpec, stored: Result<(), SettleError>) -> ErrandEnd {
    ErrandEnd::Event(match stored {
        Ok(()) => Event::Stored { seq },
        Err(error) => {
            let error = rota_service::chain(&error);
            warn!(task = %task.id, seq, %error, "the task is not settled yet, trying again");
            Event::StoreFailed { seq }
        }
    })
}

async fn store_retry(bus: &Bus, seq: u64, task: &TaskSpec, wait: Span) -> Result<(), SettleError> {
    let input = bus.ready_message(seq).await?.payload;
    let due = Micros::now().plus(wait);
    bus.store_retry(task, input, due).await?.done().await?;
    Ok(())
}

struct Letter<'a> {
    seq: u64,
    task: &'a TaskSpec,
    reason: &'a str,
    worker: Option<WorkerId>,
    failure: Option<Box<Failure>>,
    course: Course,
}

/// The letter first, the result after it: a task that has its result is not looked at again.
async fn bury(bus: &Bus, letter: Letter<'_>) -> Result<(), SettleError> {
    let Letter {
        seq,
        task,
        reason,
        worker,
        failure,
        course,
    } = letter;
    let input = bus.ready_message(seq).await?.payload;
    bus.store_dead(seq, task, input, reason, worker.as_ref())
        .await?
        .done()
        .await?;
    let failure = failure.map(|failure| *failure);
    let result = TaskResult {
        id: task.id.clone(),
        state: FinalState::Failed,
        kind: task.kind.to_string(),
        attempts: task.attempt,
        worker,
        exit: failure.as_ref().and_then(|failure| failure.exit.clone()),
        reason: Some(reason.to_owned()),
        submitted: Some(task.submitted),
        started: failure.as_ref().map(|failure| failure.started),
        finished: failure
            .as_ref()
            .map_or_else(Micros::now, |failure| failure.finished),
        ran: course.ran,
        estimate: course.estimate,
        traceparent: task.options.traceparent.clone(),
    };
    let body = failure.map_or_else(Bytes::new, |failure| failure.stderr_tail.into());
    match bus.store_result(&result, body).await?.done().await {
        // Another result was first: the task is settled all the same.
        Ok(_) | Err(StoreError::NotFirst { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
