//! Reading results, and writing one so that it stands.
//!
//! The server stores under a result's subject whatever is published there, and a client can make it publish
//! its own answers there, by naming the subject as the reply of a request. So a result counts only if it says
//! that it is the result of the task that was asked for.
//!
//! What must hold: nothing that Rota did not write is taken for a result, nor keeps one from being stored.

use bytes::Bytes;
use rota_wire::headers::{ID, STATE};
use rota_wire::result::TaskResult;
use rota_wire::{Headers, TaskId};
use tracing::warn;

use crate::api::{ApiError, StoredMessage, Which};
use crate::connect::Bus;
use crate::limit::Cause;
use crate::store::{Expect, StoreError};
use crate::streams::StreamName;

/// How often a result is written anew over what keeps coming between.
const SETTLE_TRIES: usize = 8;

/// Why results cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the result of task {task}")]
pub struct ResultError {
    /// Which.
    pub task: TaskId,
    /// Why.
    pub source: Cause,
}

/// A result as it is stored.
#[derive(Debug, Clone)]
pub struct StoredResult {
    /// All its headers.
    pub headers: Headers,
    /// What they say; nothing when somebody else wrote it, or a newer Rota that says it otherwise.
    pub result: Option<TaskResult>,
    /// Whether Rota wrote it for this task. What is not genuine is no result.
    pub genuine: bool,
    /// The output.
    pub body: Bytes,
}

/// How a result was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// This one stands.
    Stored,
    /// The task had a result already, which stands.
    Already,
}

impl Bus {
    /// What is stored as the result of a task, if anything is: read from the stream's leader.
    ///
    /// # Errors
    /// [`ResultError`] when the server does not answer.
    pub async fn result(&self, id: &TaskId) -> Result<Option<StoredResult>, ResultError> {
        let subject = self.subjects().result(id);
        let found = self.last_message(StreamName::Results, subject.as_str());
        let found = found.await.map_err(|error| ResultError {
            task: id.clone(),
            source: error.into(),
        })?;
        Ok(found.map(|last| {
            let genuine = is_genuine(&last.headers, id);
            let result = TaskResult::from_headers(&last.headers).filter(|_| genuine);
            StoredResult {
                result,
                genuine,
                headers: last.headers,
                body: last.body,
            }
        }))
    }

    /// Stores the result of a task unless it has one. The first one wins; what is not a result of this task
    /// is replaced.
    ///
    /// # Errors
    /// [`StoreError`]: temporary, or too large.
    pub async fn settle_result(
        &self,
        result: &TaskResult,
        body: Bytes,
    ) -> Result<Settlement, StoreError> {
        let subject = self.subjects().result(&result.id);
        let mut expect = Expect::First;
        for _ in 0..SETTLE_TRIES {
            let message = self.result_message(result, body.clone());
            match self.store_now(message, expect).await {
                Ok(_) => return Ok(Settlement::Stored),
                Err(StoreError::NotFirst { .. }) => {}
                Err(error) => return Err(error),
            }
            let found = self
                .last_message(StreamName::Results, subject.as_str())
                .await;
            expect = match found {
                Ok(Some(last)) if is_genuine(&last.headers, &result.id) => {
                    return Ok(Settlement::Already);
                }
                Ok(Some(last)) => {
                    warn!(task = %result.id, seq = last.seq, "replacing what is no result of Rota's");
                    Expect::Last(last.seq)
                }
                // It has been there and is gone again.
                Ok(None) => Expect::First,
                Err(error) => {
                    return Err(StoreError::Unanswered {
                        subject,
                        source: error.into(),
                    });
                }
            };
        }
        Err(StoreError::Unanswered {
            subject,
            source: "others keep writing on the result's subject".into(),
        })
    }

    /// The last message on a subject, from the stream's leader.
    pub(crate) async fn last_message(
        &self,
        stream: StreamName,
        subject: &str,
    ) -> Result<Option<StoredMessage>, ApiError> {
        let stream = self.subjects().stream(stream.part());
        self.leader_read(&stream, Which::Last(subject)).await
    }
}

/// Whether these are the headers of a result that Rota wrote for this task, in this version or another.
pub(crate) fn is_genuine(headers: &Headers, id: &TaskId) -> bool {
    headers.value(ID) == Some(id.as_str()) && headers.value(STATE).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_genuine_only_for_the_task_that_it_names() {
        let id = TaskId::parse("a").expect("good");
        let headers = |pairs: &[(&'static str, &str)]| pairs.iter().copied().collect::<Headers>();
        assert!(is_genuine(
            &headers(&[(ID, "a"), (STATE, "of a later Rota")]),
            &id
        ));
        for foreign in [
            &[][..],
            &[(ID, "b"), (STATE, "completed")],
            &[(ID, "a")],
            &[(STATE, "completed")],
        ] {
            assert!(!is_genuine(&headers(foreign), &id), "{foreign:?}");
        }
    }
}
