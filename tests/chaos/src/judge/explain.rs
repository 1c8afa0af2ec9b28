//! What explains that an attempt ran a second time.
//!
//! Let the attempt have begun on worker A, and again on worker B (which may be A). In this order:
//!
//! | explanation | what was seen |
//! |---|---|
//! | [`Ended`](Explanation::Ended) | A was killed, told to end, or had ended before the second began |
//! | [`Silent`](Explanation::Silent) | A was silent for as long as makes a worker lost, in a time that reaches up to two seconds before the first began or later, and before the second began; or B was, up to ten seconds before the first began: it was given the attempt first, and began it when it was heard of again |
//! | [`Path`](Explanation::Path) | a fault of a server, a stream's leader, a scheduler or the connection of A or B held, or was over for less than three seconds, between a second before the first began and the beginning of the second |
//! | [`Nothing`](Explanation::Nothing) | none of these |
//!
//! **Silent** is a time in which the process stood still, had no connection, or nothing passed from it to its
//! server, or that server or the whole machine stood still. Such times are joined where less than a heartbeat
//! lies between two. Three missed heartbeats are 1.5 s; the last one may have come just before, so 0.9 s of it
//! are enough. Less is never an explanation: a worker that is away for a moment keeps its tasks.
//!
//! A fault of the path alone explains that something ran twice in so far as nobody could know better; it does
//! not excuse that an attempt was run again while it *was running* on a worker that was neither ended nor
//! silent. Those are counted apart, as disturbed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::facts::{Execution, FaultFact, History, Span};
use crate::fault::{Direction, Fault, Place, Role};

/// A worker is heard this often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// So much silence can make three heartbeats be missed.
const SILENT_MIN: Duration = Duration::from_millis(900);
/// A loss is acted upon for so long after it was over.
const LOSS_LINGERS: Duration = Duration::from_secs(2);
/// How long an attempt can lie with a worker that does not begin it because it stands still.
const HELD_UNBEGUN: Duration = Duration::from_secs(10);
/// What a fault of the path does can come so much later.
const PATH_LINGERS: Duration = Duration::from_secs(3);
/// An attempt is on its way before it begins.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// What explains a second execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explanation {
    /// The worker ended.
    Ended,
    /// A worker was silent for so long that it counted as lost.
    Silent,
    /// Something on the way failed.
    Path,
    /// Nothing does.
    Nothing,
}

/// Answers by looking into a history.
#[derive(Debug)]
pub struct Explainer<'a> {
    history: &'a History,
    silences: BTreeMap<Place, Vec<Span>>,
}

impl<'a> Explainer<'a> {
    /// Joins the times in which each worker was silent.
    #[must_use]
    pub fn new(history: &'a History) -> Self {
        let mut silences: BTreeMap<Place, Vec<Span>> = BTreeMap::new();
        for place in history.lives.keys().map(|life| life.place) {
            if place.role == Role::Worker {
                silences
                    .entry(place)
                    .or_insert_with(|| silent(history, place));
            }
        }
        Self { history, silences }
    }

    /// What explains that `second` ran after `first`, both of the same attempt.
    #[must_use]
    pub fn explain(&self, first: &Execution, second: &Execution) -> Explanation {
        let life = self.history.lives.get(&first.worker);
        let end = life.and_then(|life| life.end_began());
        let until = second.begin;
        if end.is_some_and(|end| end <= until) {
            return Explanation::Ended;
        }
        let since = first.begin.min(second.begin);
        let was_silent = |execution: &Execution, before: Duration| {
            let from = since.before(before);
            self.was_silent(execution.worker.place, Span { from, to: until })
        };
        if was_silent(first, LOSS_LINGERS) || was_silent(second, HELD_UNBEGUN) {
            return Explanation::Silent;
        }
        let window = Span {
            from: since.before(ON_ITS_WAY),
            to: until,
        };
        let places = [first.worker.place, second.worker.place];
        let mut faults = self.history.faults.iter();
        if faults.any(|fact| is_on_path(fact, &places) && lingering(fact.span).meets(window)) {
            return Explanation::Path;
        }
        Explanation::Nothing
    }

    /// Whether a worker was silent for long enough within a time to count as lost.
    #[must_use]
    pub fn was_silent(&self, place: Place, within: Span) -> bool {
        let spans = self.silences.get(&place).into_iter().flatten();
        let mut known = spans.filter(|span| span.meets(within));
        known.any(|span| {
            let to = span.to.min(within.to);
            to.since(span.from) >= SILENT_MIN
        })
    }
}

/// The times in which a worker could not be heard, joined.
fn silent(history: &History, place: Place) -> Vec<Span> {
    let faults = history.faults.iter().filter(|fact| fact.skipped.is_none());
    let by_faults = faults.filter(|fact| silences(&fact.fault, place));
    let gaps = history.gaps.iter().filter(|(whose, _)| *whose == place);
    let mut spans: Vec<Span> = by_faults.map(|fact| fact.span).collect();
    spans.extend(gaps.map(|(_, span)| *span));
    spans.extend(&history.machine_stalls);
    join(spans)
}

/// Whether nothing is heard of a process while the fault holds. What a lost connection does is seen at the
/// proxy, not guessed from the fault.
fn silences(fault: &Fault, place: Place) -> bool {
    match fault {
        Fault::Stop(whose, _) => *whose == place,
        Fault::Stall(whose, direction, _) => *whose == place && *direction != Direction::Down,
        Fault::StopServer(..) | Fault::FillDisk(..) => true,
        _ => false,
    }
}

fn join(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from <= last.to + HEARTBEAT => last.to = last.to.max(span.to),
            Some(_) | None => joined.push(span),
        }
    }
    joined
}

fn is_on_path(fact: &FaultFact, places: &[Place]) -> bool {
    fact.skipped.is_none() && touches_path(&fact.fault, places)
}

/// Whether a fault touches what lies between places and their tasks: schedulers, servers, or the places' own
/// connection and clock. The end of a place is not its path.
pub(crate) fn touches_path(fault: &Fault, places: &[Place]) -> bool {
    match fault {
        Fault::Kill(place) | Fault::Drain(place) => place.role == Role::Scheduler,
        Fault::Stop(place, _)
        | Fault::Cut(place, _)
        | Fault::Slow(place, _)
        | Fault::Stall(place, ..)
        | Fault::StepClock(place, _)
        | Fault::LeaveLog(place, _) => place.role == Role::Scheduler || places.contains(place),
        Fault::KillLeading
        | Fault::KillServer(..)
        | Fault::EndServer(..)
        | Fault::StopServer(..)
        | Fault::FillDisk(..)
        | Fault::StepDownStream(_)
        | Fault::StepDownConsumers(_) => true,
        Fault::Forge => false,
    }
}

fn lingering(span: Span) -> Span {
    Span {
        to: span.to + PATH_LINGERS,
        ..span
    }
}

impl Explanation {
    /// In words, for counting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "its worker ended",
            Self::Silent => "a worker was silent",
            Self::Path => "only its path failed",
            Self::Nothing => "nothing explains it",
        }
    }
}

/// How many processes of a role were killed in a time.
#[must_use]
pub fn killed_between(history: &History, role: Role, from: Moment, to: Moment) -> usize {
    let lives = history.lives.iter();
    let of_role = lives.filter(|(life, _)| life.place.role == role);
    let killed = of_role.filter_map(|(_, fact)| fact.killed());
    killed.filter(|at| (from..=to).contains(at)).count()
}
