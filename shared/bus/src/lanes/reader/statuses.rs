//! What ends a pull: the server's statuses, a change of leader, and silence.
//!
//! | the server says | that means |
//! |---|---|
//! | 404, 408 Request Timeout | there was nothing left |
//! | 409 Batch Completed | all has come |
//! | 409 Message Size Exceeds MaxBytes | the next message needs another pull |
//! | 409 Consumer Deleted, 409 Leadership Change | the lane is to be opened again |
//! | 503 | nobody answers for it: it is to be opened again, once it can be |
//! | anything else | nothing is known: it is cut |
//!
//! When another server begins to answer for a lane, what the old one had on its way is lost: deliveries, which
//! nobody would miss for a day, and acks. Opened again, the lane hands out all that is not acked once more.

use std::time::Duration;

use async_nats::Message as ClientMessage;
use tracing::debug;

use super::{LaneEvent, LaneReader, PullEnd};
use crate::lanes::budget::Pace;
use crate::lanes::consumers::lane_of_consumer;
use crate::lanes::pulls::Left;

/// How long a lane is not asked after the server was in no order to answer for it.
const REST: Duration = Duration::from_millis(250);
/// After a grant that brought nothing, the next is so many times as large, and at least so large.
const GROWTH: usize = 8;
const GRANT_AFTER_NONE: usize = 64 * 1024;

/// A status, read.
enum Meaning {
    Nothing,
    /// It has brought all that it could.
    Exhausted,
    Deleted,
    /// Who answered for the lane does not any more.
    Changed,
    /// The server cannot serve it now.
    OutOfOrder,
}

/// Where the servers of a cluster tell that a consumer of a stream has a new leader.
pub(super) fn elections(stream: &str) -> String {
    format!("$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.{stream}.*")
}

impl LaneReader {
    /// A status, which ends a pull.
    pub(super) fn read_status(&mut self, message: &ClientMessage) {
        let Some((index, number)) = address(&message.subject) else {
            return;
        };
        let Some(open) = self
            .open
            .get_mut(&index)
            .filter(|o| o.pulls.is_open(number))
        else {
            return;
        };
        let status = message.status.map_or(0, |status| status.as_u16());
        let description = message.description.as_deref().unwrap_or_default();
        debug!(lane = %open.lane, status, description, "a pull ended");
        match meaning(status, description) {
            Meaning::Nothing => {
                let held = open.pulls.held();
                let unused = open.pulls.nothing_left(number, left(message));
                self.budget.adjust(held, open.pulls.held());
                open.pace = Pace::Idle;
                self.tell_unused(index, unused.unwrap_or(0), PullEnd::Nothing);
            }
            Meaning::Exhausted => self.exhausted(index, number, left(message).unwrap_or_default()),
            Meaning::Deleted => self.gone(index),
            Meaning::Changed => {
                self.cut(index);
                self.gone(index);
            }
            Meaning::OutOfOrder => {
                self.cut(index);
                self.rest(index, REST);
                self.check(index);
            }
        }
    }

    /// The pull's bytes are used up, or its messages have all come.
    fn exhausted(&mut self, index: usize, number: u64, left: Left) {
        let largest = self.message_max;
        let Some(open) = self.open.get_mut(&index) else {
            return;
        };
        let held = open.pulls.held();
        let pull = open.pulls.exhausted(number, left);
        self.budget.adjust(held, open.pulls.held());
        // It was large enough for some, and brought none: the next message is larger than all of it.
        if let Some(pull) = pull
            && left.messages == pull.count
        {
            open.least = (pull.bytes * GROWTH).max(GRANT_AFTER_NONE).min(largest);
            if pull.bytes >= largest {
                self.rest(index, REST);
            }
            self.met_large_input(index, pull.bytes);
        }
        self.enqueue(index);
    }

    /// Nothing is known of the pulls of a lane any more.
    pub(super) fn cut(&mut self, index: usize) {
        if let Some(open) = self.open.get_mut(&index) {
            let held = open.pulls.held();
            let unused = open.pulls.cut();
            self.budget.adjust(held, 0);
            self.tell_unused(index, unused, PullEnd::Cut);
        }
    }

    /// A lane's consumer is not there any more, or not where it was.
    pub(super) fn gone(&mut self, index: usize) {
        if let Some(open) = self.open.get(&index) {
            let lane = open.lane.clone();
            self.remove(&lane);
            self.told.push_back(LaneEvent::Gone { lane });
        }
    }

    /// A consumer has a new leader, which knows nothing of the pulls that the old one had.
    pub(super) fn elected(&mut self, message: &ClientMessage) {
        let consumer = message.subject.rsplit('.').next().unwrap_or_default();
        let lane = lane_of_consumer(consumer);
        if let Some(&index) = lane.and_then(|lane| self.lanes.get(&lane)) {
            debug!(consumer, "a lane has a new leader among the servers");
            self.cut(index);
            self.gone(index);
        }
    }

    fn tell_unused(&mut self, index: usize, unused: u32, end: PullEnd) {
        if unused > 0
            && let Some(open) = self.open.get(&index)
        {
            let lane = open.lane.clone();
            self.told
                .push_back(LaneEvent::PullEnded { lane, unused, end });
        }
    }
}

/// The lane and the pull in the subject of a status.
fn address(subject: &str) -> Option<(usize, u64)> {
    let mut tokens = subject.rsplit('.');
    let number = tokens.next()?.parse().ok()?;
    let index = tokens.next()?.parse().ok()?;
    Some((index, number))
}

fn meaning(status: u16, description: &str) -> Meaning {
    match status {
        404 => Meaning::Nothing,
        408 if description == "Request Timeout" => Meaning::Nothing,
        409 if description == "Batch Completed" => Meaning::Exhausted,
        409 if description == "Message Size Exceeds MaxBytes" => Meaning::Exhausted,
        409 if description == "Consumer Deleted" => Meaning::Deleted,
        409 if description == "Leadership Change" => Meaning::Changed,
        _ => Meaning::OutOfOrder,
    }
}

/// What a pull might still have brought, if its end tells.
fn left(message: &ClientMessage) -> Option<Left> {
    let headers = message.headers.as_ref()?;
    let number = |name| headers.get(name)?.as_str().parse::<u64>().ok();
    Some(Left {
        messages: u32::try_from(number("Nats-Pending-Messages")?).ok()?,
        bytes: usize::try_from(number("Nats-Pending-Bytes")?).ok()?,
    })
}
