//! A task's options: read from the headers of a submission, checked once, with defaults for the rest.
//!
//! What must hold: a header of Rota's own that is unknown, given twice or breaks its rule is an error
//! that names header, value and rule; it is never ignored.

use std::collections::BTreeSet;

use crate::headers::{
    ATTEMPT, ATTEMPTS, BACKOFF, CPU, DURATION, Headers, ID, MEMORY, OWN_PREFIX, PRIORITY, RECHECK,
    REQUIRES, SUBMITTED, TIMEOUT, TRACEPARENT, VERSION,
};
use crate::ids::Priority;
use crate::resources::{Label, REQUIRES_MAX, Resources};
use crate::span::Span;
use crate::task::Rejection;

/// The most attempts that a task may ask for.
pub const ATTEMPTS_MAX: u32 = 1_000;

const OPTION_HEADERS: [&str; 8] = [
    PRIORITY, TIMEOUT, ATTEMPTS, BACKOFF, CPU, MEMORY, REQUIRES, DURATION,
];
const OWN_READY_HEADERS: [&str; 5] = [ID, SUBMITTED, ATTEMPT, RECHECK, VERSION];

/// What a submitter may ask for. [`Default`] gives what an absent header means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOptions {
    /// 0 to 9, 9 runs first.
    pub priority: Priority,
    /// The longest that one attempt may run.
    pub timeout: Span,
    /// Attempts in all, the first counted.
    pub attempts: u32,
    /// How long to wait before another attempt.
    pub backoff: Backoff,
    /// What one attempt needs beside its slot.
    pub demand: Resources,
    /// Labels that its worker must carry, sorted and each once.
    pub requires: Vec<Label>,
    /// The submitter's estimate of the run time; nothing means that it is learned.
    pub duration: Option<Span>,
    /// W3C trace context, passed on as it came.
    pub traceparent: Option<String>,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            priority: Priority::default(),
            timeout: Span::from_secs(600),
            attempts: 5,
            backoff: Backoff::default(),
            demand: Resources::NONE,
            requires: Vec::new(),
            duration: None,
            traceparent: None,
        }
    }
}

/// The waits between attempts: the first, doubled each time up to a cap, drawn with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Span,
    /// The longest wait ever.
    pub cap: Span,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Span::from_secs(1),
            cap: Span::from_secs(300),
        }
    }
}

impl Backoff {
    /// The longest wait after so many failed attempts (1 or more), before jitter.
    #[must_use]
    pub fn ceiling(self, failed: u32) -> Span {
        let doublings = failed.saturating_sub(1).min(63);
        let ms = self.first.ms().saturating_mul(1 << doublings);
        Span::from_ms(ms.min(self.cap.ms()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, cap) = text.split_once("..")?;
        let (first, cap) = (Span::parse(first).ok()?, Span::parse(cap).ok()?);
        (first <= cap && cap.ms() > 0).then_some(Self { first, cap })
    }
}

impl std::fmt::Display for Backoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.first, self.cap)
    }
}

impl TaskOptions {
    /// Reads the options of a submission.
    ///
    /// # Errors
    /// The first header that breaks a rule.
    pub fn from_submission(headers: &Headers) -> Result<Self, Rejection> {
        refuse_unknown(headers, &[])?;
        Self::read(headers)
    }

    /// Reads the options of a message that the submitter has checked and written.
    ///
    /// # Errors
    /// The first header that breaks a rule: somebody else wrote this message.
    pub fn from_ready(headers: &Headers) -> Result<Self, Rejection> {
        refuse_unknown(headers, &OWN_READY_HEADERS)?;
        Self::read(headers)
    }

    /// Writes the options that differ from the defaults.
    pub fn write(&self, headers: &mut Headers) {
        let usual = Self::default();
        if self.priority != usual.priority {
            headers.push(PRIORITY, self.priority.to_string());
        }
        if self.timeout != usual.timeout {
            headers.push(TIMEOUT, self.timeout.to_string());
        }
        if self.attempts != usual.attempts {
            headers.push(ATTEMPTS, self.attempts.to_string());
        }
        if self.backoff != usual.backoff {
            headers.push(BACKOFF, self.backoff.to_string());
        }
        if self.demand.cpu != usual.demand.cpu {
            headers.push(CPU, self.demand.cpu.to_string());
        }
        if self.demand.memory != usual.demand.memory {
            headers.push(MEMORY, self.demand.memory.to_string());
        }
        if !self.requires.is_empty() {
            let labels: Vec<&str> = self.requires.iter().map(Label::as_str).collect();
            headers.push(REQUIRES, labels.join(","));
        }
        headers.push_some(DURATION, self.duration.map(|span| span.to_string()));
        headers.push_some(TRACEPARENT, self.traceparent.clone());
    }

    fn read(headers: &Headers) -> Result<Self, Rejection> {
        let mut options = Self::default();
        if let Some(text) = headers.value(PRIORITY) {
            let level = text.trim().parse().ok().and_then(Priority::new);
            options.priority =
                level.ok_or_else(|| Rejection::new(PRIORITY, text, "0 to 9, 9 runs first"))?;
        }
        if let Some(text) = headers.value(TIMEOUT) {
            let span = Span::parse(text).ok().filter(|span| span.ms() > 0);
            options.timeout = span.ok_or_else(|| {
                Rejection::new(TIMEOUT, text, "a span from 1ms to a year, such as 30s")
            })?;
        }
        if let Some(text) = headers.value(ATTEMPTS) {
            let attempts = text
                .trim()
                .parse()
                .ok()
                .filter(|n| (1..=ATTEMPTS_MAX).contains(n));
            options.attempts = attempts
                .ok_or_else(|| Rejection::new(ATTEMPTS, text, "a whole number from 1 to 1000"))?;
        }
        if let Some(text) = headers.value(BACKOFF) {
            options.backoff = Backoff::parse(text).ok_or_else(|| {
                Rejection::new(BACKOFF, text, "the first wait and its cap, such as 1s..5m")
            })?;
        }
        options.read_needs(headers)?;
        options.traceparent = headers.value(TRACEPARENT).map(str::to_owned);
        Ok(options)
    }
}

impl TaskOptions {
    /// Reads what an attempt needs: resources, labels, time.
    fn read_needs(&mut self, headers: &Headers) -> Result<(), Rejection> {
        if let Some(text) = headers.value(CPU) {
            let refused = |_| Rejection::new(CPU, text, "cores such as 2, 0.5 or 500m");
            self.demand.cpu = text.parse().map_err(refused)?;
        }
        if let Some(text) = headers.value(MEMORY) {
            let refused = |_| Rejection::new(MEMORY, text, "bytes, such as 512MiB or 2GB");
            self.demand.memory = text.parse().map_err(refused)?;
        }
        if let Some(text) = headers.value(REQUIRES) {
            let labels = text.split(',').map(|label| label.trim().parse());
            let labels: Option<BTreeSet<Label>> = labels.collect::<Result<_, _>>().ok();
            let labels = labels.filter(|labels| labels.len() <= REQUIRES_MAX);
            let rule = "at most 16 labels between commas, such as gpu,zone=eu";
            let labels = labels.ok_or_else(|| Rejection::new(REQUIRES, text, rule))?;
            self.requires = labels.into_iter().collect();
        }
        if let Some(text) = headers.value(DURATION) {
            let refused = |_| Rejection::new(DURATION, text, "a span such as 200ms or 5m");
            self.duration = Some(Span::parse(text).map_err(refused)?);
        }
        Ok(())
    }
}

/// The first header of Rota's own on a message of ROTA_READY that this program does not know.
pub(crate) fn unknown_on_ready(headers: &Headers) -> Option<(&str, &str)> {
    own(headers).find(|(name, _)| !is_known(name, &OWN_READY_HEADERS))
}

fn own(headers: &Headers) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().filter(|(name, _)| {
        name.get(..OWN_PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(OWN_PREFIX))
    })
}

fn is_known(name: &str, also: &[&str]) -> bool {
    let mut known = OPTION_HEADERS.iter().chain(also);
    known.any(|known| known.eq_ignore_ascii_case(name))
}

fn refuse_unknown(headers: &Headers, also: &[&str]) -> Result<(), Rejection> {
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in own(headers) {
        if !is_known(name, also) {
            return Err(Rejection::new(
                name,
                value,
                format!(
                    "an option that this version knows: {}",
                    OPTION_HEADERS.join(", ")
                ),
            ));
        }
        if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(Rejection::new(name, value, "given once"));
        }
        seen.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<TaskOptions, Rejection> {
        TaskOptions::from_submission(&pairs.iter().copied().collect())
    }

    #[test]
    fn no_headers_mean_the_defaults() {
        assert_eq!(read(&[]), Ok(TaskOptions::default()));
    }

    #[test]
    fn options_read_back_what_they_write() {
        let options = read(&[
            ("Rota-Priority", "9"),
            ("rota-timeout", "90s"),
            ("Rota-Attempts", "2"),
            ("Rota-Backoff", "100ms..1m30s"),
            ("Rota-Cpu", "1.5"),
            ("Rota-Memory", "512MiB"),
            ("Rota-Requires", "zone=eu, gpu"),
            ("Rota-Duration", "1m30s"),
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
        ])
        .expect("all of these are good");
        let mut headers = Headers::new();
        options.write(&mut headers);
        assert_eq!(TaskOptions::from_ready(&headers), Ok(options));
    }

    #[test]
    fn a_bad_value_names_its_header_value_and_rule() {
        for (name, value) in [
            ("Rota-Priority", "10"),
            ("Rota-Priority", "high"),
            ("Rota-Timeout", "0s"),
            ("Rota-Timeout", "soon"),
            ("Rota-Attempts", "0"),
            ("Rota-Attempts", "1001"),
            ("Rota-Backoff", "5m..1s"),
            ("Rota-Backoff", "1s"),
            ("Rota-Cpu", "two"),
            ("Rota-Memory", "lots"),
            ("Rota-Requires", "gpu,,"),
            ("Rota-Duration", "-1s"),
            ("Rota-Prioritty", "1"),
            ("Rota-Id", "mine"),
        ] {
            let rejection = read(&[(name, value)]).expect_err(value);
            assert_eq!(
                (rejection.header.as_str(), rejection.value.as_str()),
                (name, value)
            );
            assert!(rejection.to_string().contains(value), "{rejection}");
        }
    }

    #[test]
    fn a_header_given_twice_is_refused() {
        assert!(read(&[("Rota-Priority", "1"), ("rota-priority", "2")]).is_err());
    }

    #[test]
    fn other_headers_are_none_of_our_business() {
        assert_eq!(
            read(&[("X-Mine", "1"), ("Nats-Msg-Id", "a")]),
            Ok(TaskOptions::default())
        );
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff {
            first: Span::from_secs(1),
            cap: Span::from_secs(5),
        };
        let waits: Vec<u64> = (1..=5).map(|failed| backoff.ceiling(failed).ms()).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(backoff.ceiling(u32::MAX).ms(), 5_000);
    }
}
