//! Lets one warning through in ten seconds and counts the rest, so that whoever floods the worker
//! with nonsense does not flood its log too.

use std::time::Duration;

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Throttle {
    spoke: Option<Instant>,
    silent: u64,
}

impl Throttle {
    /// Counts one occasion. When it is time to speak again: how many there were since the last time.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.silent += 1;
        if self.spoke.is_some_and(|spoke| now < spoke + PAUSE) {
            return None;
        }
        self.spoke = Some(now);
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_seconds_is_let_through_and_tells_of_the_rest() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.count(start), Some(1));
        for ms in [1, 5_000, 9_999] {
            assert_eq!(throttle.count(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(throttle.count(start + PAUSE), Some(4));
        assert_eq!(throttle.count(start + PAUSE), None);
    }
}
