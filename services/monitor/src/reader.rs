//! Reads the state of streams and lanes once each interval, apart from the watcher, which a slow
//! server must not hold up.
//!
//! What must hold: a reading ends in time whatever the server does, and what it could not find out is
//! absent from it, never zero.

use std::convert::Infallible;
use std::time::Duration;

use rota_bus::{Bus, InspectError, StreamName, StreamState};
use rota_service::chain;
use rota_wire::{Micros, Span};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::view::{Backlog, Kept, Reading, Room};

/// For all lanes together; each single question has the bus's own limit.
const LANES_LIMIT: Duration = Duration::from_secs(10);

/// Sends a reading at once and then at each interval, until told to stop.
pub(crate) async fn run(
    bus: Bus,
    every: Span,
    readings: mpsc::Sender<Reading>,
    draining: CancellationToken,
) -> Result<(), Infallible> {
    let reading = async {
        let mut pace = tokio::time::interval(every.duration());
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            if readings.send(Box::pin(read(&bus)).await).await.is_err() {
                return;
            }
        }
    };
    draining.run_until_cancelled(reading).await;
    Ok(())
}

async fn read(bus: &Bus) -> Reading {
    // Without a connection each question would only wait for its limit.
    if !bus.link().borrow().up {
        return Reading::default();
    }
    let (intake, ready, results, lanes) = tokio::join!(
        bus.stream_state(StreamName::Intake),
        bus.stream_state(StreamName::Ready),
        bus.stream_state(StreamName::Results),
        tokio::time::timeout(LANES_LIMIT, bus.lane_states()),
    );
    let lanes = match lanes {
        Ok(lanes) => told(lanes),
        Err(_) => {
            warn!(
                limit_ms = LANES_LIMIT.as_millis(),
                "reading the lanes takes too long"
            );
            None
        }
    };
    let (intake, results) = (told(intake), told(results));
    let now = bus.server_now().await;
    Reading {
        submitted_ever: intake.map(|state| state.last_sequence),
        at_the_door: intake.map(|state| state.messages),
        unsettled: told(ready).map(|state| state.messages),
        finished_ever: results.map(|state| state.last_sequence),
        kept: results.and_then(|state| kept(&state, now)),
        backlog: lanes.map(|lanes| Backlog::new(&lanes, now)),
    }
}

/// Nothing when there are no results, or they are kept for ever.
fn kept(results: &StreamState, now: Micros) -> Option<Kept> {
    let room = |used, max| Room { used, max };
    Some(Kept {
        messages: room(results.messages, results.messages_max),
        bytes: room(results.bytes, results.bytes_max),
        oldest: now.since(results.oldest?),
        promised: results.age_max?,
    })
}

fn told<T>(answer: Result<T, InspectError>) -> Option<T> {
    answer
        .inspect_err(|error| warn!(error = %chain(error), "a figure is missing"))
        .ok()
}
