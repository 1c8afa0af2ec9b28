//! Whom the scheduler tells: the log, ROTA_EVENTS, the record.
//!
//! In the log: changes of the fleet at info, single tasks at debug, what a person should look at as warnings.

use std::sync::Arc;
use std::time::Duration;

use rota_bus::EventSender;
use rota_wire::event::Event;
use rota_wire::{Span, TaskSpec};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::recorder::Recorder;

/// That tasks are left out of the record is told at most once in this time.
const LEFT_OUT_EVERY: Duration = Duration::from_secs(10);

/// Where events and completed tasks go.
#[derive(Debug, Clone)]
pub(crate) struct Outlets {
    events: EventSender,
    recorder: Option<Recorder>,
    left_out: u64,
    told: Option<Instant>,
}

impl Outlets {
    pub(crate) const fn new(events: EventSender, recorder: Option<Recorder>) -> Self {
        Self {
            events,
            recorder,
            left_out: 0,
            told: None,
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        self.events.tell(event);
    }

    /// Writes a completed task down, if that is wanted and there is room.
    pub(crate) fn record(&mut self, task: Arc<TaskSpec>, ran: Span) {
        let Some(recorder) = &self.recorder else {
            return;
        };
        if recorder.note(task, ran).is_ok() {
            return;
        }
        self.left_out += 1;
        if self
            .told
            .is_none_or(|told| told.elapsed() >= LEFT_OUT_EVERY)
        {
            warn!(
                left_out = self.left_out,
                "tasks are missing in the record: the disk is too slow"
            );
            self.told = Some(Instant::now());
        }
    }
}

pub(crate) fn log(event: &Event) {
    match event {
        Event::Leading { term } => debug!(%term, "calling the roll"),
        Event::Recovered { term, adopted } => info!(%term, adopted, "roll called, assigning"),
        Event::WorkerJoined {
            worker,
            slots,
            kinds,
        } => {
            let kinds = kinds.len();
            info!(%worker, slots, kinds, "worker joined");
        }
        Event::WorkerDraining { worker, holding } => info!(%worker, holding, "worker draining"),
        Event::WorkerLeft { worker } => info!(%worker, "worker left"),
        Event::WorkerLost {
            worker,
            silent,
            holding,
        } => {
            warn!(%worker, silent_ms = silent.ms(), holding, "worker lost");
        }
        Event::Redelivered {
            task,
            kind,
            worker,
            cause,
        } => {
            debug!(%task, %kind, %worker, cause = cause.as_str(), "redelivered");
        }
        Event::Retrying {
            task,
            kind,
            attempt,
            wait,
            reason,
        } => {
            debug!(%task, %kind, attempt, wait_ms = wait.ms(), reason, "attempt failed, retrying");
        }
        Event::DeadLettered {
            task,
            kind,
            attempts,
            reason,
        } => {
            warn!(%task, %kind, attempts, reason, "task failed for good: a dead letter");
        }
        Event::Rejected { task, reason } => debug!(%task, reason, "submission rejected"),
        Event::Duplicate { task } => debug!(%task, "has its result or is here already, not run"),
        Event::WorkerDied { worker, holding } => warn!(%worker, holding, "worker died"),
        Event::WorkerReturned { worker } => info!(%worker, "worker is there again"),
        Event::KindWithdrawn {
            worker,
            kind,
            reason,
        } => warn!(%worker, %kind, reason, "worker cannot run a kind any more"),
        Event::Reserved { task, kind, worker } => {
            info!(%task, %kind, %worker, "has waited long: a worker is kept for it");
        }
        Event::Counted(_) => {}
    }
}
