//! Storing tasks where they end: among the dead letters and the results.

use bytes::Bytes;
use rota_wire::headers::{REASON, WORKER};
use rota_wire::result::TaskResult;
use rota_wire::{TaskSpec, WorkerId};

use crate::connect::Bus;
use crate::message::Message;
use crate::store::{Expect, StoreError, Storing};

impl Bus {
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
