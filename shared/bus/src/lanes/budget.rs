//! One budget of bytes for all that the server may send at a time: more than a connection's buffer on the
//! server holds would have the connection cut.
//!
//! A pull is granted what its messages are likely to need. A lane in which messages flow gets up to its share of
//! the budget; one that is idle gets little, for what it was granted no other can use. Lanes for which nothing
//! was left wait in a queue, and none passes the first of it.
//!
//! What must hold: the sum of what is granted and has not come is at most the budget, or what the largest
//! message needs.

use std::collections::VecDeque;

/// Bytes that may be on their way at a time.
const BUDGET_BYTES: usize = 24 * 1024 * 1024;
/// A lane's share is reckoned as if there were at least so many.
const LANES_MIN: usize = 16;
/// Less is granted only to who needs no more.
const GRANT_MIN: usize = 4 * 1024;
/// An idle lane is granted no more, unless one message needs more.
const IDLE_GRANT_MAX: usize = 32 * 1024;
/// An idle lane is granted such a part of what is free beyond one half.
const IDLE_PART: usize = 64;
/// What a message of unknown size is taken for.
const UNKNOWN_BYTES: usize = 1024;

/// What a lane would need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// Messages that it wants.
    pub(super) count: u32,
    /// The mean size of its messages, if it is known.
    pub(super) mean: Option<usize>,
    /// A grant below this is known to bring nothing.
    pub(super) least: usize,
    /// What it was granted and has not come.
    pub(super) held: usize,
    /// Whether messages flow in it.
    pub(super) pace: Pace,
}

/// Whether messages flow in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It has brought one since it was last empty.
    Flowing,
    /// It was empty when last looked at, or nobody has looked.
    Idle,
}

/// What a pull may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) count: u32,
    pub(super) bytes: usize,
}

impl Grant {
    /// Whether others may have to wait because of it.
    pub(super) const fn is_large(self) -> bool {
        self.bytes > IDLE_GRANT_MAX
    }
}

/// The budget.
#[derive(Debug)]
pub(super) struct Budget {
    total: usize,
    held: usize,
    queue: VecDeque<usize>,
}

impl Budget {
    /// A budget for messages of at most so many bytes.
    pub(super) fn new(message_max: usize) -> Self {
        Self {
            total: BUDGET_BYTES.max(message_max),
            held: 0,
            queue: VecDeque::new(),
        }
    }

    /// What is granted and has not come.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// A lane holds so much now instead of so much before.
    pub(super) fn adjust(&mut self, before: usize, after: usize) {
        self.held = (self.held + after).saturating_sub(before);
    }

    /// What a lane may have now, when there are so many lanes; nothing while there is not enough.
    pub(super) fn grant(&self, need: Need, lanes: usize) -> Option<Grant> {
        // Twice the mean, so that most pulls end with their last message.
        let each = 2 * need.mean.unwrap_or(UNKNOWN_BYTES).max(1);
        let least = need.least.max(each).min(self.total);
        let likely = (need.count as usize).saturating_mul(each).max(least);
        let least = least.max(likely.min(GRANT_MIN));
        let free = self.total.saturating_sub(self.held);
        let share = match need.pace {
            Pace::Flowing => (self.total / lanes.max(LANES_MIN)).saturating_sub(need.held),
            Pace::Idle => (free.saturating_sub(self.total / 2) / IDLE_PART).min(IDLE_GRANT_MAX),
        };
        let bytes = likely.min(share.max(least)).min(free);
        if bytes < least {
            return None;
        }
        // What is left over is asked for when it is known how large these are.
        let count = u32::try_from(bytes / each).unwrap_or(u32::MAX);
        Some(Grant {
            count: need.count.min(count.max(1)),
            bytes,
        })
    }

    /// A lane waits for bytes, and did not yet.
    pub(super) fn wait(&mut self, lane: usize) {
        self.queue.push_back(lane);
    }

    /// The lane that has waited longest.
    pub(super) fn first(&self) -> Option<usize> {
        self.queue.front().copied()
    }

    /// It has waited long enough, or does not want any more.
    pub(super) fn served(&mut self) {
        self.queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(count: u32, mean: usize) -> Need {
        Need {
            count,
            mean: Some(mean),
            least: 0,
            held: 0,
            pace: Pace::Flowing,
        }
    }

    fn bytes(grant: Option<Grant>) -> usize {
        grant.map_or(0, |grant| grant.bytes)
    }

    #[test]
    fn a_lane_is_granted_what_it_likely_needs_up_to_its_share() {
        let budget = Budget::new(1024);
        let grant = budget.grant(need(100, 500), 1).expect("there is enough");
        assert_eq!((grant.count, grant.bytes), (100, 100_000));
        let share = BUDGET_BYTES / 20;
        let grant = budget.grant(need(u32::MAX, 500), 20).expect("enough");
        assert_eq!((grant.count as usize, grant.bytes), (share / 1_000, share));
        let held = Need {
            held: share - 7,
            ..need(1_000, 500)
        };
        let grant = budget.grant(held, 20).expect("enough for some at least");
        assert_eq!((grant.count, grant.bytes), (4, GRANT_MIN));
    }

    #[test]
    fn the_budget_is_never_granted_twice() {
        let mut budget = Budget::new(1024);
        let large = need(500, 900 * 1024);
        let mut granted = 0;
        while let Some(grant) = budget.grant(large, 20) {
            budget.adjust(0, grant.bytes);
            granted += grant.bytes;
        }
        assert!(
            granted <= BUDGET_BYTES && granted > BUDGET_BYTES / 2,
            "{granted}"
        );
        assert_eq!(budget.held(), granted);
        budget.adjust(granted, 0);
        assert!(budget.grant(large, 20).is_some());
    }

    #[test]
    fn thousands_of_idle_lanes_leave_room_for_one_in_which_messages_flow() {
        let mut budget = Budget::new(1024);
        let idle = Need {
            mean: None,
            pace: Pace::Idle,
            ..need(1_000, 0)
        };
        for lanes in 1..=3_000 {
            let grant = budget.grant(idle, lanes).expect("it is little");
            assert!(!grant.is_large());
            budget.adjust(0, grant.bytes);
        }
        assert!(bytes(budget.grant(need(10, 500), 3_000)) >= 8 * 1024);
    }

    #[test]
    fn a_message_that_is_larger_than_a_share_is_granted_all_the_same() {
        let budget = Budget::new(64 * 1024 * 1024);
        let huge = Need {
            least: 64 * 1024 * 1024,
            ..need(1, 500)
        };
        let grant = budget.grant(huge, 1_000).expect("it is the only one");
        assert_eq!((grant.count, grant.bytes), (1, 64 * 1024 * 1024));
    }
}
