//! Storing tasks where they go: the schedule, the dead letters, the results.

use bytes::Bytes;
use rota_wire::headers::{REASON, WORKER};
use rota_wire::result::TaskResult;
use rota_wire::{Micros, TaskSpec, WorkerId};

use crate::connect::Bus;
use crate::message::Message;
use crate::store::{Expect, StoreError, Storing};

/// The server's own headers for a message that is published later.
const SCHEDULE: &str = "Nats-Schedule";
const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";

impl Bus {
    /// Puts a task into the schedule: at `due` the server itself puts it where the submitter finds it.
    /// A retry that the task has there already is replaced.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot even be sent.
    pub async fn store_retry(
        &self,
        task: &TaskSpec,
        input: Bytes,
        due: Micros,
    ) -> Result<Storing, StoreError> {
        let mut headers = task.to_headers();
        headers.push(SCHEDULE, format!("@at {due}"));
        headers.push(
            SCHEDULE_TARGET,
            self.subjects().due(&task.lane()).to_string(),
        );
        let subject = self.subjects().retry(&task.id);
        self.store(
            Message {
                subject,
                headers,
                payload: input,
            },
            Expect::Nothing,
        )
        .await
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
        let subject = self.subjects().dead(&task.kind);
        let expect = Expect::NewId(format!("{seq}:{}", task.id));
        self.store(
            Message {
                subject,
                headers,
                payload: input,
            },
            expect,
        )
        .await
    }

    /// Stores the result of a task. The first one wins: for any other the answer is
    /// [`StoreError::NotFirst`].
    ///
    /// # Errors
    /// [`StoreError`] when it cannot even be sent.
    pub async fn store_result(
        &self,
        result: &TaskResult,
        body: Bytes,
    ) -> Result<Storing, StoreError> {
        let subject = self.subjects().result(&result.id);
        let headers = result.to_headers();
        self.store(
            Message {
                subject,
                headers,
                payload: body,
            },
            Expect::First,
        )
        .await
    }
}
