//! The spread of spans, in words: how many, the median, the slow ones.

use std::fmt;
use std::time::Duration;

/// Spans in order of length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// Whether there is nothing to tell of.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The span below which so many of a thousand are; zero when there is none.
    #[must_use]
    pub fn permille(&self, permille: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let index = (self.0.len() * permille / 1_000).min(last);
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Spread {
    fn from_iter<T: IntoIterator<Item = Duration>>(spans: T) -> Self {
        let mut spans: Vec<Duration> = spans.into_iter().collect();
        spans.sort_unstable();
        Self(spans)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "never seen");
        }
        let ms = |permille| self.permille(permille).as_millis();
        write!(
            f,
            "{} times: median {} ms, 90 % {} ms, 99 % {} ms, at most {} ms",
            self.0.len(),
            ms(500),
            ms(900),
            ms(990),
            ms(1_000)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_ones_are_told_apart_from_the_median() {
        let spread: Spread = (1..=200).rev().map(Duration::from_millis).collect();
        let told = "200 times: median 101 ms, 90 % 181 ms, 99 % 199 ms, at most 200 ms";
        assert_eq!(spread.to_string(), told);
    }

    #[test]
    fn nothing_and_one_are_told_of_too() {
        assert_eq!(Spread::default().to_string(), "never seen");
        let one: Spread = [Duration::from_millis(7)].into_iter().collect();
        assert_eq!(
            (one.permille(10), one.permille(1_000)),
            (one.0[0], one.0[0])
        );
    }
}
