//! A stopwatch that can be paused: the time that an attempt has truly run.
//!
//! Pure: the time is handed in. Times may not run backwards; a `now` before the last start counts
//! as that start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Stopwatch {
    /// What was gathered before the last pause.
    gathered: Duration,
    /// Since when it runs; `None` while paused.
    since: Option<Instant>,
}

impl Stopwatch {
    pub(crate) fn started(now: Instant) -> Self {
        Self {
            gathered: Duration::ZERO,
            since: Some(now),
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.since.is_none()
    }

    pub(crate) fn pause(&mut self, now: Instant) {
        self.gathered = self.elapsed(now);
        self.since = None;
    }

    pub(crate) fn resume(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        let running = self.since.map(|since| now.saturating_duration_since(since));
        self.gathered + running.unwrap_or_default()
    }

    /// When it will show `target`, if it goes on running. `None` while paused.
    pub(crate) fn reaches(&self, target: Duration) -> Option<Instant> {
        self.since?
            .checked_add(target.saturating_sub(self.gathered))
    }
}

/// A stopwatch at which an attempt's handler may look. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct RunClock(Arc<Mutex<Stopwatch>>);

impl RunClock {
    pub(crate) fn started(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Stopwatch::started(now))))
    }

    pub(crate) fn pause(&self, now: Instant) {
        self.watch().pause(now);
    }

    pub(crate) fn resume(&self, now: Instant) {
        self.watch().resume(now);
    }

    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        self.watch().elapsed(now)
    }

    fn watch(&self) -> MutexGuard<'_, Stopwatch> {
        // Whatever panicked, the two numbers are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn paused_time_does_not_count() {
        let start = Instant::now();
        let mut watch = Stopwatch::started(start);
        watch.pause(start + 2 * SECOND);
        assert_eq!(watch.elapsed(start + 60 * SECOND), 2 * SECOND);
        watch.resume(start + 60 * SECOND);
        assert_eq!(watch.elapsed(start + 63 * SECOND), 5 * SECOND);
    }

    #[test]
    fn a_pause_moves_the_moment_at_which_a_target_is_reached() {
        let start = Instant::now();
        let mut watch = Stopwatch::started(start);
        assert_eq!(watch.reaches(10 * SECOND), Some(start + 10 * SECOND));
        watch.pause(start + 4 * SECOND);
        assert_eq!(watch.reaches(10 * SECOND), None);
        watch.resume(start + 100 * SECOND);
        assert_eq!(watch.reaches(10 * SECOND), Some(start + 106 * SECOND));
    }

    #[test]
    fn pausing_or_resuming_twice_is_the_same_as_once() {
        let start = Instant::now();
        let mut watch = Stopwatch::started(start);
        watch.resume(start + SECOND);
        watch.pause(start + 2 * SECOND);
        watch.pause(start + 3 * SECOND);
        assert_eq!(watch.elapsed(start + 9 * SECOND), 2 * SECOND);
    }
}
