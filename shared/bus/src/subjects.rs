//! Every subject and stream name, built from typed ids and parsed back, in this one place.
//!
//! ```text
//! people    <p>.submit.<kind>  <p>.result.<id>
//! streams   <p>.ready.<kind>.<priority>  <p>.schedule.retry.<id>  <p>.due.<kind>.<priority>
//!           <p>.dead.<kind>  <p>.events.<service>
//! services  <p>.worker.<id>.{heartbeat,report,assign,died}  <p>.scheduler.roll
//!           <p>.scheduler.lane.<kind>.<priority>  <p>.leader.<holder>
//! ```

use std::fmt;

use rota_wire::{Kind, Lane, Priority, TaskId, WorkerId};

/// A valid subject to publish or subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

impl Subject {
    pub(crate) fn raw(text: String) -> Self {
        Self(text)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What all subjects of one installation start with; in capitals, its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prefix `{given}`: must be 1 to 32 of a-z 0-9 _ and start with a letter")]
pub struct InvalidPrefix {
    /// What was given.
    pub given: String,
}

impl Prefix {
    /// Parses a prefix.
    ///
    /// # Errors
    /// [`InvalidPrefix`] with the rule.
    pub fn parse(text: &str) -> Result<Self, InvalidPrefix> {
        let good = (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPrefix {
                given: text.to_owned(),
            })
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("rota".to_owned())
    }
}

/// Builds and parses the subjects of one installation.
#[derive(Debug, Clone)]
pub struct Subjects {
    prefix: Prefix,
}

impl Subjects {
    /// The subjects under a prefix.
    #[must_use]
    pub const fn new(prefix: Prefix) -> Self {
        Self { prefix }
    }

    /// The prefix.
    #[must_use]
    pub const fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    fn under(&self, rest: impl fmt::Display) -> Subject {
        Subject(format!("{}.{rest}", self.prefix.0))
    }

    /// Where a task of a kind is submitted.
    #[must_use]
    pub fn submit(&self, kind: &Kind) -> Subject {
        self.under(format_args!("submit.{kind}"))
    }

    /// All that is submitted. More than one token after `submit` is caught too, so that it can be
    /// refused with a result instead of vanishing.
    #[must_use]
    pub fn submissions(&self) -> Subject {
        self.under("submit.>")
    }

    /// The kind in a submission's subject, valid or not.
    #[must_use]
    pub fn submitted_kind<'a>(&self, subject: &'a str) -> Option<&'a str> {
        self.rest(subject)?.strip_prefix("submit.")
    }

    /// Where the result of a task is published.
    #[must_use]
    pub fn result(&self, id: &TaskId) -> Subject {
        self.under(format_args!("result.{id}"))
    }

    /// All results.
    #[must_use]
    pub fn results(&self) -> Subject {
        self.under("result.*")
    }

    /// What the subjects of all results start with; the task's id follows.
    pub(crate) fn results_start(&self) -> String {
        self.under("result.").0
    }

    /// The queue of one lane.
    #[must_use]
    pub fn ready(&self, lane: &Lane) -> Subject {
        self.under(format_args!("ready.{lane}"))
    }

    /// The queues of a kind, of all priorities.
    pub(crate) fn ready_of(&self, kind: &Kind) -> Subject {
        self.under(format_args!("ready.{kind}.*"))
    }

    /// All lanes.
    #[must_use]
    pub fn all_ready(&self) -> Subject {
        self.under("ready.*.*")
    }

    /// The lane of a message of ROTA_READY, or of one that has fallen due.
    #[must_use]
    pub fn parse_lane(&self, subject: &str) -> Option<Lane> {
        let rest = self.rest(subject)?;
        let rest = rest
            .strip_prefix("ready.")
            .or_else(|| rest.strip_prefix("due."))?;
        let (kind, priority) = rest.split_once('.')?;
        let priority = priority.parse().ok().and_then(Priority::new)?;
        Some(Lane {
            kind: Kind::parse(kind).ok()?,
            priority,
        })
    }

    /// Where a retry waits out its backoff; one message a task, a new one replaces the old.
    #[must_use]
    pub fn retry(&self, id: &TaskId) -> Subject {
        self.under(format_args!("schedule.retry.{id}"))
    }

    /// What the subjects of all retries start with; the task's id follows.
    pub(crate) fn retries_start(&self) -> String {
        self.under("schedule.retry.").0
    }

    /// All that waits for its time.
    #[must_use]
    pub fn scheduled(&self) -> Subject {
        self.under("schedule.>")
    }

    /// Where the server puts what has fallen due.
    #[must_use]
    pub fn due(&self, lane: &Lane) -> Subject {
        self.under(format_args!("due.{lane}"))
    }

    /// All that has fallen due.
    #[must_use]
    pub fn all_due(&self) -> Subject {
        self.under("due.>")
    }

    /// Dead letters of a kind.
    #[must_use]
    pub fn dead(&self, kind: &Kind) -> Subject {
        self.under(format_args!("dead.{kind}"))
    }

    /// All dead letters.
    #[must_use]
    pub fn all_dead(&self) -> Subject {
        self.under("dead.*")
    }

    /// Events of one service: `scheduler`, `submitter`.
    #[must_use]
    pub fn events(&self, service: &'static str) -> Subject {
        self.under(format_args!("events.{service}"))
    }

    /// All events.
    #[must_use]
    pub fn all_events(&self) -> Subject {
        self.under("events.*")
    }

    /// What one worker is assigned.
    #[must_use]
    pub fn assign(&self, worker: &WorkerId) -> Subject {
        self.under(format_args!("worker.{worker}.assign"))
    }

    /// One worker's heartbeats.
    #[must_use]
    pub fn heartbeat(&self, worker: &WorkerId) -> Subject {
        self.under(format_args!("worker.{worker}.heartbeat"))
    }

    /// All heartbeats.
    #[must_use]
    pub fn heartbeats(&self) -> Subject {
        self.under("worker.*.heartbeat")
    }

    /// One worker's reports.
    #[must_use]
    pub fn report(&self, worker: &WorkerId) -> Subject {
        self.under(format_args!("worker.{worker}.report"))
    }

    /// All reports.
    #[must_use]
    pub fn reports(&self) -> Subject {
        self.under("worker.*.report")
    }

    /// The worker named in the subject of one of its frames.
    #[must_use]
    pub fn speaking_worker(&self, subject: &str) -> Option<WorkerId> {
        let rest = self.rest(subject)?.strip_prefix("worker.")?;
        WorkerId::parse(rest.split_once('.')?.0).ok()
    }

    /// Where the guardian of a worker's process tells that it has ended.
    #[must_use]
    pub fn died(&self, worker: &WorkerId) -> Subject {
        self.under(format_args!("worker.{worker}.died"))
    }

    /// All such words.
    #[must_use]
    pub fn obituaries(&self) -> Subject {
        self.under("worker.*.died")
    }

    /// A new leader's call to all workers.
    #[must_use]
    pub fn roll_call(&self) -> Subject {
        self.under("scheduler.roll")
    }

    /// A submitter's hint that a lane has its first task.
    #[must_use]
    pub fn lane_hint(&self, lane: &Lane) -> Subject {
        self.under(format_args!("scheduler.lane.{lane}"))
    }

    /// All such hints.
    #[must_use]
    pub fn lane_hints(&self) -> Subject {
        self.under("scheduler.lane.*.*")
    }

    /// The lane in a hint.
    #[must_use]
    pub fn hinted_lane(&self, subject: &str) -> Option<Lane> {
        let rest = self.rest(subject)?.strip_prefix("scheduler.lane.")?;
        let (kind, priority) = rest.split_once('.')?;
        let priority = priority.parse().ok().and_then(Priority::new)?;
        Some(Lane {
            kind: Kind::parse(kind).ok()?,
            priority,
        })
    }

    /// Where the leading scheduler says why a task is where it is.
    #[must_use]
    pub fn explain(&self, id: &TaskId) -> Subject {
        self.under(format_args!("explain.{id}"))
    }

    /// All such questions.
    #[must_use]
    pub fn explains(&self) -> Subject {
        self.under("explain.*")
    }

    /// The task in a question.
    #[must_use]
    pub fn explained(&self, subject: &str) -> Option<TaskId> {
        let id = self.rest(subject)?.strip_prefix("explain.")?;
        TaskId::parse(id).ok()
    }

    /// Answers as long as the holder of a lease lives.
    #[must_use]
    pub fn leader(&self, holder: &str) -> Subject {
        self.under(format_args!("leader.{holder}"))
    }

    /// Where whoever holds a lease listens, whatever its name is. No holder's name has a dot.
    pub(crate) fn any_leader(&self, lease: &str) -> Subject {
        self.under(format_args!("leader.any.{lease}"))
    }

    /// A stream's name: the prefix in capitals and the stream's own part.
    #[must_use]
    pub fn stream(&self, part: &str) -> String {
        format!("{}_{part}", self.prefix.0.to_ascii_uppercase())
    }

    /// The bucket of leases.
    #[must_use]
    pub fn lease_bucket(&self) -> String {
        format!("{}_leases", self.prefix.0)
    }

    /// The bucket of what leaders leave to their successors.
    #[must_use]
    pub fn memory_bucket(&self) -> String {
        format!("{}_memory", self.prefix.0)
    }

    /// Where a key of a bucket is written.
    pub(crate) fn key(bucket: &str, key: &str) -> Subject {
        Subject(format!("$KV.{bucket}.{key}"))
    }

    /// The stream that keeps a bucket.
    pub(crate) fn bucket_stream(bucket: &str) -> String {
        format!("KV_{bucket}")
    }

    /// Whether a subject is one of Rota's own, or of the server's: nobody's inbox.
    #[must_use]
    pub fn is_own(&self, subject: &str) -> bool {
        subject.starts_with('$') || self.rest(subject).is_some()
    }

    fn rest<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix.0)?.strip_prefix('.')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        let kind = Kind::parse("send_mail").expect("good");
        Lane {
            kind,
            priority: Priority::MAX,
        }
    }

    #[test]
    fn lanes_read_back_from_their_subjects() {
        let subjects = Subjects::new(Prefix::default());
        assert_eq!(subjects.ready(&lane()).as_str(), "rota.ready.send_mail.9");
        for subject in [subjects.ready(&lane()), subjects.due(&lane())] {
            assert_eq!(subjects.parse_lane(subject.as_str()), Some(lane()));
        }
        assert_eq!(
            subjects.hinted_lane(subjects.lane_hint(&lane()).as_str()),
            Some(lane())
        );
        for bad in [
            "rota.ready.a",
            "rota.ready.a.10",
            "rota.ready.A.1",
            "other.ready.a.1",
            "rota",
        ] {
            assert_eq!(subjects.parse_lane(bad), None, "{bad}");
        }
    }

    #[test]
    fn installations_do_not_meet() {
        let other = Subjects::new(Prefix::parse("rota2").expect("good"));
        assert_eq!(other.parse_lane("rota.ready.a.1"), None);
        assert_eq!(
            Subjects::new(Prefix::default()).parse_lane("rota2.ready.a.1"),
            None
        );
        assert_eq!(other.stream("READY"), "ROTA2_READY");
        assert!(Prefix::parse("a.b").is_err());
    }

    #[test]
    fn an_odd_kind_is_still_seen_in_its_submission() {
        let subjects = Subjects::new(Prefix::default());
        assert_eq!(
            subjects.submitted_kind("rota.submit.Foo.bar"),
            Some("Foo.bar")
        );
        assert_eq!(subjects.submitted_kind("rota.result.1"), None);
    }
}
