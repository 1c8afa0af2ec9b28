//! The ups and downs of a connection, and the pauses between attempts to have it back.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use async_nats::Event;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// The longest pause before the first attempt. Short, because everything waits for it; not nothing, because
/// a server that was restarted meets all its clients at once.
const FIRST_PAUSE_MAX: Duration = Duration::from_millis(20);
/// The longest pause before the second; it doubles with each.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// And no pause is longer.
const PAUSE_LIMIT: Duration = Duration::from_millis(200);

/// The state of the connection. Whoever keeps state that rests on an unbroken connection starts anew
/// when `breaks` changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// How often it was interrupted, or messages were dropped because this side was too slow.
    pub breaks: u64,
}

/// What the client tells about the connection becomes a change of [`Link`].
pub(super) fn note(event: &Event, changes: &watch::Sender<Link>) {
    match event {
        Event::Connected => {
            // Said differently, so that the log does not take it for a repetition of the first.
            match changes.borrow().breaks {
                0 => info!("connected to nats-server"),
                breaks => info!(breaks, "connected to nats-server again"),
            }
            changes.send_modify(|link| link.up = true);
        }
        Event::Disconnected => {
            warn!("connection to nats-server lost");
            changes.send_modify(broken);
        }
        // The end of this process' own making.
        Event::Closed => {
            debug!("connection to nats-server closed");
            changes.send_modify(broken);
        }
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "too slow: messages were dropped");
            changes.send_modify(|link| link.breaks += 1);
        }
        Event::ServerError(error) => warn!(%error, "nats-server reports an error"),
        Event::ClientError(error) => debug!(%error, "nats client reports an error"),
        Event::LameDuckMode | Event::Draining => info!(%event, "connection is ending"),
    }
}

fn broken(link: &mut Link) {
    *link = Link {
        up: false,
        breaks: link.breaks + 1,
    };
}

/// How long to wait before an attempt to connect again, from 1: anything between half of the pause and all
/// of it, so that clients that were cut off together do not come back together.
pub(super) fn pause(attempt: usize) -> Duration {
    let longest = match attempt {
        0..=1 => FIRST_PAUSE_MAX,
        _ => {
            let doublings = u32::try_from(attempt - 2).unwrap_or(u32::MAX).min(16);
            PAUSE_MAX.saturating_mul(1 << doublings).min(PAUSE_LIMIT)
        }
    };
    let least = if attempt <= 1 {
        Duration::ZERO
    } else {
        longest / 2
    };
    least + (longest - least).mul_f64(chance())
}

/// A number from 0 to 1. Each [`RandomState`] has keys of its own, drawn by the system.
fn chance() -> f64 {
    let drawn = RandomState::new().build_hasher().finish() >> 11;
    drawn as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        for attempt in 0..2 {
            assert!(pause(attempt) <= FIRST_PAUSE_MAX);
        }
        let second = (0..100).map(|_| pause(2));
        assert!(
            second
                .clone()
                .all(|pause| (PAUSE_MAX / 2..=PAUSE_MAX).contains(&pause))
        );
        let pauses: std::collections::BTreeSet<Duration> = second.collect();
        assert!(pauses.len() > 50, "they differ");
        for attempt in [6, 60, usize::MAX] {
            assert!((PAUSE_LIMIT / 2..=PAUSE_LIMIT).contains(&pause(attempt)));
        }
    }
}
