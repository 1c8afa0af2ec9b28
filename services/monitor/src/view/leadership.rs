//! Who leads, by the signs of life that a leader gives: its totals come each second.
//!
//! ```text
//! Unknown ── a sign ──► Leading(term) ◄── a sign ──┐
//!    └───── 5 s without a sign ──► Absent ─────────┘      connection back ──► Unknown
//! ```
//!
//! What must hold: a deposed scheduler that has not noticed yet is not taken for the leader.

use std::time::Duration;

use rota_wire::Term;

use super::line::{Line, span_of};

/// Without a sign for longer, nobody leads. A leader's lease runs out in this time, too.
const ABSENT_AFTER: Duration = Duration::from_secs(5);
/// The warning is repeated, for whoever looks only now.
const WARN_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Leadership {
    /// The newest term that was heard of.
    term: Option<Term>,
    listening: Listening,
    /// When the last sign came, or since when one could have.
    since: Duration,
    warned: Option<Duration>,
}

/// Whether a leader was heard since one could be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Listening {
    #[default]
    NothingYet,
    Heard,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    /// It is too early to say.
    Unknown,
    /// The scheduler of this term.
    Leading(Term),
    /// Nobody.
    Absent,
}

/// What a sign of life means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Nothing new.
    Leads,
    /// Nobody was leading, and a warning was said.
    LeadsAgain(Term),
}

impl Leadership {
    /// A scheduler says that it was elected, which has a line of its own.
    pub(super) fn handle_elected(&mut self, now: Duration, term: Term) {
        if self.is_accepted(now, term) {
            self.accept(now, term);
        }
    }

    /// A scheduler shows that it leads; nothing when it is one that was deposed.
    pub(super) fn handle_sign(&mut self, now: Duration, term: Term) -> Option<Sign> {
        if !self.is_accepted(now, term) {
            return None;
        }
        let warned = self.warned.is_some();
        self.accept(now, term);
        Some(if warned {
            Sign::LeadsAgain(term)
        } else {
            Sign::Leads
        })
    }

    /// Who leads at this moment.
    pub(super) fn leader(&self, now: Duration) -> Leader {
        if now.saturating_sub(self.since) > ABSENT_AFTER {
            return Leader::Absent;
        }
        match (self.listening, self.term) {
            (Listening::Heard, Some(term)) => Leader::Leading(term),
            (Listening::NothingYet, _) | (Listening::Heard, None) => Leader::Unknown,
        }
    }

    /// Says that nobody leads while there is something to do: once, and again each half minute.
    pub(super) fn warn(&mut self, now: Duration, unsettled: u64) -> Option<Line> {
        let is_due = self
            .warned
            .is_none_or(|warned| now.saturating_sub(warned) >= WARN_EVERY);
        if unsettled == 0 || !is_due || self.leader(now) != Leader::Absent {
            return None;
        }
        self.warned = Some(now);
        let elapsed = span_of(now.saturating_sub(self.since));
        Some(Line::NobodyLeads { elapsed, unsettled })
    }

    /// Nothing could be heard until now.
    pub(super) fn forgive(&mut self, now: Duration) {
        self.listening = Listening::NothingYet;
        self.since = now;
    }

    fn is_accepted(&self, now: Duration, term: Term) -> bool {
        // Terms only grow, but for a bucket of leases that was made anew: then the old leader is silent.
        self.term.is_none_or(|known| term >= known) || self.leader(now) == Leader::Absent
    }

    fn accept(&mut self, now: Duration, term: Term) {
        self.term = Some(term);
        self.listening = Listening::Heard;
        self.since = now;
        self.warned = None;
    }
}

impl Sign {
    /// The line that it is worth, if any.
    pub(super) fn into_line(self) -> Option<Line> {
        match self {
            Self::Leads => None,
            Self::LeadsAgain(term) => Some(Line::LeadsAgain { term }),
        }
    }
}
