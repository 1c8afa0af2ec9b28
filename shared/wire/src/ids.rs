//! Ids as types, each parsed once at the edge and trusted ever after.
//!
//! What must hold: a value of one of these types is valid as a token of a NATS subject, so a subject
//! built from it cannot name something else.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest task id, kind or worker id, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {rule}")]
pub struct InvalidId {
    /// The rule in words, fit to follow "must be".
    pub rule: &'static str,
}

// Three ids with one shape: a macro keeps their parsing and decoding the same, which is the point.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The rule that a text must follow, fit to follow "must be".
            pub const RULE: &'static str = $rule;

            /// Parses a text.
            ///
            /// # Errors
            /// [`InvalidId`] with the rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId { rule: $rule }) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <&str>::deserialize(deserializer)?;
                Self::parse(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// Names one task: the submitter's own id, or the intake sequence in decimal.
    TaskId,
    "1 to 64 of A-Z a-z 0-9 _ -",
    |text| sized(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
);
text_id!(
    /// Names a kind of task, and so the handler that runs it.
    Kind,
    "1 to 64 of a-z 0-9 _ -",
    |text| sized(text)
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
);
text_id!(
    /// Names one worker process: its given name and a suffix drawn anew at each start.
    WorkerId,
    "1 to 64 of A-Z a-z 0-9 _ -",
    |text| sized(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
);

fn sized(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
}

impl TaskId {
    /// The id of a task whose submitter gave none: its sequence in ROTA_INTAKE.
    #[must_use]
    pub fn from_sequence(sequence: u64) -> Self {
        Self(sequence.to_string().into())
    }

    /// Parses an id that a submitter chose. All digits are refused: those are intake sequences.
    ///
    /// # Errors
    /// [`InvalidId`] with the rule that the text breaks.
    pub fn chosen(text: &str) -> Result<Self, InvalidId> {
        let rule = "1 to 64 of A-Z a-z 0-9 _ -, and not all digits";
        let id = Self::parse(text).map_err(|_| InvalidId { rule })?;
        if text.bytes().all(|b| b.is_ascii_digit()) {
            Err(InvalidId { rule })
        } else {
            Ok(id)
        }
    }
}

/// How urgent a task is: 0 to 9, 9 runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// The most urgent.
    pub const MAX: Self = Self(9);

    /// A priority of 0 to 9, or nothing.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        if level <= 9 { Some(Self(level)) } else { None }
    }

    /// 0 to 9.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let level = u8::deserialize(deserializer)?;
        Self::new(level).ok_or_else(|| serde::de::Error::custom("must be 0 to 9"))
    }
}

/// One queue of ROTA_READY: the tasks of one kind and priority, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// What its tasks are.
    pub kind: Kind,
    /// How urgent they are.
    pub priority: Priority,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.priority)
    }
}

/// One period of leadership: the revision of the lease's key when it was won. Later terms are larger.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One handing-out of one message of ROTA_READY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Delivery {
    /// The message's sequence in ROTA_READY.
    pub seq: u64,
    /// How often JetStream has handed it out, this time included, since its consumer was last reset.
    pub count: u32,
}

/// A delivery as assigned to a worker. The term makes it unique although a reset starts counts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// The term of the scheduler that assigned it.
    pub term: Term,
    /// What was assigned.
    pub delivery: Delivery,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_lower_case_tokens_of_at_most_64_bytes() {
        for good in ["a", "thumbnail", "send_mail-2", &"x".repeat(64)] {
            assert!(Kind::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Thumb",
            "a.b",
            "a b",
            "ä",
            "*",
            ">",
            "a/b",
            &"x".repeat(65),
        ] {
            assert!(Kind::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_chosen_id_cannot_be_taken_for_an_intake_sequence() {
        assert!(TaskId::chosen("1234").is_err());
        assert!(TaskId::chosen("report-1234").is_ok());
        assert_eq!(TaskId::from_sequence(17).as_str(), "17");
    }

    #[test]
    fn hostile_bytes_do_not_become_an_id() {
        let bytes = postcard::to_allocvec("a.b").expect("a string encodes");
        assert!(postcard::from_bytes::<Kind>(&bytes).is_err());
        assert!(postcard::from_bytes::<Priority>(&[10]).is_err());
    }
}
