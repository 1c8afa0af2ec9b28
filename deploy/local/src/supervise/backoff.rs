//! How long to wait before a process that has ended is started again.

use std::time::Duration;

/// Waits that double while a process keeps ending, and begin anew once it has lived for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// A process that has lived this long counts as healthy: its next wait is the first again.
    pub healthy_after: Duration,
}

impl Default for Backoff {
    /// 200 ms, doubled up to 5 s; healthy after 10 s.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            max: Duration::from_secs(5),
            healthy_after: Duration::from_secs(10),
        }
    }
}

/// The waits of one process.
#[derive(Debug)]
pub(super) struct Waits {
    backoff: Backoff,
    next: Duration,
}

impl Waits {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            next: backoff.first,
        }
    }

    /// The wait after a process that lived for `lived`.
    pub(super) fn next(&mut self, lived: Duration) -> Duration {
        if lived >= self.backoff.healthy_after {
            self.next = self.backoff.first;
        }
        let wait = self.next.min(self.backoff.max);
        self.next = wait.saturating_mul(2);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit_and_begin_anew_after_a_healthy_life() {
        let mut waits = Waits::new(Backoff::default());
        let short = Duration::from_secs(9);
        let taken: Vec<u128> = (0..7).map(|_| waits.next(short).as_millis()).collect();
        assert_eq!(taken, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(waits.next(Duration::from_secs(10)).as_millis(), 200);
        assert_eq!(waits.next(short).as_millis(), 400);
    }
}
