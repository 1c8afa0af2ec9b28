//! Storing what settles a task: its retry, or its dead letter and its result.
//!
//! The message is read again from ROTA_READY for its input. One that is not there any more, because somebody purged
//! it, has nothing left to settle: the task is taken off the books and not tried for ever.

use bytes::Bytes;
use rota_bus::{Bus, Expect, LaneError, Message, Pulled, StoreError, StoredRetry};
use rota_scheduler_core::Event;
use rota_wire::headers::REASON;
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Headers, Lane, Micros, Span, TaskId, TaskSpec};
use tracing::warn;

use super::{Answer, DeadLetter, Request};

/// Why a retry or a dead letter is not stored.
#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error("the task's message cannot be read")]
    Read(#[from] LaneError),
    #[error("the message is not stored")]
    Store(#[from] StoreError),
}

/// What became of it.
enum Settled {
    Stored,
    /// The message is not in the stream any more.
    Gone,
}

pub(super) async fn store_retry(bus: &Bus, seq: u64, task: &TaskSpec, wait: Span) -> Answer {
    let storing = async {
        let Some(Pulled { payload, .. }) = bus.ready_message(seq).await? else {
            return Ok(Settled::Gone);
        };
        Ok(match bus.store_retry(task, payload, wait).await? {
            // What lies there already carries the task on.
            StoredRetry::New | StoredRetry::Already { .. } => Settled::Stored,
        })
    };
    settled(seq, &task.id, storing.await)
}

pub(super) async fn store_dead_letter(bus: &Bus, letter: DeadLetter) -> Answer {
    let (seq, task) = (letter.seq, letter.task.id.clone());
    settled(seq, &task, bury(bus, letter).await)
}

/// The letter first, the result after it: a task that has its result is not looked at again.
async fn bury(bus: &Bus, letter: DeadLetter) -> Result<Settled, SettleError> {
    let DeadLetter {
        seq,
        task,
        reason,
        worker,
        failure,
        run,
    } = letter;
    let Some(Pulled { payload, .. }) = bus.ready_message(seq).await? else {
        return Ok(Settled::Gone);
    };
    bus.store_dead(seq, &task, payload, &reason, worker.as_ref())
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
        reason: Some(reason),
        submitted: Some(task.submitted),
        started: failure.as_ref().map(|failure| failure.started),
        finished: failure
            .as_ref()
            .map_or_else(Micros::now, |failure| failure.finished),
        ran: run.ran,
        estimate: run.estimate,
        traceparent: task.options.traceparent.clone(),
    };
    let body = failure.map_or_else(Bytes::new, |failure| failure.stderr_tail.into());
    // Another result may have been first: the task is settled all the same.
    bus.settle_result(&result, body).await?;
    Ok(Settled::Stored)
}

fn settled(seq: u64, task: &TaskId, stored: Result<Settled, SettleError>) -> Answer {
    Answer::Event(match stored {
        Ok(Settled::Stored) => Event::Stored { seq },
        Ok(Settled::Gone) => {
            warn!(%task, seq, "the task's message is not in its lane any more: it was purged");
            Event::Gone { seq }
        }
        Err(error) => {
            let error = rota_service::chain(&error);
            warn!(%task, seq, %error, "the task is not settled yet, trying again");
            Event::StoreFailed { seq }
        }
    })
}

/// Keeps what nobody can run where an operator finds it, and tells whoever waits for it.
pub(super) async fn store_malformed(bus: &Bus, seq: u64, lane: Lane, reason: String) -> Answer {
    match keep_malformed(bus, seq, &lane, &reason).await {
        Ok(()) => Answer::Discarded(seq),
        Err(error) => {
            let error = rota_service::chain(&error);
            warn!(%lane, seq, %error, "a message that Rota did not write is not put away yet");
            Answer::Again(Request::StoreMalformed { seq, lane, reason })
        }
    }
}

async fn keep_malformed(bus: &Bus, seq: u64, lane: &Lane, reason: &str) -> Result<(), SettleError> {
    let Some(Pulled { headers, payload }) = bus.ready_message(seq).await? else {
        return Ok(());
    };
    let id = TaskSpec::id_in(&headers);
    let mut kept: Headers = headers
        .iter()
        .filter(|(name, _)| !is_the_servers(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    kept.push(REASON, reason);
    let letter = Message {
        subject: bus.subjects().dead(&lane.kind),
        headers: kept,
        payload,
    };
    let expect = Expect::NewId(format!("{seq}:malformed"));
    bus.store(letter, expect).await?.done().await?;
    let Some(id) = id else {
        return Ok(());
    };
    let result = TaskResult {
        id,
        state: FinalState::Failed,
        kind: lane.kind.to_string(),
        attempts: 0,
        worker: None,
        exit: None,
        reason: Some(reason.to_owned()),
        submitted: None,
        started: None,
        finished: Micros::now(),
        ran: None,
        estimate: None,
        traceparent: None,
    };
    bus.settle_result(&result, Bytes::new()).await?;
    Ok(())
}

/// Headers that would make the server do something with the copy.
fn is_the_servers(name: &str) -> bool {
    name.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("nats-"))
}
