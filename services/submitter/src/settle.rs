//! Carries out what was decided about a message: stores what stands for it, and then acks.
//!
//! What must hold: the send into a lane has happened when [`Settler::begin`] returns, so that tasks lie there
//! in the order in which they were begun; and no message is acked before the server has confirmed its
//! successor.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rota_bus::{Bus, EventSender, FeedMessage, Message, Settlement, StoreError, Stored, Storing};
use rota_service::chain;
use rota_wire::event::Event;
use rota_wire::result::TaskResult;
use rota_wire::task::Unreadable;
use rota_wire::{Lane, Micros, TaskSpec};
use tokio::time::{Instant, timeout};
use tracing::{debug, error, warn};

use crate::decision::{Burial, Decision, Entry, Passing, Refusal};
use crate::hints::LaneHints;
use crate::kinds::{KindGate, Standing};
use crate::window::Settled;

/// How long a message stays away that could not be passed on.
pub(crate) const GIVE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// How long a message stays away that only a newer Rota can read.
const LEAVE_PAUSE: Duration = Duration::from_secs(30);
/// The count of lanes is waited for no longer: the door stands still meanwhile.
const COUNT_MAX: Duration = Duration::from_secs(1);

/// Carries out decisions for all feeds.
#[derive(Debug)]
pub(crate) struct Settler {
    bus: Bus,
    events: EventSender,
    hints: Mutex<LaneHints>,
    gate: Mutex<KindGate>,
}

/// A message whose successor is on its way.
struct UnderWay {
    message: FeedMessage,
    task: TaskSpec,
    entry: Entry,
}

impl Settler {
    /// A settler on a connection, for an installation in which so many kinds may wait.
    pub(crate) fn new(bus: Bus, events: EventSender, kinds_max: usize) -> Self {
        Self {
            bus,
            events,
            hints: Mutex::default(),
            gate: Mutex::new(KindGate::new(kinds_max)),
        }
    }

    /// The connection.
    pub(crate) const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Sends what was decided. What is returned waits for the server's answer and answers the message.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        message: FeedMessage,
        decision: Decision,
    ) -> BoxFuture<'static, Settled> {
        let this = self.clone();
        match decision {
            Decision::Ready(passing) => match self.standing(&passing).await {
                Standing::In => {
                    let (sent, under_way) = self.send(message, passing).await;
                    async move { this.pass(sent, under_way).await }.boxed()
                }
                Standing::Uncounted | Standing::OnlyIfWaiting => {
                    async move { this.pass_if_waiting(message, passing).await }.boxed()
                }
            },
            Decision::Reject(refusal) => async move { this.reject(message, refusal).await }.boxed(),
            Decision::Bury(burial) => async move { this.bury(message, burial).await }.boxed(),
            Decision::Leave(newer) => async move { this.leave(message, &newer).await }.boxed(),
        }
    }

    /// Whether a task's kind may enter.
    async fn standing(&self, passing: &Passing) -> Standing {
        let kind = &passing.task.kind;
        match passing.entry {
            Entry::Returns => return Standing::In,
            Entry::Asks => {}
        }
        let standing = self.gate().ask(kind, Instant::now());
        if standing != Standing::Uncounted {
            return standing;
        }
        let counted = timeout(COUNT_MAX, self.bus.count_lanes()).await;
        let lanes = counted.ok().and_then(|lanes| {
            lanes
                .inspect_err(|error| debug!(error = %chain(error), "the lanes were not counted"))
                .ok()
        });
        let mut gate = self.gate();
        gate.handle_count(lanes, Instant::now());
        gate.ask(kind, Instant::now())
    }

    /// Beyond the limit a kind enters if it waits already, which is looked up beside the other messages: such
    /// tasks of one kind may overtake each other.
    async fn pass_if_waiting(&self, message: FeedMessage, passing: Passing) -> Settled {
        let kind = &passing.task.kind;
        match self.bus.lanes_of(kind).await {
            Ok(lanes) if !lanes.is_empty() => {
                self.gate().let_in(kind, Instant::now());
                let (sent, under_way) = self.send(message, passing).await;
                self.pass(sent, under_way).await
            }
            Ok(_) => {
                let kinds_max = self.gate().kinds_max();
                warn!(%kind, kinds_max, "refused a kind: as many as may wait do");
                let refusal = Refusal::of_kind(&passing.task, kinds_max);
                self.reject(message, refusal).await
            }
            Err(error) => self.give_back(message, &error).await,
        }
    }

    async fn send(
        &self,
        message: FeedMessage,
        passing: Passing,
    ) -> (Result<Storing, StoreError>, UnderWay) {
        let Passing {
            task,
            message: successor,
            expect,
            entry,
        } = passing;
        let sent = self.bus.store(successor, expect).await;
        self.hint(&task.lane()).await;
        let under_way = UnderWay {
            message,
            task,
            entry,
        };
        (sent, under_way)
    }

    async fn pass(&self, sent: Result<Storing, StoreError>, under_way: UnderWay) -> Settled {
        let UnderWay {
            message,
            task,
            entry,
        } = under_way;
        match (done(sent).await, entry) {
            (Ok(Stored::Duplicate { seq: ready_seq }), Entry::Asks) => {
                // It was sent without an id, so nothing is known of what stands for it.
                let seq = message.sequence;
                error!(task = %task.id, seq, ready_seq, "a submission was taken for another message");
                self.return_to(message, "taken for another message").await
            }
            // What has its name from its place in the stream is a duplicate only of itself: it is there.
            (Ok(Stored::New { .. }), _) | (Ok(Stored::Duplicate { .. }), Entry::Returns) => {
                self.ack(message, Settled::Passed).await
            }
            (Err(StoreError::TooLarge { .. }), _) => {
                let rule = "smaller: the server takes no message of this size";
                let refusal = Refusal::of_body(&task, message.payload.len(), rule);
                self.reject(message, refusal).await
            }
            (Err(error), _) => self.give_back(message, &error).await,
        }
    }

    async fn reject(&self, message: FeedMessage, refusal: Refusal) -> Settled {
        match self.settle(&refusal.result(Micros::now())).await {
            Ok(told) => {
                if told == Settlement::Stored {
                    let (task, reason) = (refusal.id, refusal.rejection.to_string());
                    debug!(%task, reason, "rejected");
                    self.events.tell(Event::Rejected { task, reason });
                }
                self.ack(message, Settled::Rejected).await
            }
            Err(error) => self.give_back(message, &error).await,
        }
    }

    /// Keeps what cannot be read where a person finds it, then tells the submitter.
    async fn bury(&self, message: FeedMessage, burial: Burial) -> Settled {
        let (subject, seq, reason) = (&message.subject, message.sequence, &burial.reason);
        warn!(
            subject,
            seq, reason, "a due message is no task: now a dead letter"
        );
        let mut buried = done(
            self.bus
                .store(burial.letter.clone(), burial.expect.clone())
                .await,
        )
        .await;
        if let Err(StoreError::TooLarge { .. }) = buried {
            let letter = Message {
                payload: Bytes::new(),
                ..burial.letter.clone()
            };
            buried = done(self.bus.store(letter, burial.expect.clone()).await).await;
        }
        if let Err(error) = buried {
            return self.give_back(message, &error).await;
        }
        if let Some(result) = burial.result(Micros::now()) {
            if let Err(error) = self.settle(&result).await {
                return self.give_back(message, &error).await;
            }
            self.events.tell(Event::DeadLettered {
                task: result.id,
                kind: burial.kind,
                attempts: burial.attempts,
                reason: burial.reason,
            });
        }
        self.ack(message, Settled::Buried).await
    }

    /// Leaves a message to a newer Rota, which may be started yet.
    async fn leave(&self, message: FeedMessage, newer: &Unreadable) -> Settled {
        let (subject, seq) = (&message.subject, message.sequence);
        if message.deliveries == 1 {
            warn!(subject, seq, error = %newer, "left to a newer submitter: upgrade this one");
        }
        self.answer_later(&message, LEAVE_PAUSE).await;
        Settled::Left
    }

    /// Stores a result, unless the task has one: this one, stored before its ack was lost, or another.
    async fn settle(&self, result: &TaskResult) -> Result<Settlement, StoreError> {
        self.bus.settle_result(result, Bytes::new()).await
    }

    async fn ack(&self, message: FeedMessage, settled: Settled) -> Settled {
        if let Err(error) = message.ack().await {
            // It comes again, is marked as one that may have run, and its result is found.
            debug!(seq = message.sequence, %error, "an ack was not sent");
        }
        settled
    }

    async fn give_back(&self, message: FeedMessage, error: &(dyn Error + Sync)) -> Settled {
        let why = chain(error).to_string();
        self.return_to(message, &why).await
    }

    async fn return_to(&self, message: FeedMessage, why: &str) -> Settled {
        self.answer_later(&message, GIVE_BACK_PAUSE).await;
        Settled::GivenBack {
            error: why.to_owned(),
        }
    }

    async fn answer_later(&self, message: &FeedMessage, pause: Duration) {
        if let Err(error) = message.give_back(pause).await {
            debug!(seq = message.sequence, %error, "not given back, it comes again by itself");
        }
    }

    fn gate(&self) -> MutexGuard<'_, KindGate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the scheduler of a lane, so that it opens a new one at once. A hint that is lost costs a
    /// moment and no task.
    async fn hint(&self, lane: &Lane) {
        let wanted = {
            let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
            hints.is_wanted(lane, Instant::now())
        };
        if wanted {
            let subject = self.bus.subjects().lane_hint(lane);
            if let Err(error) = self.bus.send(Message::new(subject, Bytes::new())).await {
                debug!(%lane, %error, "the scheduler was not told of a lane");
            }
        }
    }
}

async fn done(sent: Result<Storing, StoreError>) -> Result<Stored, StoreError> {
    match sent {
        Ok(storing) => storing.done().await,
        Err(error) => Err(error),
    }
}
