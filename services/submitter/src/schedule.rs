//! Whether submissions are taken at all: not while too much waits in the schedule.
//!
//! ```text
//! not counted yet ──► open ──more than the limit──► closed
//!                      ▲ ──────no more than it──────┘
//! ```
//!
//! The server cannot bound the schedule's stream: one with message schedules refuses nothing, it can only drop. So
//! the door is closed instead. Each retry belongs to a task that was let in, so the schedule outgrows the limit by
//! no more than what is in ROTA_READY, which is bounded, and with workers. What falls due is let pass in any case:
//! else nothing would ever get shorter.
//!
//! What must hold: the server is asked at most once a second; and while it does not answer, its last answer holds.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rota_bus::Bus;
use rota_service::chain;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

/// Between two counts.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Counts what is in the schedule and says whether submissions are taken.
pub(crate) struct ScheduleGate {
    bus: Bus,
    messages_max: u64,
    state: State,
    counting: BoxFuture<'static, Option<u64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is known yet.
    Uncounted,
    /// There is room.
    Open,
    /// There is none, since then.
    Closed { since: Instant },
}

impl ScheduleGate {
    /// A gate that lets in nothing until it has counted, or could not.
    pub(crate) fn new(bus: Bus, messages_max: u64) -> Self {
        let counting = count(bus.clone(), Instant::now());
        Self {
            bus,
            messages_max,
            state: State::Uncounted,
            counting,
        }
    }

    /// Whether submissions are taken.
    pub(crate) const fn is_open(&self) -> bool {
        match self.state {
            State::Open => true,
            State::Uncounted | State::Closed { .. } => false,
        }
    }

    /// Waits for the next count, and says so when it opens or closes the gate. Safe to cancel.
    pub(crate) async fn turn(&mut self) {
        let counted = (&mut self.counting).await;
        let now = Instant::now();
        self.counting = count(self.bus.clone(), now + COUNT_EVERY);
        let before = self.state;
        self.state = before.after(counted, self.messages_max, now);
        let (scheduled, schedule_max) = (counted, self.messages_max);
        match (before, self.state) {
            (State::Uncounted | State::Open, State::Closed { .. }) => warn!(
                scheduled,
                schedule_max, "taking no new submissions: too many retries wait in the schedule"
            ),
            (State::Closed { since }, State::Open) => {
                let elapsed_ms = now.duration_since(since).as_millis();
                info!(
                    scheduled,
                    schedule_max, elapsed_ms, "taking submissions again"
                );
            }
            (State::Uncounted | State::Open, State::Uncounted | State::Open)
            | (State::Closed { .. }, State::Uncounted | State::Closed { .. }) => {}
        }
    }
}

impl fmt::Debug for ScheduleGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduleGate")
            .field("messages_max", &self.messages_max)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl State {
    /// After a count; nothing when the server did not tell.
    fn after(self, counted: Option<u64>, messages_max: u64, now: Instant) -> Self {
        match (self, counted) {
            (State::Uncounted, None) => State::Open,
            (State::Open | State::Closed { .. }, None) => self,
            (_, Some(messages)) if messages <= messages_max => State::Open,
            (State::Closed { .. }, Some(_)) => self,
            (State::Uncounted | State::Open, Some(_)) => State::Closed { since: now },
        }
    }
}

/// Counts; nothing when the server does not tell. Within the time limit of each question.
fn count(bus: Bus, at: Instant) -> BoxFuture<'static, Option<u64>> {
    async move {
        sleep_until(at).await;
        let counted = bus.count_scheduled().await;
        counted
            .inspect_err(|error| debug!(error = %chain(error), "the schedule was not counted"))
            .ok()
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 3;

    fn after(state: State, counted: Option<u64>, now: Instant) -> State {
        state.after(counted, MAX, now)
    }

    #[test]
    fn it_is_closed_while_there_is_more_than_the_limit() {
        let start = Instant::now();
        let closed = State::Closed { since: start };
        let later = start + COUNT_EVERY;
        assert_eq!(after(State::Uncounted, Some(MAX), start), State::Open);
        assert_eq!(after(State::Uncounted, Some(MAX + 1), start), closed);
        assert_eq!(after(State::Open, Some(MAX + 1), start), closed);
        assert_eq!(after(closed, Some(MAX + 2), later), closed, "once");
        assert_eq!(after(closed, Some(MAX), later), State::Open);
    }

    #[test]
    fn without_an_answer_the_last_one_holds_and_without_any_it_is_open() {
        let now = Instant::now();
        let closed = State::Closed { since: now };
        assert_eq!(after(closed, None, now + COUNT_EVERY), closed);
        assert_eq!(after(State::Open, None, now), State::Open);
        assert_eq!(after(State::Uncounted, None, now), State::Open);
    }
}
