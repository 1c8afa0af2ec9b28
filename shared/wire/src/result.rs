//! The one final outcome of a task, as it lies in ROTA_RESULTS: output as the body, the rest as headers.

use std::fmt;

use crate::headers::{
    ATTEMPTS, ESTIMATE, EXIT, FINISHED, Headers, ID, KIND, RAN, REASON, STARTED, STATE, SUBMITTED,
    TRACEPARENT, WORKER,
};
use crate::ids::{TaskId, WorkerId};
use crate::span::{Micros, Span};

/// How a task ended. None of these changes any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FinalState {
    /// It ran to its end; the body is its output.
    Completed,
    /// Its attempts are used up, or its handler said not to try again.
    Failed,
    /// Somebody took it back.
    Cancelled,
    /// It had not started by the time it was given.
    Expired,
    /// The submission broke a rule.
    Rejected,
}

impl FinalState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::Rejected,
    ];

    /// The word in `Rota-State`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }

    /// Reads the word in `Rota-State`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl fmt::Display for FinalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A result without its body. What is unknown, such as the start of a rejected task, is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResult {
    /// Which task.
    pub id: TaskId,
    /// How it ended.
    pub state: FinalState,
    /// Its kind as it was submitted, valid or not.
    pub kind: String,
    /// How many attempts were begun.
    pub attempts: u32,
    /// Who ran the last of them.
    pub worker: Option<WorkerId>,
    /// A command's exit code, or the signal that ended it.
    pub exit: Option<String>,
    /// Why it ended so, in one sentence.
    pub reason: Option<String>,
    /// When it reached ROTA_INTAKE.
    pub submitted: Option<Micros>,
    /// When the last attempt began.
    pub started: Option<Micros>,
    /// When the task ended.
    pub finished: Micros,
    /// How long the last attempt ran, suspensions left out.
    pub ran: Option<Span>,
    /// How long it was expected to run.
    pub estimate: Option<Span>,
    /// The submission's trace context.
    pub traceparent: Option<String>,
}

impl TaskResult {
    /// The headers of the result's message.
    #[must_use]
    pub fn to_headers(&self) -> Headers {
        let mut headers = Headers::new();
        headers.push(ID, self.id.as_str());
        headers.push(STATE, self.state.as_str());
        headers.push(KIND, self.kind.as_str());
        headers.push(ATTEMPTS, self.attempts.to_string());
        headers.push_some(WORKER, self.worker.as_ref().map(WorkerId::as_str));
        headers.push_some(EXIT, self.exit.as_deref());
        headers.push_some(REASON, self.reason.as_deref());
        headers.push_some(SUBMITTED, self.submitted.map(|time| time.to_string()));
        headers.push_some(STARTED, self.started.map(|time| time.to_string()));
        headers.push(FINISHED, self.finished.to_string());
        headers.push_some(RAN, self.ran.map(|span| span.to_string()));
        headers.push_some(ESTIMATE, self.estimate.map(|span| span.to_string()));
        headers.push_some(TRACEPARENT, self.traceparent.as_deref());
        headers
    }

    /// Reads a result's headers; nothing when a necessary one is missing or malformed.
    #[must_use]
    pub fn from_headers(headers: &Headers) -> Option<Self> {
        let owned = |name| headers.value(name).map(str::to_owned);
        let time = |name| headers.value(name).and_then(Micros::parse);
        let span = |name| Span::parse(headers.value(name)?).ok();
        Some(Self {
            id: TaskId::parse(headers.value(ID)?).ok()?,
            state: FinalState::parse(headers.value(STATE)?)?,
            kind: owned(KIND)?,
            attempts: headers.value(ATTEMPTS)?.parse().ok()?,
            worker: headers
                .value(WORKER)
                .and_then(|text| WorkerId::parse(text).ok()),
            exit: owned(EXIT),
            reason: owned(REASON),
            submitted: time(SUBMITTED),
            started: time(STARTED),
            finished: time(FINISHED)?,
            ran: span(RAN),
            estimate: span(ESTIMATE),
            traceparent: owned(TRACEPARENT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_from_its_word() {
        for state in FinalState::ALL {
            assert_eq!(FinalState::parse(state.as_str()), Some(state));
        }
        assert_eq!(FinalState::parse("done"), None);
    }

    #[test]
    fn a_result_reads_back_from_its_headers() {
        let result = TaskResult {
            id: TaskId::from_sequence(9),
            state: FinalState::Failed,
            kind: "thumbnail".to_owned(),
            attempts: 5,
            worker: WorkerId::parse("w1-x7").ok(),
            exit: Some("3".to_owned()),
            reason: Some("exit 3".to_owned()),
            submitted: Some(Micros(1_000_000)),
            started: Some(Micros(2_000_000)),
            finished: Micros(3_000_000),
            ran: Some(Span::from_ms(900)),
            estimate: Some(Span::from_secs(2)),
            traceparent: None,
        };
        assert_eq!(TaskResult::from_headers(&result.to_headers()), Some(result));
        assert_eq!(TaskResult::from_headers(&Headers::new()), None);
    }
}
