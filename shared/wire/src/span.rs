//! Lengths of time and points in time, as integers with a unit.
//!
//! People write spans as `30s`, `200ms`, `1h30m`; on the wire they are milliseconds. Points in time
//! are microseconds since 1970 in UTC, and RFC 3339 where a person reads them.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A length of time in milliseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Span {
    ms: u64,
}

/// Why a text is not a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a span such as 200ms, 30s, 5m or 1h30m, at most a year")]
pub struct InvalidSpan;

impl Span {
    /// The longest span that is accepted: a year of 366 days.
    pub const MAX: Self = Self {
        ms: 366 * 24 * 3_600 * 1_000,
    };

    /// A span of milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self { ms }
    }

    /// A span of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self { ms: secs * 1_000 }
    }

    /// In milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.ms
    }

    /// As a standard duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }

    /// Parses what a person writes: `200ms`, `1.5s`, `30s`, `5m`, `1h30m`.
    ///
    /// # Errors
    /// [`InvalidSpan`] when the text has no unit, is negative, or is longer than a year.
    pub fn parse(text: &str) -> Result<Self, InvalidSpan> {
        let parsed: SignedDuration = text.trim().parse().map_err(|_| InvalidSpan)?;
        let ms = u64::try_from(parsed.as_millis()).map_err(|_| InvalidSpan)?;
        if ms > Self::MAX.ms {
            Err(InvalidSpan)
        } else {
            Ok(Self { ms })
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = SignedDuration::from_millis(i64::try_from(self.ms).unwrap_or(i64::MAX));
        write!(f, "{duration:#}")
    }
}

/// A point in time: microseconds since 1970-01-01 in UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Micros(pub u64);

impl Micros {
    /// Reads the wall clock. Only services call this; the scheduler's core is told the time.
    #[must_use]
    pub fn now() -> Self {
        Self(u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0))
    }

    /// This point, later by a span.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.ms.saturating_mul(1_000)))
    }

    /// How long after `earlier` this is; nothing when it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span {
            ms: self.0.saturating_sub(earlier.0) / 1_000,
        }
    }

    /// Parses RFC 3339, `2026-11-23T08:30:00.25Z`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_microsecond()).ok().map(Self)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
        write!(f, "{timestamp:.6}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, ms) in [
            ("200ms", 200),
            ("1.5s", 1_500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
        ] {
            assert_eq!(Span::parse(text), Ok(Span::from_ms(ms)), "{text}");
        }
        for bad in [
            "",
            "30",
            "-5s",
            "soon",
            "5 parsecs",
            "400000d",
            "99999999999999999999s",
        ] {
            assert_eq!(Span::parse(bad), Err(InvalidSpan), "{bad}");
        }
    }

    #[test]
    fn a_span_reads_back_what_it_prints() {
        for ms in [0, 1, 200, 1_500, 30_000, 5_400_000, 86_400_000] {
            let span = Span::from_ms(ms);
            assert_eq!(Span::parse(&span.to_string()), Ok(span), "{span}");
        }
    }

    #[test]
    fn times_print_as_rfc_3339_and_read_back() {
        let time = Micros(1_795_420_800_123_456);
        assert_eq!(time.to_string(), "2026-11-23T08:00:00.123456Z");
        assert_eq!(Micros::parse(&time.to_string()), Some(time));
        assert_eq!(Micros::parse("yesterday"), None);
    }
}
