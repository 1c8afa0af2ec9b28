//! What becomes of a message at the door: a lane, a refusal, or nothing. No I/O and no clock.
//!
//! What must hold: every submission becomes a task or a result that says why it did not; and a task that
//! may have run before is marked, so that its result is looked for first.

use bytes::Bytes;
use rota_bus::{Expect, FeedMessage, FeedSource, Message, Subjects};
use rota_wire::headers::{Headers, TRACEPARENT};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::task::{Recheck, Refused};
use rota_wire::{Micros, Rejection, TaskId, TaskSpec};

/// A message at the door, as plain data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) subject: &'a str,
    pub(crate) headers: &'a Headers,
    pub(crate) payload: &'a Bytes,
    pub(crate) sequence: u64,
    pub(crate) deliveries: u32,
    pub(crate) stored: Micros,
}

/// The rules of one feed.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) source: FeedSource,
    pub(crate) subjects: Subjects,
    pub(crate) body_bytes_max: usize,
}

/// What becomes of a message.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It goes into its lane.
    Ready(Passing),
    /// It broke a rule: its submitter is told by a result.
    Reject(Refusal),
    /// Rota did not write it, and it has no id under which anybody could be told.
    Discard(Rejection),
}

/// A task on its way into its lane.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) task: TaskSpec,
    pub(crate) message: Message,
    pub(crate) expect: Expect,
}

/// A task that will not run, with all that its result says but the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) id: TaskId,
    pub(crate) kind: String,
    pub(crate) attempts: u32,
    pub(crate) submitted: Micros,
    pub(crate) rejection: Rejection,
    pub(crate) traceparent: Option<String>,
}

impl<'a> From<&'a FeedMessage> for Arrival<'a> {
    fn from(message: &'a FeedMessage) -> Self {
        Self {
            subject: &message.subject,
            headers: &message.headers,
            payload: &message.payload,
            sequence: message.sequence,
            deliveries: message.deliveries,
            stored: message.stored,
        }
    }
}

impl Rules {
    /// What becomes of a message.
    pub(crate) fn decide(&self, arrival: &Arrival<'_>) -> Decision {
        match self.source {
            FeedSource::Submissions => self.submission(arrival),
            FeedSource::Due => self.due(arrival),
        }
    }

    fn submission(&self, arrival: &Arrival<'_>) -> Decision {
        let kind = self.subjects.submitted_kind(arrival.subject);
        let kind = kind.unwrap_or(arrival.subject);
        let checked =
            TaskSpec::from_submission(kind, arrival.headers, arrival.sequence, arrival.stored);
        let mut task = match checked {
            Ok(task) => task,
            Err(Refused { id, rejection }) => {
                return Decision::Reject(Refusal {
                    id,
                    kind: kind.to_owned(),
                    attempts: 0,
                    submitted: arrival.stored,
                    rejection,
                    traceparent: arrival.headers.value(TRACEPARENT).map(str::to_owned),
                });
            }
        };
        let bytes = arrival.payload.len();
        if bytes > self.body_bytes_max {
            let rule = format!("at most {} bytes", self.body_bytes_max);
            return Decision::Reject(Refusal::of_body(&task, bytes, &rule));
        }
        // Its first delivery may have got as far as the lane without its ack.
        if arrival.deliveries > 1 {
            task.recheck = Recheck::MayHaveRun;
        }
        Decision::Ready(self.pass(task, arrival.payload, Expect::Nothing))
    }

    fn due(&self, arrival: &Arrival<'_>) -> Decision {
        let Some(lane) = self.subjects.parse_lane(arrival.subject) else {
            let rule = "a kind and a priority of 0 to 9";
            return Decision::Discard(Rejection::new("lane", arrival.subject, rule));
        };
        let mut task = match TaskSpec::from_ready(&lane.kind, arrival.headers) {
            Ok(task) => task,
            Err(unreadable) => {
                let rule = "written by this version of Rota";
                return Decision::Discard(Rejection::new("message", &unreadable.to_string(), rule));
            }
        };
        task.recheck = Recheck::MayHaveRun;
        // Each attempt is scheduled once, whoever is asked to do so how often.
        let expect = Expect::NewId(format!("{}:{}", task.id, task.attempt));
        Decision::Ready(self.pass(task, arrival.payload, expect))
    }

    fn pass(&self, task: TaskSpec, payload: &Bytes, expect: Expect) -> Passing {
        let message = Message {
            subject: self.subjects.ready(&task.lane()),
            headers: task.to_headers(),
            payload: payload.clone(),
        };
        Passing {
            task,
            message,
            expect,
        }
    }
}

impl Refusal {
    /// A task whose body is too large, by the rule "must be ...".
    pub(crate) fn of_body(task: &TaskSpec, bytes: usize, rule: &str) -> Self {
        Self {
            id: task.id.clone(),
            kind: task.kind.to_string(),
            attempts: task.attempt - 1,
            submitted: task.submitted,
            rejection: Rejection::new("body", &format!("{bytes} bytes"), rule),
            traceparent: task.options.traceparent.clone(),
        }
    }

    /// The result that tells the submitter.
    pub(crate) fn message(&self, subjects: &Subjects, finished: Micros) -> Message {
        let result = TaskResult {
            id: self.id.clone(),
            state: FinalState::Rejected,
            kind: self.kind.clone(),
            attempts: self.attempts,
            worker: None,
            exit: None,
            reason: Some(self.rejection.to_string()),
            submitted: Some(self.submitted),
            started: None,
            finished,
            ran: None,
            estimate: None,
            traceparent: self.traceparent.clone(),
        };
        Message {
            subject: subjects.result(&self.id),
            headers: result.to_headers(),
            payload: Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests;
