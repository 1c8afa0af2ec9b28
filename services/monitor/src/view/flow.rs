//! A rate from a number that only grows, read now and then.

use std::time::Duration;

/// Messages in a thousand seconds, so that one in several seconds is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rate {
    pub(crate) per_1000_s: u64,
}

impl Rate {
    /// For machines that want a plain number.
    #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
    pub(crate) fn per_second(self) -> f64 {
        self.per_1000_s as f64 / 1_000.0
    }
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    last: Option<(Duration, u64)>,
}

impl Flow {
    /// The rate since the reading before; nothing with the first, and when the number fell because its
    /// stream was made anew.
    pub(super) fn handle(&mut self, now: Duration, ever: u64) -> Option<Rate> {
        let (then, before) = self.last.replace((now, ever))?;
        let came = u128::from(ever.checked_sub(before)?);
        let elapsed_ms = now.checked_sub(then)?.as_millis();
        let per_1000_s = (came * 1_000_000).checked_div(elapsed_ms)?;
        Some(Rate {
            per_1000_s: u64::try_from(per_1000_s).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn per_1000_s(rate: Option<Rate>) -> Option<u64> {
        rate.map(|rate| rate.per_1000_s)
    }

    #[test]
    fn the_first_reading_tells_no_rate_and_the_second_does() {
        let mut flow = Flow::default();
        assert_eq!(flow.handle(at(0), 1_000_000), None);
        assert_eq!(per_1000_s(flow.handle(at(5_000), 1_004_060)), Some(812_000));
        assert_eq!(per_1000_s(flow.handle(at(10_000), 1_004_061)), Some(200));
        assert_eq!(per_1000_s(flow.handle(at(15_000), 1_004_061)), Some(0));
    }

    #[test]
    fn a_stream_made_anew_is_no_negative_rate() {
        let mut flow = Flow::default();
        flow.handle(at(0), 900);
        assert_eq!(flow.handle(at(1_000), 10), None);
        assert_eq!(per_1000_s(flow.handle(at(2_000), 20)), Some(10_000));
    }

    #[test]
    fn a_reading_that_failed_only_lengthens_the_time_that_the_next_one_covers() {
        let mut flow = Flow::default();
        flow.handle(at(0), 0);
        assert_eq!(per_1000_s(flow.handle(at(10_000), 100)), Some(10_000));
    }

    #[test]
    fn two_readings_at_one_moment_tell_no_rate() {
        let mut flow = Flow::default();
        flow.handle(at(7), 0);
        assert_eq!(flow.handle(at(7), 100), None);
    }
}
