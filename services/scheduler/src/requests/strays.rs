//! Strays: messages that lie in a lane and are brought to nobody.
//!
//! Most are settled and were not deleted when the server died or its disk was full: their tasks have a result, or a
//! later attempt in the schedule, and they are deleted. One whose task has neither is put at the end of its lane, so
//! that nothing is lost whatever the server has forgotten.

use rota_bus::{Bus, Found, Freshness, LaneError, LookUpError, StoreError, Stray};
use rota_wire::{Lane, Recheck, Span, TaskSpec};
use tracing::{info, warn};

use super::Answer;

/// A message is not called a stray before this.
const AGE_MIN: Span = Span::from_secs(10);
/// Strays settled at a time.
const STRAYS_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
enum StrayError {
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Default)]
struct Settled {
    deleted: u32,
    requeued: u32,
}

pub(super) async fn settle(bus: &Bus, lane: Lane) -> Answer {
    let mut settled = Settled::default();
    let ended = settle_some(bus, &lane, &mut settled).await;
    let Settled { deleted, requeued } = settled;
    if deleted + requeued > 0 {
        info!(%lane, deleted, requeued, "messages lay in a lane that nobody brought");
    }
    if let Err(error) = ended {
        warn!(%lane, error = %rota_service::chain(&error), "a lane is not looked through for strays");
    }
    Answer::Done
}

async fn settle_some(bus: &Bus, lane: &Lane, settled: &mut Settled) -> Result<(), StrayError> {
    let mut from = 1;
    for _ in 0..STRAYS_MAX {
        let Some(stray) = bus.lane_stray(lane, from, AGE_MIN).await? else {
            break;
        };
        from = stray.seq + 1;
        // What cannot be read is left to whoever can.
        if let Ok(task) = TaskSpec::from_ready(&lane.kind, &stray.headers) {
            settle_one(bus, lane, &stray, task, settled).await?;
        }
    }
    Ok(())
}

async fn settle_one(
    bus: &Bus,
    lane: &Lane,
    stray: &Stray,
    mut task: TaskSpec,
    settled: &mut Settled,
) -> Result<(), StrayError> {
    let found = bus
        .look_up(std::slice::from_ref(&task.id), Freshness::Latest)
        .await?;
    match found.first() {
        None | Some(Found::Unanswered) => return Ok(()),
        Some(Found::Result) => settled.deleted += 1,
        Some(Found::Scheduled { attempt }) if *attempt > task.attempt => settled.deleted += 1,
        Some(Found::Scheduled { .. } | Found::Foreign | Found::Nothing) => {
            task.recheck = Recheck::MayHaveRun;
            bus.requeue_stray(lane, stray, task.to_headers()).await?;
            settled.requeued += 1;
        }
    }
    Ok(bus.delete_stray(stray).await?)
}
