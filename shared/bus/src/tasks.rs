//! Storing tasks where they go: the schedule, the dead letters, the results.

use bytes::Bytes;
use rota_wire::headers::{REASON, WORKER};
use rota_wire::result::TaskResult;
use rota_wire::{Span, TaskSpec, WorkerId};

use crate::connect::Bus;
use crate::message::Message;
use crate::store::{Expect, StoreError, Storing};

/// The server's own headers for a message that is published later.
const SCHEDULE: &str = "Nats-Schedule";
const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";

impl Bus {
    /// Puts a task into the schedule: after `wait` the server itself puts it where the submitter finds it.
    /// A retry that the task has there already is replaced. The time is reckoned by the server's clock.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot even be sent.
    pub async fn store_retry(
        &self,
        task: &TaskSpec,
        input: Bytes,
        wait: Span,
    ) -> Result<Storing, StoreError> {
        let due = self.server_now().await.plus(wait);
        let mut headers = task.to_headers();
        headers.push(SCHEDULE, format!("@at {due}"));
        let target = self.subjects().due(&task.lane()).to_string();
        headers.push(SCHEDULE_TARGET, target);
        let message = Message {
            subject: self.subjects().retry(&task.id),
            headers,
            payload: input,
        };
        self.store(message, Expect::Nothing).await
    }

    /// Puts a task among the dead letters, with its input, its headers and the reason. `seq` is its
    /// message in ROTA_READY: the same message makes one letter, also when it is stored twice.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot even be sent.
    pub async fn store_dead(
        &self,
        seq: u64,
        task: &TaskSpec,
        input: Bytes,
        reason: &str,
        worker: Option<&WorkerId>,
    ) -> Result<Storing, StoreError> {
        let mut headers = task.to_headers();
        headers.push(REASON, reason);
        headers.push_some(WORKER, worker.map(WorkerId::as_str));
        let message = Message {
            subject: self.subjects().dead(&task.kind),
            headers,
            payload: input,
        };
        let expect = Expect::NewId(format!("{seq}:{}", task.id));
        self.store(message, expect).await
    }

    /// Stores the result of a task. The first one wins: for any other the answer is
    /// [`StoreError::NotFirst`], which [`Bus::settle_result`] looks into.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot even be sent.
    pub async fn store_result(
        &self,
        result: &TaskResult,
        body: Bytes,
    ) -> Result<Storing, StoreError> {
        self.store(self.result_message(result, body), Expect::First)
            .await
    }

    pub(crate) fn result_message(&self, result: &TaskResult, body: Bytes) -> Message {
        Message {
            subject: self.subjects().result(&result.id),
            headers: result.to_headers(),
            payload: body,
        }
    }
}
