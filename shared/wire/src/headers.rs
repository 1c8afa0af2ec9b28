//! Message headers as plain data, and the names of those that Rota reads and writes.
//!
//! Order is kept and names may repeat, as on the wire. A NATS client's own header type stays in the
//! bus; this one is what everything else passes around.

use std::borrow::Cow;

/// `Nats-Msg-Id`: the submitter's own id for a task.
pub const MSG_ID: &str = "Nats-Msg-Id";
/// W3C trace context, passed on to the handler and the result.
pub const TRACEPARENT: &str = "traceparent";
/// 0 to 9, 9 runs first.
pub const PRIORITY: &str = "Rota-Priority";
/// The longest that one attempt may run.
pub const TIMEOUT: &str = "Rota-Timeout";
/// Attempts in all, the first counted.
pub const ATTEMPTS: &str = "Rota-Attempts";
/// First wait after a failed attempt and its cap: `1s..5m`.
pub const BACKOFF: &str = "Rota-Backoff";
/// Cores that one attempt needs.
pub const CPU: &str = "Rota-Cpu";
/// Memory that one attempt needs.
pub const MEMORY: &str = "Rota-Memory";
/// Labels that the worker must carry.
pub const REQUIRES: &str = "Rota-Requires";
/// The submitter's estimate of the run time.
pub const DURATION: &str = "Rota-Duration";
/// How long the last attempt ran, suspensions left out, on a result.
pub const RAN: &str = "Rota-Ran";
/// How long it was expected to run, on a result.
pub const ESTIMATE: &str = "Rota-Estimate";
/// The task's id, in messages and results that Rota writes.
pub const ID: &str = "Rota-Id";
/// When the task reached ROTA_INTAKE.
pub const SUBMITTED: &str = "Rota-Submitted";
/// Which attempt a message of ROTA_READY stands for; absent means the first.
pub const ATTEMPT: &str = "Rota-Attempt";
/// On a message of ROTA_READY: the version of Rota's headers that its reader must know; absent means 1.
pub const VERSION: &str = "Rota-Version";
/// On a message of ROTA_READY: the task may have run before, look for a result first.
pub const RECHECK: &str = "Rota-Recheck";
/// How a task ended, on a result.
pub const STATE: &str = "Rota-State";
/// The task's kind, on a result.
pub const KIND: &str = "Rota-Kind";
/// The worker that ran the last attempt, on a result.
pub const WORKER: &str = "Rota-Worker";
/// A command's exit code or the signal that ended it, on a result.
pub const EXIT: &str = "Rota-Exit";
/// Why a task ended as it did, in one sentence.
pub const REASON: &str = "Rota-Reason";
/// When the last attempt started, on a result.
pub const STARTED: &str = "Rota-Started";
/// When the task ended, on a result.
pub const FINISHED: &str = "Rota-Finished";

/// What every header of Rota's own starts with. Submissions may only use those that are listed.
pub const OWN_PREFIX: &str = "Rota-";

/// The longest header value that Rota writes, in bytes.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// Headers in the order of the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, String)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header. Control characters become spaces and long values are cut, so that no value can
    /// break the message apart.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let mut value = value.into();
        if value.bytes().any(|b| b.is_ascii_control()) {
            value = value
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
        }
        if value.len() > VALUE_BYTES_MAX {
            value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
        }
        self.0.push((name.into(), value));
    }

    /// Adds a header if there is a value.
    pub fn push_some(&mut self, name: &'static str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }

    /// The first value of a name, in whatever case it is written.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.push(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_break_the_message_apart() {
        let mut headers = Headers::new();
        headers.push(REASON, "exit 3\r\nNats-Rollup: all\n");
        assert_eq!(headers.value(REASON), Some("exit 3  Nats-Rollup: all "));
        headers.push(EXIT, "ä".repeat(VALUE_BYTES_MAX));
        assert!(headers.value(EXIT).expect("it was pushed").len() <= VALUE_BYTES_MAX);
    }

    #[test]
    fn names_are_found_in_any_case() {
        let headers: Headers = [("rota-priority", "8")].into_iter().collect();
        assert_eq!(headers.value(PRIORITY), Some("8"));
    }
}
