//! Retries: a failed task's next attempt, put into the schedule so that no later attempt is lost.
//!
//! The schedule keeps one message for each task, and a new one takes the place of the old. A store whose answer was
//! lost may reach the server long after it was given up, when the task has a later attempt there. So a retry is
//! stored only where nothing lies, which is so in nearly every case: an attempt leaves the schedule before it runs.
//! When the server refuses, what lies there is read and decides.
//!
//! What must hold: in the schedule an attempt is replaced by a later one or by none.

use bytes::Bytes;
use rota_wire::{Span, TaskSpec};
use tracing::{debug, warn};

use crate::connect::Bus;
use crate::lookup::scheduled_attempt;
use crate::message::Message;
use crate::store::{Expect, StoreError};
use crate::streams::StreamName;

/// The server's own headers for a message that is published later.
const SCHEDULE: &str = "Nats-Schedule";
const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
/// How often a retry is stored anew when what lay there has changed meanwhile.
const TRIES_MAX: usize = 8;

/// How a retry was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredRetry {
    /// It lies in the schedule.
    New,
    /// This attempt lay there already, or a later one: it stays, and carries the task on.
    Already {
        /// Which.
        attempt: u32,
    },
}

impl Bus {
    /// Puts a task into the schedule: after `wait` the server itself puts it where the submitter finds it. An
    /// earlier attempt that lies there is replaced, and so is what is no retry of this task. The time is reckoned by
    /// the server's clock.
    ///
    /// # Errors
    /// [`StoreError`] when neither it nor a later attempt is known to lie there.
    pub async fn store_retry(
        &self,
        task: &TaskSpec,
        input: Bytes,
        wait: Span,
    ) -> Result<StoredRetry, StoreError> {
        let message = self.retry_message(task, input, wait).await;
        let mut expect = Expect::First;
        for _ in 0..TRIES_MAX {
            match self.store_now(message.clone(), expect).await {
                Ok(_) => return Ok(StoredRetry::New),
                Err(StoreError::NotFirst { .. }) => {}
                Err(error) => return Err(error),
            }
            let subject = message.subject.as_str();
            let found = self.last_message(StreamName::Schedule, subject).await;
            let found = found.map_err(|error| StoreError::Unanswered {
                subject: message.subject.clone(),
                source: error.into(),
            })?;
            expect = match found {
                // It has fallen due meanwhile.
                None => Expect::First,
                Some(found) => {
                    let (id, seq) = (&task.id, found.seq);
                    match scheduled_attempt(&found.headers, id) {
                        Some(attempt) if attempt >= task.attempt => {
                            debug!(task = %id, attempt, "the schedule has this attempt or a later one");
                            return Ok(StoredRetry::Already { attempt });
                        }
                        Some(attempt) => {
                            debug!(task = %id, attempt, "a later attempt takes its place in the schedule");
                        }
                        None => warn!(task = %id, seq, "replacing what is no retry of Rota's"),
                    }
                    Expect::Last(seq)
                }
            };
        }
        Err(StoreError::Unanswered {
            subject: message.subject,
            source: "others keep writing where the retry belongs".into(),
        })
    }

    async fn retry_message(&self, task: &TaskSpec, input: Bytes, wait: Span) -> Message {
        let due = self.server_now().await.plus(wait);
        let mut headers = task.to_headers();
        headers.push(SCHEDULE, format!("@at {due}"));
        let target = self.subjects().due(&task.lane()).to_string();
        headers.push(SCHEDULE_TARGET, target);
        Message {
            subject: self.subjects().retry(&task.id),
            headers,
            payload: input,
        }
    }
}
