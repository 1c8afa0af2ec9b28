//! Which task is next, and which running one makes room for it.
//!
//! Each order is two numbers: the rank of a task that waits, the smallest first, and the turn of one that
//! runs, the smallest first to make room. Neither changes while time passes, so both live in ordered sets:
//!
//! ```text
//! order        rank of a waiting task                    turn of a running one       makes room when
//! fifo         submitted                                 –                           never
//! priority     submitted + levels below 9 × ageing       –                           never
//! sjf          expected duration                         –                           never
//! srtf         expected duration − ran                   latest expected end first   it has more left
//! las          ran                                       most run first              it ran a quantum more
//! time-slice   when it came or was suspended             begun first                 it ran a quantum
//! ```
//!
//! What must hold: a task that takes the slot of another does not lose it to that one before it has run.
//! With `srtf` it has strictly less left, which only shrinks, and the other's stays as it is; with `las` and
//! `time-slice` a quantum of at least 1 ms lies between; and each runs at least `min_run` in any case.

use std::cmp::Reverse;

use rota_wire::{Micros, Priority, Span};

use crate::policy::{Order, Policy};

/// A task's place among those that wait: the smallest is next. Equals go by their message's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u64, u64);

/// An attempt's place among those that run: the smallest makes room first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(u64);

/// What an order looks at in a task that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) submitted: Micros,
    pub(crate) priority: Priority,
    /// How long it is expected to run in all, in microseconds.
    pub(crate) expected: u64,
    /// How long it has run, in microseconds.
    pub(crate) ran: u64,
    /// Counts the tasks that came to wait.
    pub(crate) came: u64,
}

/// What an order looks at in an attempt that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    /// Since when it runs without a break.
    pub(crate) since: Micros,
    /// How long it had run before, in microseconds.
    pub(crate) ran: u64,
    /// How long it is expected to run in all, in microseconds.
    pub(crate) expected: u64,
}

/// The rank of a task that waits.
pub(crate) fn rank(policy: &Policy, task: &Waiting) -> Rank {
    let submitted = task.submitted.0;
    match policy.order {
        Order::Fifo => Rank(submitted, 0),
        Order::Priority => urgency(policy.ageing, task),
        Order::Sjf => Rank(task.expected, submitted),
        Order::Srtf => Rank(task.expected.saturating_sub(task.ran), submitted),
        Order::Las => Rank(task.ran, submitted),
        Order::TimeSlice => Rank(task.came, 0),
    }
}

/// The rank by priority and age. A task is as urgent as one of the next level that came `ageing` later: so
/// it gains one level in that time, and the order of two that wait never changes.
pub(crate) fn urgency(ageing: Option<Span>, task: &Waiting) -> Rank {
    let below = u64::from(Priority::MAX.level() - task.priority.level());
    match ageing {
        Some(ageing) => {
            let behind = below.saturating_mul(ageing.ms()).saturating_mul(1_000);
            Rank(task.submitted.0.saturating_add(behind), below)
        }
        None => Rank(below, task.submitted.0),
    }
}

/// The turn of an attempt that runs; nothing where none makes room.
pub(crate) fn turn(order: Order, running: &Running) -> Option<Turn> {
    match order {
        Order::Fifo | Order::Priority | Order::Sjf => None,
        Order::Srtf => {
            let Reverse(end) = Reverse(expected_end(running));
            Some(Turn(u64::MAX - end))
        }
        Order::Las => Some(Turn(running.since.0.saturating_sub(running.ran))),
        Order::TimeSlice => Some(Turn(running.since.0)),
    }
}

/// From when a running attempt makes room for a waiting task; nothing when it does not.
pub(crate) fn makes_room(
    policy: &Policy,
    running: &Running,
    waiting: &Waiting,
    now: Micros,
) -> Option<Micros> {
    // Never in the moment in which it began: its worker would be told both in one breath.
    let least = running
        .since
        .0
        .saturating_add(micros(policy.min_run).max(1));
    match policy.order {
        Order::Fifo | Order::Priority | Order::Sjf => None,
        Order::Srtf => {
            let left = waiting.expected.saturating_sub(waiting.ran);
            let at = least.max(now.0);
            (left < expected_end(running).saturating_sub(at)).then_some(Micros(least))
        }
        Order::Las => {
            let ahead = waiting.ran.saturating_add(micros(policy.quantum));
            let still = ahead.saturating_sub(running.ran);
            Some(Micros(least.max(running.since.0.saturating_add(still))))
        }
        Order::TimeSlice => {
            let slice = running.since.0.saturating_add(micros(policy.quantum));
            Some(Micros(least.max(slice)))
        }
    }
}

fn expected_end(running: &Running) -> u64 {
    let left = running.expected.saturating_sub(running.ran);
    running.since.0.saturating_add(left)
}

/// In microseconds.
pub(crate) const fn micros(span: Span) -> u64 {
    span.ms().saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
