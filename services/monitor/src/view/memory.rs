//! How long results, and with them ids, are remembered: a day is promised, and a full stream forgets sooner.

use std::time::Duration;

use rota_wire::Span;

use super::line::Line;

/// The warning is repeated, as it goes on until somebody acts.
const WARN_EVERY: Duration = Duration::from_secs(600);
/// A stream that takes a whole message less than its limit is full too.
const FULL_PERMILLE: u64 = 970;

/// The state of ROTA_RESULTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Messages, and how many it takes.
    pub(crate) messages: Room,
    pub(crate) bytes: Room,
    /// How old the oldest result is.
    pub(crate) oldest: Span,
    /// How long results are to be kept.
    pub(crate) promised: Span,
}

/// How full something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) used: u64,
    /// Nothing without a limit.
    pub(crate) max: Option<u64>,
}

/// By what a stream is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FullOf {
    Messages,
    Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    warned: Option<Duration>,
}

impl Memory {
    /// Says that ids are forgotten sooner than is promised, at most once in ten minutes.
    pub(super) fn handle(&mut self, now: Duration, kept: Kept) -> Option<Line> {
        let full_of = if kept.messages.is_full() {
            FullOf::Messages
        } else if kept.bytes.is_full() {
            FullOf::Bytes
        } else {
            return None;
        };
        let is_due = self
            .warned
            .is_none_or(|warned| now.saturating_sub(warned) >= WARN_EVERY);
        if kept.oldest >= kept.promised || !is_due {
            return None;
        }
        self.warned = Some(now);
        Some(Line::ForgottenEarly {
            kept: kept.oldest,
            promised: kept.promised,
            full_of,
        })
    }
}

impl Room {
    fn is_full(self) -> bool {
        // In 128 bits nothing overflows.
        self.max.is_some_and(|max| {
            u128::from(self.used) * 1_000 >= u128::from(max) * u128::from(FULL_PERMILLE)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn kept(messages: u64, bytes: u64, oldest_hours: u64) -> Kept {
        let room = |used| Room {
            used,
            max: Some(1_000),
        };
        Kept {
            messages: room(messages),
            bytes: room(bytes),
            oldest: Span::from_secs(oldest_hours * HOUR),
            promised: Span::from_secs(24 * HOUR),
        }
    }

    fn full_of(line: Option<Line>) -> Option<FullOf> {
        match line {
            Some(Line::ForgottenEarly { full_of, .. }) => Some(full_of),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    }

    #[test]
    fn a_full_stream_that_keeps_less_than_a_day_is_warned_of() {
        let of = |kept| full_of(Memory::default().handle(Duration::ZERO, kept));
        assert_eq!(of(kept(1_000, 10, 3)), Some(FullOf::Messages));
        assert_eq!(of(kept(10, 980, 3)), Some(FullOf::Bytes));
        assert_eq!(of(kept(960, 960, 3)), None, "there is room");
        assert_eq!(of(kept(1_000, 10, 24)), None, "a day is kept");
    }

    #[test]
    fn without_a_limit_nothing_is_full() {
        let mut endless = kept(u64::MAX, u64::MAX, 3);
        (endless.messages.max, endless.bytes.max) = (None, None);
        assert_eq!(Memory::default().handle(Duration::ZERO, endless), None);
    }

    #[test]
    fn the_warning_comes_once_in_ten_minutes() {
        let mut memory = Memory::default();
        let mut warned = 0;
        for second in 0..3_600 {
            let line = memory.handle(Duration::from_secs(second), kept(1_000, 10, 3));
            warned += usize::from(line.is_some());
        }
        assert_eq!(warned, 6);
    }
}
