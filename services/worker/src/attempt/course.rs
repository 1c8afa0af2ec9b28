//! The course of one attempt: when it is suspended, asked to end, killed, given up.
//!
//! Pure: wishes and the time go in, acts come out. What must hold: an attempt that was asked to
//! end never goes back to running; the first cause of its end stands; it is killed once; and
//! `next_deadline` is `None` only while nothing is due by itself.
//!
//! ```text
//!            suspend/resume
//!               ┌────┐
//!               ▼    │
//!             Running ──stop, time limit──► Ending ──grace over──► Killed ──► GivenUp
//!             (clock paused                (asked)                 (by force)
//!              while suspended)
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::control::Wish;
use super::stopwatch::Stopwatch;

/// How long a killed attempt may take to be gone. SIGKILL acts at once but for a process in an
/// uninterruptible wait; a function that never awaits cannot be ended at all.
pub(crate) const KILLED_WAIT_MAX: Duration = Duration::from_secs(2);

/// What is to be done to the attempt now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Suspend,
    Resume,
    AskToEnd,
    Kill,
    GiveUp,
}

/// Why an attempt was made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Stop,
    TimeLimit,
}

#[derive(Debug)]
pub(crate) struct Course {
    stopwatch: Stopwatch,
    time_limit: Option<Duration>,
    grace: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    Ending { cause: Cause, kill_at: Instant },
    Killed { cause: Cause, give_up_at: Instant },
    GivenUp { cause: Cause },
}

impl Course {
    pub(crate) fn new(now: Instant, time_limit: Option<Duration>, grace: Duration) -> Self {
        Self {
            stopwatch: Stopwatch::started(now),
            time_limit,
            grace,
            phase: Phase::Running,
        }
    }

    pub(crate) fn handle_wish(&mut self, now: Instant, wish: Wish) -> Option<Act> {
        let Phase::Running = self.phase else {
            return None;
        };
        match (wish, self.stopwatch.is_paused()) {
            (Wish::Stop, _) => Some(self.end(now, Cause::Stop)),
            (Wish::Suspend, false) => {
                self.stopwatch.pause(now);
                Some(Act::Suspend)
            }
            (Wish::Run, true) => {
                self.stopwatch.resume(now);
                Some(Act::Resume)
            }
            (Wish::Suspend, true) | (Wish::Run, false) => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Act> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.phase {
            Phase::Running => Some(self.end(now, Cause::TimeLimit)),
            Phase::Ending { cause, .. } => {
                self.phase = Phase::Killed {
                    cause,
                    give_up_at: now + KILLED_WAIT_MAX,
                };
                Some(Act::Kill)
            }
            Phase::Killed { cause, .. } => {
                self.phase = Phase::GivenUp { cause };
                Some(Act::GiveUp)
            }
            Phase::GivenUp { .. } => None,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => self.stopwatch.reaches(self.time_limit?),
            Phase::Ending { kill_at, .. } => Some(kill_at),
            Phase::Killed { give_up_at, .. } => Some(give_up_at),
            Phase::GivenUp { .. } => None,
        }
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        match self.phase {
            Phase::Running => None,
            Phase::Ending { cause, .. }
            | Phase::Killed { cause, .. }
            | Phase::GivenUp { cause } => Some(cause),
        }
    }

    /// How long the attempt has run, time in suspension left out.
    pub(crate) fn ran(&self, now: Instant) -> Duration {
        self.stopwatch.elapsed(now)
    }

    fn end(&mut self, now: Instant, cause: Cause) -> Act {
        // It must run in order to end.
        self.stopwatch.resume(now);
        self.phase = Phase::Ending {
            cause,
            kill_at: now + self.grace,
        };
        Act::AskToEnd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn course(limit_s: u32) -> (Instant, Course) {
        let start = Instant::now();
        (
            start,
            Course::new(start, Some(limit_s * SECOND), 5 * SECOND),
        )
    }

    #[test]
    fn the_time_limit_asks_then_kills_then_gives_up() {
        let (start, mut course) = course(10);
        assert_eq!(course.next_deadline(), Some(start + 10 * SECOND));
        assert_eq!(course.handle_timeout(start + 9 * SECOND), None);
        assert_eq!(
            course.handle_timeout(start + 10 * SECOND),
            Some(Act::AskToEnd)
        );
        assert_eq!(course.next_deadline(), Some(start + 15 * SECOND));
        assert_eq!(course.handle_timeout(start + 15 * SECOND), Some(Act::Kill));
        assert_eq!(
            course.handle_timeout(start + 17 * SECOND),
            Some(Act::GiveUp)
        );
        assert_eq!(course.next_deadline(), None);
        assert_eq!(course.cause(), Some(Cause::TimeLimit));
    }

    #[test]
    fn a_suspended_attempt_has_no_deadline() {
        let (start, mut course) = course(10);
        assert_eq!(
            course.handle_wish(start + 4 * SECOND, Wish::Suspend),
            Some(Act::Suspend)
        );
        assert_eq!(course.next_deadline(), None);
        assert_eq!(course.handle_timeout(start + 3600 * SECOND), None);
        assert_eq!(
            course.handle_wish(start + 3600 * SECOND, Wish::Run),
            Some(Act::Resume)
        );
        assert_eq!(course.next_deadline(), Some(start + 3606 * SECOND));
        assert_eq!(course.ran(start + 3601 * SECOND), 5 * SECOND);
    }

    #[test]
    fn a_stop_reaches_a_suspended_attempt() {
        let (start, mut course) = course(10);
        course.handle_wish(start, Wish::Suspend);
        assert_eq!(
            course.handle_wish(start + SECOND, Wish::Stop),
            Some(Act::AskToEnd)
        );
        assert_eq!(course.handle_timeout(start + 6 * SECOND), Some(Act::Kill));
        assert_eq!(course.cause(), Some(Cause::Stop));
    }

    #[test]
    fn the_first_cause_stands() {
        let (start, mut course) = course(1);
        course.handle_timeout(start + SECOND);
        assert_eq!(course.handle_wish(start + 2 * SECOND, Wish::Stop), None);
        assert_eq!(course.cause(), Some(Cause::TimeLimit));
    }

    #[test]
    fn an_attempt_that_is_ending_is_not_suspended() {
        let (start, mut course) = course(10);
        course.handle_wish(start, Wish::Stop);
        assert_eq!(course.handle_wish(start + SECOND, Wish::Suspend), None);
        assert_eq!(course.next_deadline(), Some(start + 5 * SECOND));
    }

    #[test]
    fn without_a_limit_nothing_is_ever_due() {
        let start = Instant::now();
        let mut course = Course::new(start, None, SECOND);
        assert_eq!(course.next_deadline(), None);
        assert_eq!(course.handle_timeout(start + 3600 * SECOND), None);
        assert_eq!(course.cause(), None);
    }
}
