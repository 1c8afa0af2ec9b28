//! One budget of bytes for all that the server may send at a time: more than a connection's buffer on the
//! server holds would have the connection cut.
//!
//! A pull is granted what its messages are likely to need, but no more than its lane's share of the budget. Lanes
//! for which nothing was left wait in a queue, and none passes the first of it.
//!
//! What must hold: the sum of what is granted and has not come is at most the budget, or what the largest
//! message needs.

use std::collections::VecDeque;

/// Bytes that may be on their way at a time.
const BUDGET_BYTES: usize = 24 * 1024 * 1024;
/// A lane's share is reckoned as if there were at least so many lanes: what one that is idle was granted, no
/// other can use.
const LANES_MIN: usize = 8;
/// Less is granted only to who needs no more.
const GRANT_MIN: usize = 4 * 1024;
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
    pub(super) fn grant(&self, need: Need, lanes: usize) -> Option<usize> {
        let mean = need.mean.unwrap_or(UNKNOWN_BYTES);
        let least = need.least.max(2 * mean).min(self.total);
        let likely = (need.count as usize).saturating_mul(2 * mean).max(least);
        let least = least.max(likely.min(GRANT_MIN));
        let share = (self.total / lanes.max(LANES_MIN)).saturating_sub(need.held);
        let free = self.total.saturating_sub(self.held);
        let granted = likely.min(share.max(least)).min(free);
        (granted >= least).then_some(granted)
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
        }
    }

    #[test]
    fn a_lane_is_granted_what_it_likely_needs_up_to_its_share() {
        let budget = Budget::new(1024);
        assert_eq!(budget.grant(need(100, 500), 1), Some(100_000));
        let share = BUDGET_BYTES / 20;
        assert_eq!(budget.grant(need(u32::MAX, 500), 20), Some(share));
        let held = Need {
            held: share - 7,
            ..need(1_000, 500)
        };
        assert_eq!(
            budget.grant(held, 20),
            Some(GRANT_MIN),
            "enough for some at least"
        );
    }

    #[test]
    fn the_budget_is_never_granted_twice() {
        let mut budget = Budget::new(1024);
        let large = need(500, 900 * 1024);
        let mut granted = 0;
        while let Some(bytes) = budget.grant(large, 20) {
            budget.adjust(0, bytes);
            granted += bytes;
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
    fn a_message_that_is_larger_than_a_share_is_granted_all_the_same() {
        let budget = Budget::new(64 * 1024 * 1024);
        let huge = Need {
            least: 64 * 1024 * 1024,
            ..need(1, 500)
        };
        assert_eq!(budget.grant(huge, 1_000), Some(64 * 1024 * 1024));
    }
}
