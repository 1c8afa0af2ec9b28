//! Strays: messages that lie in a lane and are brought to nobody.
//!
//! Most are settled and were not deleted when the server died or its disk was full: their tasks have a result, or a
//! later attempt in the schedule, and they are deleted. One whose task has neither is put at the end of its lane, so
//! that nothing is lost whatever the server has forgotten.
//!
//! What must hold: a stray is settled only after the core was told that its message is gone. Else the core would take
//! the one that is put at the end of the lane for a copy of it, and wait for what was deleted.

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

/// Looks through a lane at rest.
pub(super) async fn find(bus: &Bus, lane: Lane) -> Answer {
    let mut found = Vec::new();
    if let Err(error) = find_some(bus, &lane, &mut found).await {
        warn!(%lane, error = %rota_service::chain(&error), "a lane is not looked through for strays");
    }
    Answer::StraysFound(lane, found)
}

async fn find_some(bus: &Bus, lane: &Lane, found: &mut Vec<u64>) -> Result<(), LaneError> {
    let mut from = 1;
    for _ in 0..STRAYS_MAX {
        let Some(stray) = bus.lane_stray(lane, from, AGE_MIN).await? else {
            break;
        };
        from = stray.seq + 1;
        found.push(stray.seq);
    }
    Ok(())
}

pub(super) async fn settle(bus: &Bus, lane: Lane, seq: u64) -> Answer {
    match settle_one(bus, &lane, seq).await {
        Ok(Some(what)) => info!(%lane, seq, "a message lay in a lane that nobody brought: {what}"),
        Ok(None) => {}
        Err(error) => {
            let error = rota_service::chain(&error);
            warn!(%lane, seq, %error, "a message that nobody brings is not settled yet");
        }
    }
    Answer::Done
}

async fn settle_one(bus: &Bus, lane: &Lane, seq: u64) -> Result<Option<&'static str>, StrayError> {
    let found = bus.lane_message(lane, seq).await?;
    let Some(stray) = found.filter(|found| found.seq == seq) else {
        return Ok(None);
    };
    // What cannot be read is left to whoever can.
    let Ok(task) = TaskSpec::from_ready(&lane.kind, &stray.headers) else {
        return Ok(None);
    };
    let known = bus
        .look_up(std::slice::from_ref(&task.id), Freshness::Latest)
        .await?;
    let what = match known.first() {
        None | Some(Found::Unanswered) => return Ok(None),
        Some(Found::Result) => "its task is over",
        Some(Found::Scheduled { attempt }) if *attempt > task.attempt => "a later attempt waits",
        Some(Found::Scheduled { .. } | Found::Foreign | Found::Nothing) => {
            requeue(bus, lane, &stray, task).await?;
            "it is put at the end"
        }
    };
    bus.delete_stray(&stray).await?;
    Ok(Some(what))
}

async fn requeue(
    bus: &Bus,
    lane: &Lane,
    stray: &Stray,
    mut task: TaskSpec,
) -> Result<(), StoreError> {
    task.recheck = Recheck::MayHaveRun;
    bus.requeue_stray(lane, stray, task.to_headers()).await
}
