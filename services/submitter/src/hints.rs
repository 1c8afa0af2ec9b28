//! When to tell the scheduler that a lane has tasks. It looks for new lanes by itself, but not at once.

use std::collections::HashMap;
use std::time::Duration;

use rota_wire::Lane;
use tokio::time::Instant;

/// The most lanes remembered: as many as ROTA_READY may have. Beyond it no hints are given, and the
/// scheduler finds the lane by itself.
const LANES_MAX: usize = 10_000;
/// A lane is hinted at no more often than this. Again at all, because a hint may meet no leader.
const INTERVAL: Duration = Duration::from_secs(5);

/// The lanes hinted at, and when.
#[derive(Debug, Default)]
pub(crate) struct LaneHints {
    given: HashMap<Lane, Instant>,
}

impl LaneHints {
    /// Whether the scheduler is to be told of a lane that gets a task now. It then counts as told.
    pub(crate) fn is_wanted(&mut self, lane: &Lane, now: Instant) -> bool {
        if let Some(given) = self.given.get_mut(lane) {
            let wanted = now.duration_since(*given) >= INTERVAL;
            if wanted {
                *given = now;
            }
            return wanted;
        }
        if self.given.len() >= LANES_MAX {
            self.given
                .retain(|_, given| now.duration_since(*given) < INTERVAL);
        }
        let wanted = self.given.len() < LANES_MAX;
        if wanted {
            self.given.insert(lane.clone(), now);
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use rota_wire::{Kind, Priority};

    use super::*;

    fn lane(kind: &str) -> Lane {
        let kind = Kind::parse(kind).unwrap();
        Lane {
            kind,
            priority: Priority::default(),
        }
    }

    #[test]
    fn a_lane_is_hinted_at_first_and_then_every_five_seconds() {
        let (mut hints, start) = (LaneHints::default(), Instant::now());
        assert!(hints.is_wanted(&lane("a"), start));
        assert!(!hints.is_wanted(&lane("a"), start + INTERVAL / 2));
        assert!(hints.is_wanted(&lane("b"), start + INTERVAL / 2));
        assert!(hints.is_wanted(&lane("a"), start + INTERVAL));
        assert!(!hints.is_wanted(&lane("a"), start + INTERVAL));
    }

    #[test]
    fn lanes_without_number_do_not_take_memory_without_number() {
        let (mut hints, start) = (LaneHints::default(), Instant::now());
        for number in 0..LANES_MAX {
            assert!(hints.is_wanted(&lane(&format!("kind{number}")), start));
        }
        assert!(!hints.is_wanted(&lane("late"), start));
        assert_eq!(hints.given.len(), LANES_MAX);
        assert!(hints.is_wanted(&lane("late"), start + INTERVAL));
        assert_eq!(hints.given.len(), 1, "old lanes made room");
    }
}
