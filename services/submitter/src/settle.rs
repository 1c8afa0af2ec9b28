//! Carries out what was decided about a message: stores what stands for it, and then acks.
//!
//! What must hold: the send into a lane has happened when [`Settler::begin`] returns, so that tasks lie there
//! in the order in which they were begun; and no message is acked before the server has confirmed its
//! successor.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rota_bus::{Bus, EventSender, Expect, FeedMessage, Message, StoreError, Storing};
use rota_service::chain;
use rota_wire::event::Event;
use rota_wire::{Lane, Micros, Rejection, TaskSpec};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::decision::{Decision, Refusal};
use crate::hints::LaneHints;
use crate::window::Settled;

/// How long a message stays away that could not be passed on.
pub(crate) const GIVE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// Carries out decisions for all feeds.
#[derive(Debug)]
pub(crate) struct Settler {
    bus: Bus,
    events: EventSender,
    hints: Mutex<LaneHints>,
}

impl Settler {
    /// A settler on a connection.
    pub(crate) fn new(bus: Bus, events: EventSender) -> Self {
        let hints = Mutex::default();
        Self { bus, events, hints }
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
            Decision::Ready(passing) => {
                let sent = self.bus.store(passing.message, passing.expect).await;
                let task = passing.task;
                self.hint(&task.lane()).await;
                async move { this.pass(message, sent, task).await }.boxed()
            }
            Decision::Reject(refusal) => async move { this.reject(message, refusal).await }.boxed(),
            Decision::Discard(rejection) => {
                async move { this.discard(message, &rejection).await }.boxed()
            }
        }
    }

    async fn pass(
        &self,
        message: FeedMessage,
        sent: Result<Storing, StoreError>,
        task: TaskSpec,
    ) -> Settled {
        let stored = match sent {
            Ok(storing) => storing.done().await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(_) => self.ack(message, Settled::Passed).await,
            Err(StoreError::TooLarge { .. }) => {
                let rule = "smaller: the server takes no message of this size";
                let refusal = Refusal::of_body(&task, message.payload.len(), rule);
                self.reject(message, refusal).await
            }
            Err(error) => self.give_back(message, &error).await,
        }
    }

    async fn reject(&self, message: FeedMessage, refusal: Refusal) -> Settled {
        let result = refusal.message(self.bus.subjects(), Micros::now());
        let stored = match self.bus.store(result, Expect::First).await {
            Ok(storing) => storing.done().await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(_) => {
                let (task, reason) = (refusal.id, refusal.rejection.to_string());
                debug!(%task, reason, "rejected");
                self.events.tell(Event::Rejected { task, reason });
                self.ack(message, Settled::Rejected).await
            }
            // The task has its result: this refusal, stored before its ack was lost, or another.
            Err(StoreError::NotFirst { .. }) => self.ack(message, Settled::Rejected).await,
            Err(error) => self.give_back(message, &error).await,
        }
    }

    async fn discard(&self, message: FeedMessage, rejection: &Rejection) -> Settled {
        let (subject, seq) = (&message.subject, message.sequence);
        warn!(subject, seq, error = %rejection, "discarded a due message that Rota did not write");
        self.ack(message, Settled::Discarded).await
    }

    async fn ack(&self, message: FeedMessage, settled: Settled) -> Settled {
        if let Err(error) = message.ack().await {
            // It comes again, is marked as one that may have run, and its result is found.
            debug!(seq = message.sequence, %error, "an ack was not sent");
        }
        settled
    }

    async fn give_back(&self, message: FeedMessage, error: &StoreError) -> Settled {
        if let Err(error) = message.give_back(GIVE_BACK_PAUSE).await {
            debug!(seq = message.sequence, %error, "not given back, it comes again by itself");
        }
        let error = chain(error).to_string();
        Settled::GivenBack { error }
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
