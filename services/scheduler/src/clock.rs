//! The scheduler's clock: it begins with the time of day and never steps.
//!
//! Deadlines, silences and ages are measured with it, so a system clock that is set, in either direction, loses no
//! worker and keeps none. It drifts from the time of day by what that was corrected since the process started,
//! which only shows in the ages of tasks.

use std::time::Duration;

use rota_wire::Micros;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    time_of_day: Micros,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
            time_of_day: Micros::now(),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        let elapsed = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Micros(self.time_of_day.0.saturating_add(elapsed))
    }

    /// When the runtime reaches a time of this clock.
    pub(crate) fn instant(&self, at: Micros) -> Instant {
        let since = at.0.saturating_sub(self.time_of_day.0);
        self.began + Duration::from_micros(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_runtime_and_not_the_time_of_day() {
        let clock = Clock::start();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        // The time of day has hardly moved meanwhile.
        assert_eq!(clock.now().0 - before.0, 3_600_000_000);
        let later = Micros(clock.now().0 + 5);
        let wait = clock.instant(later) - Instant::now();
        assert!(wait <= Duration::from_micros(6), "{wait:?}");
        assert!(
            clock.instant(Micros(0)) <= Instant::now(),
            "long ago is now"
        );
    }
}
