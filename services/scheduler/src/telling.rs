//! The core's reasons as log lines: changes of the fleet at info, single tasks at debug, what a person
//! should look at as warnings.

use rota_wire::event::Event;
use tracing::{debug, info, warn};

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
        Event::Counted(_) => {}
    }
}
