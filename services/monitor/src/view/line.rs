//! What can be said, as data; [`crate::say`] turns it into log lines.

use std::time::Duration;

use rota_wire::event::Event;
use rota_wire::{Kind, Span, Term, WorkerId};

use super::memory::FullOf;
use super::summary::Summary;

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// An event, told as it came.
    Happened(Event),
    /// Events of a sort that found no room at their time. Without a kind: of the kinds not named.
    More {
        sort: Sort,
        kind: Option<Kind>,
        count: u64,
    },
    /// A worker missed three heartbeats and no scheduler leads, who would say so and act on it.
    WorkerSilent {
        worker: WorkerId,
        silent: Span,
        holding: u32,
    },
    /// A worker that was called silent is heard again.
    WorkerHeardAgain { worker: WorkerId },
    /// Work waits and no scheduler is leading.
    NobodyLeads { elapsed: Span, unsettled: u64 },
    /// After such a warning the same leader is heard again.
    LeadsAgain { term: Term },
    /// There is no connection, so nothing is known.
    CutOff { elapsed: Span },
    /// Ids are remembered for less time than is promised, because ROTA_RESULTS is full.
    ForgottenEarly {
        kept: Span,
        promised: Span,
        full_of: FullOf,
    },
    /// What makes no sense on an internal subject, so many since the last such line.
    Undecodable {
        subject: String,
        reason: String,
        count: u64,
    },
    /// Events that their senders had no room for.
    EventsLost { count: u64 },
    /// Heartbeats of workers beyond those that the monitor can keep.
    FleetTooLarge { heartbeats: u64 },
    /// The figures of an interval.
    Summary(Box<Summary>),
}

/// Lines of one sort share their room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    Leadership,
    Joined,
    Draining,
    Left,
    Lost,
    Silent,
    HeardAgain,
    Redelivered,
    Retrying,
    DeadLettered,
    Rejected,
    Duplicate,
    Withdrawn,
    Reserved,
}

impl Sort {
    /// Fit to follow "and 480 more".
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Leadership => "changes of leadership",
            Self::Joined => "workers joined",
            Self::Draining => "workers are draining",
            Self::Left => "workers left",
            Self::Lost => "workers lost",
            Self::Silent => "workers are silent",
            Self::HeardAgain => "workers are heard again",
            Self::Redelivered => "redeliveries",
            Self::Retrying => "failed attempts",
            Self::DeadLettered => "dead letters",
            Self::Rejected => "rejected submissions",
            Self::Duplicate => "duplicates",
            Self::Withdrawn => "kinds withdrawn by a worker",
            Self::Reserved => "workers kept for a task",
        }
    }

    /// Whether its lines name a kind of task.
    pub(crate) const fn has_kind(self) -> bool {
        matches!(
            self,
            Self::Redelivered
                | Self::Retrying
                | Self::DeadLettered
                | Self::Withdrawn
                | Self::Reserved
        )
    }
}

impl Line {
    /// Which room it needs and of which kind it is; nothing for lines that are rare by themselves.
    pub(crate) const fn sort(&self) -> Option<(Sort, Option<&Kind>)> {
        match self {
            Self::Happened(event) => sort_of(event),
            Self::WorkerSilent { .. } => Some((Sort::Silent, None)),
            Self::WorkerHeardAgain { .. } => Some((Sort::HeardAgain, None)),
            Self::More { .. }
            | Self::NobodyLeads { .. }
            | Self::LeadsAgain { .. }
            | Self::CutOff { .. }
            | Self::ForgottenEarly { .. }
            | Self::Undecodable { .. }
            | Self::EventsLost { .. }
            | Self::FleetTooLarge { .. }
            | Self::Summary(_) => None,
        }
    }
}

const fn sort_of(event: &Event) -> Option<(Sort, Option<&Kind>)> {
    match event {
        Event::Leading { .. } | Event::Recovered { .. } => Some((Sort::Leadership, None)),
        Event::WorkerJoined { .. } => Some((Sort::Joined, None)),
        Event::WorkerDraining { .. } => Some((Sort::Draining, None)),
        Event::WorkerLeft { .. } => Some((Sort::Left, None)),
        Event::WorkerLost { .. } | Event::WorkerDied { .. } => Some((Sort::Lost, None)),
        Event::WorkerReturned { .. } => Some((Sort::HeardAgain, None)),
        Event::KindWithdrawn { kind, .. } => Some((Sort::Withdrawn, Some(kind))),
        Event::Reserved { kind, .. } => Some((Sort::Reserved, Some(kind))),
        Event::Redelivered { kind, .. } => Some((Sort::Redelivered, Some(kind))),
        Event::Retrying { kind, .. } => Some((Sort::Retrying, Some(kind))),
        Event::DeadLettered { kind, .. } => Some((Sort::DeadLettered, Some(kind))),
        Event::Rejected { .. } => Some((Sort::Rejected, None)),
        Event::Duplicate { .. } => Some((Sort::Duplicate, None)),
        Event::Counted(_) => None,
    }
}

/// A duration as the wire has it.
pub(crate) fn span_of(duration: Duration) -> Span {
    Span::from_ms(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
