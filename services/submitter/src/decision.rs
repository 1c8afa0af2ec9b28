//! What becomes of a message at the door: a lane, a refusal, a dead letter, or nothing yet. No I/O and no
//! clock.
//!
//! What must hold: every submission becomes a task or a result that says why it did not; a message that
//! cannot be read is kept, not dropped; and a task that may have run before is marked, so that its result is
//! looked for first.

use bytes::Bytes;
use rota_bus::{Expect, FeedMessage, FeedSource, Message, Subjects};
use rota_wire::headers::{ATTEMPT, Headers, REASON, SUBMITTED, TRACEPARENT};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::task::{Recheck, Refused, Unreadable};
use rota_wire::{Kind, Micros, Rejection, TaskId, TaskSpec};

/// The kind under which dead letters lie whose own cannot be read.
const UNREADABLE: &str = "unreadable";
/// Headers of the server's own, which steer how a message is stored: they go no further.
const SERVER_PREFIX: &str = "nats-";

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
    /// Rota did not write it so: it is kept as a dead letter, and its submitter is told if it names one.
    Bury(Burial),
    /// A newer Rota wrote it, and is left to read it.
    Leave(Unreadable),
}

/// A task on its way into its lane.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) task: TaskSpec,
    pub(crate) message: Message,
    pub(crate) expect: Expect,
    pub(crate) entry: Entry,
}

/// Whether a task's kind is asked for at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A submission: there is a limit to the kinds that may wait.
    Asks,
    /// It was let in before.
    Returns,
}

/// A message that cannot be read as a task, on its way to the dead letters.
#[derive(Debug)]
pub(crate) struct Burial {
    /// Who is told.
    pub(crate) id: Option<TaskId>,
    pub(crate) kind: Kind,
    pub(crate) attempts: u32,
    pub(crate) submitted: Option<Micros>,
    pub(crate) reason: String,
    /// The message as it was, and the reason.
    pub(crate) letter: Message,
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
        Decision::Ready(self.pass(task, arrival.payload, Expect::Nothing, Entry::Asks))
    }

    fn due(&self, arrival: &Arrival<'_>) -> Decision {
        let lane = self.subjects.parse_lane(arrival.subject);
        let kind = lane
            .as_ref()
            .map_or_else(unreadable_kind, |lane| lane.kind.clone());
        let mut task = match (TaskSpec::from_ready(&kind, arrival.headers), lane) {
            (Err(newer @ Unreadable::Newer { .. }), _) => return Decision::Leave(newer),
            (Err(Unreadable::Malformed(rejection)), _) => {
                return Decision::Bury(self.burial(arrival, kind, &rejection));
            }
            (Ok(_), None) => {
                let rule = "a kind and a priority of 0 to 9";
                let rejection = Rejection::new("lane", arrival.subject, rule);
                return Decision::Bury(self.burial(arrival, kind, &rejection));
            }
            (Ok(task), Some(_)) => task,
        };
        task.recheck = Recheck::MayHaveRun;
        Decision::Ready(self.pass(task, arrival.payload, arrival.once(), Entry::Returns))
    }

    fn burial(&self, arrival: &Arrival<'_>, kind: Kind, rejection: &Rejection) -> Burial {
        let attempt: Option<u32> = arrival.headers.value(ATTEMPT).and_then(|n| n.parse().ok());
        let reason = format!("its message cannot be read: {rejection}");
        let own = arrival
            .headers
            .iter()
            .filter(|(name, _)| !is_of_the_server(name));
        let mut headers: Headers = own.map(|(name, value)| (name.to_owned(), value)).collect();
        headers.push(REASON, reason.clone());
        Burial {
            id: TaskSpec::id_in(arrival.headers),
            attempts: attempt.map_or(0, |attempt| attempt.saturating_sub(1)),
            submitted: arrival.headers.value(SUBMITTED).and_then(Micros::parse),
            reason,
            letter: Message {
                subject: self.subjects.dead(&kind),
                headers,
                payload: arrival.payload.clone(),
            },
            expect: arrival.once(),
            kind,
        }
    }

    fn pass(&self, task: TaskSpec, payload: &Bytes, expect: Expect, entry: Entry) -> Passing {
        let message = Message {
            subject: self.subjects.ready(&task.lane()),
            headers: task.to_headers(),
            payload: payload.clone(),
        };
        Passing {
            task,
            message,
            expect,
            entry,
        }
    }
}

impl Arrival<'_> {
    /// Stored once, however often this very message is delivered: its name is that of its place in the
    /// stream, and the time tells apart a stream that was made anew. Never the task's: of one task two
    /// messages can exist, and the newer one must not be taken for the older.
    fn once(&self) -> Expect {
        Expect::NewId(format!("due:{}:{}", self.sequence, self.stored.0))
    }
}

impl Burial {
    /// The result that tells the submitter, if there is one to tell.
    pub(crate) fn result(&self, finished: Micros) -> Option<TaskResult> {
        Some(TaskResult {
            id: self.id.clone()?,
            state: FinalState::Failed,
            kind: self.kind.to_string(),
            attempts: self.attempts,
            worker: None,
            exit: None,
            reason: Some(self.reason.clone()),
            submitted: self.submitted,
            started: None,
            finished,
            ran: None,
            estimate: None,
            traceparent: None,
        })
    }
}

impl Refusal {
    /// A kind beyond those that may wait.
    pub(crate) fn of_kind(task: &TaskSpec, kinds_max: usize) -> Self {
        let rule = format!(
            "one of those that wait already: {kinds_max} kinds and priorities wait, and the submitter takes \
             no more (--kinds-max). Let some be worked off, submit fewer kinds, or raise the limit"
        );
        Self::of(task, Rejection::new("kind", task.kind.as_str(), rule))
    }

    /// A task whose body is too large, by the rule "must be ...".
    pub(crate) fn of_body(task: &TaskSpec, bytes: usize, rule: &str) -> Self {
        Self::of(
            task,
            Rejection::new("body", &format!("{bytes} bytes"), rule),
        )
    }

    fn of(task: &TaskSpec, rejection: Rejection) -> Self {
        Self {
            id: task.id.clone(),
            kind: task.kind.to_string(),
            attempts: task.attempt - 1,
            submitted: task.submitted,
            rejection,
            traceparent: task.options.traceparent.clone(),
        }
    }

    /// The result that tells the submitter.
    pub(crate) fn result(&self, finished: Micros) -> TaskResult {
        TaskResult {
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
        }
    }
}

fn unreadable_kind() -> Kind {
    Kind::parse(UNREADABLE).expect("it is a good kind")
}

fn is_of_the_server(name: &str) -> bool {
    name.get(..SERVER_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SERVER_PREFIX))
}

#[cfg(test)]
mod tests;
