//! Fetching an input that did not come with its assignment.
//!
//! What must hold: it ends in bounded time, so that the slot is not lost; and nothing is run with the input
//! of another task.

use std::time::Duration;

use bytes::Bytes;
use rota_bus::Bus;
use rota_service::chain;
use rota_wire::dispatch::{Assignment, Input};
use tokio::time::sleep;
use tracing::debug;

use super::AttemptEnd;
use crate::attempt::control::AttemptControl;

/// The pauses before another try. Each try may take as long as the server is given to answer.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1500),
    Duration::from_secs(4),
];
/// Before a task is handed back whose message is gone. Most often it is settled and about to be revoked; if
/// the scheduler does not know that, it must not hand the task out again and again without a pause.
const GONE_PAUSE: Duration = Duration::from_secs(1);

/// The input of an assignment, or how it ends without one.
pub(super) async fn input_of(
    assignment: &Assignment,
    bus: &Bus,
    control: &AttemptControl,
) -> Result<Bytes, AttemptEnd> {
    match &assignment.input {
        Input::Inline(input) => Ok(input.clone()),
        Input::InStream { .. } => {
            tokio::select! {
                biased;
                () = control.stopped() => Err(AttemptEnd::Stopped),
                input = Box::pin(fetched(assignment, bus)) => input.map_err(|reason| AttemptEnd::Returned { reason }),
            }
        }
    }
}

async fn fetched(assignment: &Assignment, bus: &Bus) -> Result<Bytes, String> {
    let (task, seq) = (&assignment.id, assignment.holding.delivery.seq);
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match bus.ready_input(seq, task).await {
            Ok(Some(input)) => return Ok(input),
            Ok(None) => {
                sleep(GONE_PAUSE).await;
                return Err(format!("message {seq} is not in ROTA_READY any more"));
            }
            Err(error) => error,
        };
        let error = chain(&error).to_string();
        let Some(pause) = pauses.next() else {
            return Err(format!("the input could not be fetched: {error}"));
        };
        debug!(%task, seq, %error, "input not fetched yet, trying again");
        sleep(pause).await;
    }
}
