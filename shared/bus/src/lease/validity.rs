//! Whether a lease is held at this moment: asked before each action that rests on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// No action begins in the last moment of a lease: it would arrive after it.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

/// Tells whether a lease is held. Cheap to clone and to ask. A process that was frozen finds out here, before
/// it does anything.
#[derive(Debug, Clone)]
pub struct LeaseValidity {
    begun: Instant,
    /// The last moment in which it may be acted on, in microseconds since `begun`; zero once it is over.
    until: Arc<AtomicU64>,
}

impl LeaseValidity {
    pub(super) fn new(expires: Instant) -> Self {
        let validity = Self {
            begun: Instant::now(),
            until: Arc::default(),
        };
        validity.extend(expires);
        validity
    }

    /// Whether the lease may be acted on now.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        now < self.until.load(Ordering::Acquire)
    }

    /// How long it may be acted on, unless it is renewed.
    pub(crate) fn left(&self) -> Duration {
        let until = Duration::from_micros(self.until.load(Ordering::Acquire));
        until.saturating_sub(self.begun.elapsed())
    }

    pub(super) fn extend(&self, expires: Instant) {
        let until = (expires - MARGIN).saturating_duration_since(self.begun);
        let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.until.store(until, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_valid_until_a_moment_before_it_expires_or_it_ends() {
        let moment = Duration::from_secs(9);
        let validity = LeaseValidity::new(Instant::now() + MARGIN + moment);
        assert!(validity.is_valid());
        let copy = validity.clone();
        validity.extend(Instant::now() + MARGIN);
        assert!(!copy.is_valid(), "in its last moment");
        validity.extend(Instant::now() + MARGIN + moment);
        assert!(copy.is_valid());
        validity.end();
        assert!(!copy.is_valid());
    }
}
