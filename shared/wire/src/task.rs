//! One task on its way: what a submission becomes, and how it is written into ROTA_READY.
//!
//! The body is not here: it is the message's payload and passes through untouched.

use crate::headers::{ATTEMPT, Headers, ID, MSG_ID, RECHECK, SUBMITTED, VERSION};
use crate::ids::{Kind, Lane, TaskId};
use crate::options::TaskOptions;
use crate::span::Micros;

/// A checked task, without its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// The submitter's own id, or the intake sequence.
    pub id: TaskId,
    /// What it is, and so who can run it.
    pub kind: Kind,
    /// When it reached ROTA_INTAKE.
    pub submitted: Micros,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether an earlier message may have stood for the same task: then a result is looked for before
    /// it runs.
    pub recheck: Recheck,
    /// What the submitter asked for.
    pub options: TaskOptions,
}

/// The newest version of Rota's headers on a task's message that this program understands.
pub const HEADERS_VERSION: u32 = 1;
/// In `Rota-Recheck`: the id was chosen by a person.
const NAMED: &str = "named";

/// Whether a task may have run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recheck {
    /// Its first message: nothing can have run it.
    Fresh,
    /// Its id was chosen by a person: an earlier submission may have had it, minutes ago.
    Named,
    /// Another message may have stood for it a moment ago.
    MayHaveRun,
}

/// Why a message of ROTA_READY, ROTA_SCHEDULE or ROTA_DEAD is not read as a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer Rota wrote it, for one who knows this header or version.
    #[error("written by a newer Rota: {header} `{value}` is not known here")]
    Newer {
        /// The header that is not known, or the one that says the version.
        header: String,
        /// Its value.
        value: String,
    },
    /// Rota did not write it.
    #[error("not written by Rota: {0}")]
    Malformed(#[from] Rejection),
}

/// Why a submission was refused: the header, its value, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{header} `{value}`: must be {rule}")]
pub struct Rejection {
    /// The header, or what else is wrong: `kind`, `body`.
    pub header: String,
    /// What was given.
    pub value: String,
    /// What would have been right, fit to follow "must be".
    pub rule: String,
}

impl Rejection {
    /// A rejection; long values are cut.
    pub fn new(header: &str, value: &str, rule: impl Into<String>) -> Self {
        let value = &value[..value.floor_char_boundary(100)];
        Self {
            header: header.to_owned(),
            value: value.to_owned(),
            rule: rule.into(),
        }
    }
}

/// A submission that was refused, with the id under which its result is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The chosen id if that at least was valid, else the intake sequence.
    pub id: TaskId,
    /// What was wrong.
    pub rejection: Rejection,
}

impl TaskSpec {
    /// Checks a submission: the text of its kind, its headers, its intake sequence and arrival.
    ///
    /// # Errors
    /// [`Refused`] with the first rule broken and the id under which to say so.
    pub fn from_submission(
        kind: &str,
        headers: &Headers,
        sequence: u64,
        submitted: Micros,
    ) -> Result<Self, Refused> {
        let numbered = TaskId::from_sequence(sequence);
        let (id, recheck) = match headers.value(MSG_ID) {
            None => (numbered, Recheck::Fresh),
            Some(text) => match TaskId::chosen(text) {
                Ok(id) => (id, Recheck::Named),
                Err(error) => {
                    let rejection = Rejection::new(MSG_ID, text, error.rule);
                    return Err(Refused {
                        id: numbered,
                        rejection,
                    });
                }
            },
        };
        let refused = |rejection| Refused {
            id: id.clone(),
            rejection,
        };
        let kind =
            Kind::parse(kind).map_err(|error| refused(Rejection::new("kind", kind, error.rule)))?;
        let options = TaskOptions::from_submission(headers).map_err(refused)?;
        Ok(Self {
            id,
            kind,
            submitted,
            attempt: 1,
            recheck,
            options,
        })
    }

    /// Reads a message of ROTA_READY, ROTA_SCHEDULE or ROTA_DEAD.
    ///
    /// # Errors
    /// [`Unreadable`]: it is of a newer Rota, and to be left to one; or not of Rota at all.
    pub fn from_ready(kind: &Kind, headers: &Headers) -> Result<Self, Unreadable> {
        refuse_newer(headers)?;
        Ok(Self::read(kind, headers)?)
    }

    /// The id that a message names, whether or not the rest of it can be read.
    #[must_use]
    pub fn id_in(headers: &Headers) -> Option<TaskId> {
        TaskId::parse(headers.value(ID)?).ok()
    }

    fn read(kind: &Kind, headers: &Headers) -> Result<Self, Rejection> {
        let text = |name| headers.value(name).unwrap_or_default();
        let id =
            TaskId::parse(text(ID)).map_err(|error| Rejection::new(ID, text(ID), error.rule))?;
        let submitted = Micros::parse(text(SUBMITTED))
            .ok_or_else(|| Rejection::new(SUBMITTED, text(SUBMITTED), "a time as in RFC 3339"))?;
        let attempt = match headers.value(ATTEMPT) {
            None => 1,
            Some(text) => text
                .parse()
                .ok()
                .filter(|n| *n >= 1)
                .ok_or_else(|| Rejection::new(ATTEMPT, text, "a whole number from 1"))?,
        };
        let recheck = match headers.value(RECHECK) {
            None => Recheck::Fresh,
            Some(NAMED) => Recheck::Named,
            Some(_) => Recheck::MayHaveRun,
        };
        let options = TaskOptions::from_ready(headers)?;
        Ok(Self {
            id,
            kind: kind.clone(),
            submitted,
            attempt,
            recheck,
            options,
        })
    }

    /// The headers under which the task lies in ROTA_READY, ROTA_SCHEDULE and ROTA_DEAD.
    #[must_use]
    pub fn to_headers(&self) -> Headers {
        let mut headers = Headers::new();
        headers.push(ID, self.id.as_str());
        headers.push(SUBMITTED, self.submitted.to_string());
        if self.attempt > 1 {
            headers.push(ATTEMPT, self.attempt.to_string());
        }
        match self.recheck {
            Recheck::Fresh => {}
            Recheck::Named => headers.push(RECHECK, NAMED),
            Recheck::MayHaveRun => headers.push(RECHECK, "1"),
        }
        self.options.write(&mut headers);
        headers
    }

    /// The lane that the task waits in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane {
            kind: self.kind.clone(),
            priority: self.options.priority,
        }
    }
}

/// A header or version that this program does not know.
fn refuse_newer(headers: &Headers) -> Result<(), Unreadable> {
    let newer = |header: &str, value: &str| Unreadable::Newer {
        header: header.to_owned(),
        value: value[..value.floor_char_boundary(100)].to_owned(),
    };
    if let Some(text) = headers.value(VERSION)
        && text.parse() != Ok(HEADERS_VERSION)
    {
        return Err(newer(VERSION, text));
    }
    match crate::options::unknown_on_ready(headers) {
        Some((name, value)) => Err(newer(name, value)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> Headers {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_plain_submission_is_named_by_its_intake_sequence() {
        let task = TaskSpec::from_submission("echo", &Headers::new(), 17, Micros(5)).expect("good");
        assert_eq!(task.id.as_str(), "17");
        assert_eq!(task.recheck, Recheck::Fresh);
        assert_eq!(task.lane().to_string(), "echo.5");
    }

    #[test]
    fn a_task_reads_back_from_the_headers_that_it_writes() {
        let given = headers(&[("Nats-Msg-Id", "report-1"), ("Rota-Priority", "8")]);
        let mut task = TaskSpec::from_submission("report", &given, 1, Micros(7)).expect("good");
        task.attempt = 3;
        assert_eq!(
            TaskSpec::from_ready(&task.kind, &task.to_headers()),
            Ok(task)
        );
    }

    #[test]
    fn a_refusal_is_stored_under_an_id_that_the_submitter_can_know() {
        let bad_id =
            TaskSpec::from_submission("echo", &headers(&[(MSG_ID, "no dots.")]), 4, Micros(0));
        assert_eq!(bad_id.expect_err("a dot").id.as_str(), "4");
        let bad_kind =
            TaskSpec::from_submission("Echo!", &headers(&[(MSG_ID, "mine")]), 4, Micros(0));
        let refused = bad_kind.expect_err("a capital");
        assert_eq!(refused.id.as_str(), "mine");
        assert_eq!(refused.rejection.header, "kind");
    }

    #[test]
    fn a_message_with_a_header_or_version_that_is_not_known_is_of_a_newer_rota() {
        let given = headers(&[("Nats-Msg-Id", "report-1")]);
        let task = TaskSpec::from_submission("report", &given, 1, Micros(7)).expect("good");
        for (name, value) in [("Rota-Colour", "red"), (VERSION, "2"), (VERSION, "x")] {
            let mut newer = task.to_headers();
            newer.push(name, value);
            let refused = TaskSpec::from_ready(&task.kind, &newer).expect_err("newer");
            let expected = Unreadable::Newer {
                header: name.to_owned(),
                value: value.to_owned(),
            };
            assert_eq!(refused, expected);
            assert_eq!(TaskSpec::id_in(&newer), Some(task.id.clone()));
        }
        let mut same = task.to_headers();
        same.push(VERSION, "1");
        assert_eq!(TaskSpec::from_ready(&task.kind, &same), Ok(task));
    }

    #[test]
    fn a_message_that_rota_did_not_write_is_refused() {
        let kind = Kind::parse("echo").expect("good");
        assert!(TaskSpec::from_ready(&kind, &Headers::new()).is_err());
        let zero = headers(&[
            (ID, "1"),
            (SUBMITTED, "2026-11-23T08:00:00Z"),
            (ATTEMPT, "0"),
        ]);
        let refused = TaskSpec::from_ready(&kind, &zero).expect_err("zero");
        assert!(matches!(refused, Unreadable::Malformed(rejection) if rejection.header == ATTEMPT));
    }
}
