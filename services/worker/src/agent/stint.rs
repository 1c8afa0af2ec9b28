//! How long an attempt has run, as the worker's heartbeats tell it: suspensions left out.
//!
//! Pure; time is the span since the worker began. The attempt's own stopwatch is the exact one, and what
//! it says in the end is reported; this one is read while the attempt runs, without asking it.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Stint {
    gathered: Duration,
    /// Nothing while it stands still.
    since: Option<Duration>,
}

impl Stint {
    /// Begins to run.
    pub(super) const fn begun(now: Duration) -> Self {
        Self {
            gathered: Duration::ZERO,
            since: Some(now),
        }
    }

    pub(super) fn pause(&mut self, now: Duration) {
        self.gathered = self.ran(now);
        self.since = None;
    }

    pub(super) fn go_on(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    pub(super) fn ran(&self, now: Duration) -> Duration {
        let running = self.since.map(|since| now.saturating_sub(since));
        self.gathered + running.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_it_stood_still_does_not_count() {
        let seconds = Duration::from_secs;
        let mut stint = Stint::begun(seconds(1));
        stint.pause(seconds(3));
        stint.pause(seconds(7));
        assert_eq!(stint.ran(seconds(60)), seconds(2));
        stint.go_on(seconds(60));
        stint.go_on(seconds(61));
        assert_eq!(stint.ran(seconds(63)), seconds(5));
    }
}
