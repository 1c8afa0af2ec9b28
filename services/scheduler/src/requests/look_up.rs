//! Looking up what became of tasks that may have run before: many in one request.

use std::sync::Arc;

use rota_bus::{Bus, Found};
use rota_scheduler_core::{Event, Freshness, Looked};
use rota_wire::{TaskId, TaskSpec};
use tracing::warn;

use super::Answer;

/// The most tasks in one look-up.
pub(crate) const LOOK_UP_MAX: usize = 256;

pub(super) async fn ask(bus: &Bus, tasks: &[(u64, Arc<TaskSpec>)], freshness: Freshness) -> Answer {
    let ids: Vec<TaskId> = tasks.iter().map(|(_, task)| task.id.clone()).collect();
    let freshness = match freshness {
        Freshness::AnyCopy => rota_bus::Freshness::AnyCopy,
        Freshness::Latest => rota_bus::Freshness::Latest,
    };
    let found = match bus.look_up(&ids, freshness).await {
        Ok(found) => found,
        Err(error) => {
            let tasks = ids.len();
            warn!(tasks, error = %rota_service::chain(&error), "a look-up failed, trying again");
            vec![Found::Unanswered; ids.len()]
        }
    };
    let events = tasks
        .iter()
        .zip(found)
        .map(|((seq, _), found)| Event::Looked {
            seq: *seq,
            found: looked(found),
        });
    Answer::Events(events.collect())
}

/// What somebody else wrote where the result belongs is no result; whoever stores the true one replaces it.
fn looked(found: Found) -> Looked {
    match found {
        Found::Result => Looked::Result,
        Found::Scheduled { attempt } => Looked::Scheduled { attempt },
        Found::Nothing | Found::Foreign => Looked::Nothing,
        Found::Unanswered => Looked::Unanswered,
    }
}
