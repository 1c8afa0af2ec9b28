//! Spans of time as people write them: `200ms`, `30s`, `1.5h`.
//!
//! They are read as everywhere in Rota; what is added here is that a span lies above zero and below
//! a bound, so that nothing behind it has to think about overflow.

use std::time::Duration;

use rota_wire::Span;

/// The longest span that anything in the worker accepts.
const SPAN_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a span must look like, for messages.
pub(crate) const SPAN_RULE: &str =
    "a span above zero and at most 720h, such as 200ms, 1.5s, 5m or 1h";

/// Reads a span. `None` means that [`SPAN_RULE`] is broken.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    let span = Span::parse(text).ok()?.duration();
    (!span.is_zero() && span <= SPAN_MAX).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_units() {
        assert_eq!(parse_span("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_span("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_span("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_span(" 1h\n"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_span("720h"), Some(SPAN_MAX));
    }

    #[test]
    fn what_is_no_span_above_zero_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "0s",
            "-1s",
            "1s ago",
            "721h",
            "1 lightyear",
            "999999999999h",
        ] {
            assert_eq!(parse_span(text), None, "{text:?}");
        }
    }
}
