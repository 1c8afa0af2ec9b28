//! Requests about lanes: which there are, opening and closing them.

use futures_util::future::join_all;
use rota_bus::{Bus, Closed};
use rota_scheduler_core::Event;
use rota_wire::{Kind, Lane};
use tracing::{debug, warn};

use super::{Answer, Request};

/// Recovery rests on this list, so it is asked for until it is had.
pub(super) async fn list(bus: &Bus) -> Answer {
    match bus.existing_lanes().await {
        Ok(lanes) => Answer::LanesListed(lanes),
        Err(error) => {
            warn!(error = %rota_service::chain(&error), "the lanes of earlier terms are not known, trying again");
            Answer::Again(Request::ListLanes)
        }
    }
}

/// What is not found now is found at the next look.
pub(super) async fn find(bus: &Bus, kind: Kind) -> Answer {
    match bus.lanes_of(&kind).await {
        Ok(lanes) => {
            let found = lanes.into_iter().map(|lane| Event::LaneFound { lane });
            Answer::Events(found.collect())
        }
        Err(error) => {
            warn!(%kind, error = %rota_service::chain(&error), "the lanes of a kind are not known, trying again");
            Answer::Done
        }
    }
}

pub(super) async fn open(bus: &Bus, lane: Lane) -> Answer {
    match bus.open_lane(&lane).await {
        Ok(opened) => Answer::LaneOpened(lane, opened),
        Err(error) => {
            warn!(%lane, error = %rota_service::chain(&error), "the lane is not open yet, trying again");
            Answer::Event(Event::LaneNotOpened { lane })
        }
    }
}

pub(super) async fn close(bus: &Bus, lane: Lane) -> Answer {
    match bus.close_lane(&lane).await {
        Ok(Closed::Yes) => Answer::LaneClosed(lane),
        Ok(Closed::InUse) => Answer::Event(Event::LaneKept { lane }),
        Err(error) => {
            warn!(%lane, error = %rota_service::chain(&error), "the lane is not closed");
            Answer::Event(Event::LaneKept { lane })
        }
    }
}

/// What is not known now is known at the next count.
pub(super) async fn count_unacked(bus: &Bus, lanes: Vec<(Lane, u64)>) -> Answer {
    let counts = lanes
        .into_iter()
        .map(async |(lane, known)| match bus.lane_unacked(&lane).await {
            Ok(counted) => Some((lane, known, counted?)),
            Err(error) => {
                let error = rota_service::chain(&error);
                debug!(%lane, %error, "a lane's un-acked messages are not counted");
                None
            }
        });
    Answer::Unacked(join_all(counts).await.into_iter().flatten().collect())
}
