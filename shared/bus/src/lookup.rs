//! Whether tasks have ended already, or wait for a retry: many at a time.
//!
//! ```text
//! look_up(ids) ──► any copy: one batched read of ROTA_RESULTS and one of ROTA_SCHEDULE for 256 ids
//!             └──► latest:   the leader of each stream is asked for each id
//! ```
//!
//! A copy may lag behind its leader for a moment. Where a stream has one copy only, that is its leader, and the
//! batched read is as good as any.

mod batch;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use rota_wire::headers::{ATTEMPT, ID, SUBMITTED};
use rota_wire::{Headers, TaskId};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::debug;

use crate::connect::Bus;
use crate::limit::Cause;
use crate::results::is_genuine;
use crate::streams::StreamName;

/// Ids in one batched read; the server takes 1,024.
const BATCH_MAX: usize = 256;
/// Reads from leaders under way at a time, for one look-up.
const READS_MAX: usize = 64;
/// How long the number of a stream's copies is taken for true.
const COPIES_LIFETIME: Duration = Duration::from_secs(30);

/// How new an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// All that was stored before the question.
    Latest,
    /// What was stored a moment ago may be missing.
    AnyCopy,
}

/// What is known of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It has its result.
    Result,
    /// A retry of it waits for its time.
    Scheduled {
        /// Which attempt that will be.
        attempt: u32,
    },
    /// Under its result's subject lies something that Rota did not write for it. No result.
    Foreign,
    /// Nothing.
    Nothing,
    /// The server did not say.
    Unanswered,
}

/// Why nothing at all could be learned.
#[derive(Debug, thiserror::Error)]
#[error("looking up {tasks} tasks")]
pub struct LookUpError {
    /// How many.
    pub tasks: usize,
    /// Why.
    pub source: Cause,
}

impl Bus {
    /// What is known of tasks, in the order of their ids. An id may come twice.
    ///
    /// # Errors
    /// [`LookUpError`] when not one of them could be looked up; else those are [`Found::Unanswered`].
    pub async fn look_up(
        &self,
        tasks: &[TaskId],
        freshness: Freshness,
    ) -> Result<Vec<Found>, LookUpError> {
        let batched = match freshness {
            Freshness::AnyCopy => true,
            Freshness::Latest => self.copies_are_single().await,
        };
        let mut found = Vec::with_capacity(tasks.len());
        let mut failed = None;
        for part in tasks.chunks(BATCH_MAX) {
            let known = if batched {
                self.look_up_batch(part).await
            } else {
                Ok(self.look_up_each(part, &mut failed).await)
            };
            match known {
                Ok(known) => found.extend(known),
                Err(error) => {
                    failed = Some(error);
                    found.extend(part.iter().map(|_| Found::Unanswered));
                }
            }
        }
        let is_answered = |found: &Found| *found != Found::Unanswered;
        match failed {
            Some(source) if !found.iter().any(is_answered) => Err(LookUpError {
                tasks: tasks.len(),
                source,
            }),
            Some(error) => {
                debug!(%error, "some tasks could not be looked up");
                Ok(found)
            }
            None => Ok(found),
        }
    }

    async fn look_up_batch(&self, tasks: &[TaskId]) -> Result<Vec<Found>, Cause> {
        let subjects = self.subjects();
        let results = subjects.results_start();
        let retries = subjects.retries_start();
        // Both streams at once: a result that is written meanwhile comes before its retry is gone.
        let (retries, results) = tokio::try_join!(
            self.last_of_each(StreamName::Schedule, &retries, tasks, |id, headers| {
                scheduled_attempt(headers, id)
            }),
            self.last_of_each(StreamName::Results, &results, tasks, |id, headers| {
                Some(is_genuine(headers, id))
            }),
        )?;
        let known = |id: &TaskId| join(results.get(id).copied(), retries.get(id).copied());
        Ok(tasks.iter().map(known).collect())
    }

    async fn look_up_each(&self, tasks: &[TaskId], failed: &mut Option<Cause>) -> Vec<Found> {
        let reads: Vec<_> = tasks.iter().map(|id| self.look_up_one(id)).collect();
        let reads = stream::iter(reads).buffered(READS_MAX);
        let read: Vec<Result<Found, Cause>> = reads.collect().await;
        let known = read.into_iter().map(|read| {
            read.unwrap_or_else(|error| {
                *failed = Some(error);
                Found::Unanswered
            })
        });
        known.collect()
    }

    async fn look_up_one(&self, id: &TaskId) -> Result<Found, Cause> {
        let subject = self.subjects().result(id);
        let last = self.last_message(StreamName::Results, subject.as_str());
        let genuine = last.await?.map(|last| is_genuine(&last.headers, id));
        if genuine == Some(true) {
            return Ok(Found::Result);
        }
        let subject = self.subjects().retry(id);
        let last = self.last_message(StreamName::Schedule, subject.as_str());
        let scheduled = last
            .await?
            .and_then(|last| scheduled_attempt(&last.headers, id));
        Ok(join(genuine, scheduled))
    }

    /// Whether both streams have one copy.
    async fn copies_are_single(&self) -> bool {
        if let Some(known) = self.copies().known() {
            return known;
        }
        let (results, schedule) = tokio::join!(
            self.copies_of(StreamName::Results),
            self.copies_of(StreamName::Schedule)
        );
        match (results, schedule) {
            (Ok(results), Ok(schedule)) => {
                let single = results == 1 && schedule == 1;
                self.copies().note(single);
                single
            }
            (Err(error), _) | (_, Err(error)) => {
                debug!(%error, "the streams do not tell their copies");
                false
            }
        }
    }

    async fn copies_of(&self, stream: StreamName) -> Result<usize, Cause> {
        #[derive(Deserialize)]
        struct Info {
            config: Config,
        }
        #[derive(Deserialize)]
        struct Config {
            num_replicas: usize,
        }
        let stream = self.subjects().stream(stream.part());
        let info: Info = self
            .api(&format!("STREAM.INFO.{stream}"), String::new())
            .await?;
        Ok(info.config.num_replicas)
    }
}

/// Whether the streams of look-ups have one copy each, as was last told.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    single: Mutex<Option<(bool, Instant)>>,
}

impl Copies {
    fn known(&self) -> Option<bool> {
        let known = *self.single.lock().unwrap_or_else(PoisonError::into_inner);
        known.and_then(|(single, at)| (at.elapsed() < COPIES_LIFETIME).then_some(single))
    }

    fn note(&self, single: bool) {
        let mut known = self.single.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((single, Instant::now()));
    }
}

/// What both streams say together: a result ends a task whatever else there is.
fn join(genuine: Option<bool>, scheduled: Option<u32>) -> Found {
    match (genuine, scheduled) {
        (Some(true), _) => Found::Result,
        (_, Some(attempt)) => Found::Scheduled { attempt },
        (Some(false), None) => Found::Foreign,
        (None, None) => Found::Nothing,
    }
}

/// The attempt of a retry that Rota stored for this task.
pub(crate) fn scheduled_attempt(headers: &Headers, id: &TaskId) -> Option<u32> {
    let genuine = headers.value(ID) == Some(id.as_str()) && headers.value(SUBMITTED).is_some();
    match headers.value(ATTEMPT) {
        _ if !genuine => None,
        None => Some(1),
        Some(text) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_ends_a_task_and_what_is_foreign_says_nothing() {
        assert_eq!(join(Some(true), Some(2)), Found::Result);
        assert_eq!(join(Some(false), Some(2)), Found::Scheduled { attempt: 2 });
        assert_eq!(join(None, Some(2)), Found::Scheduled { attempt: 2 });
        assert_eq!(join(Some(false), None), Found::Foreign);
        assert_eq!(join(None, None), Found::Nothing);
    }

    #[test]
    fn a_retry_counts_only_for_its_own_task() {
        let id = TaskId::parse("a").expect("good");
        let headers = |pairs: &[(&'static str, &str)]| pairs.iter().copied().collect::<Headers>();
        let good = headers(&[
            (ID, "a"),
            (SUBMITTED, "2026-11-23T08:00:00Z"),
            (ATTEMPT, "4"),
        ]);
        assert_eq!(scheduled_attempt(&good, &id), Some(4));
        assert_eq!(scheduled_attempt(&headers(&[(ID, "a")]), &id), None);
        let other = TaskId::parse("b").expect("good");
        assert_eq!(scheduled_attempt(&good, &other), None);
    }
}
