//! Which lanes are opened and closed.
//!
//! A lane's consumer costs the server memory, on three servers a Raft group: so there is one only for kinds
//! that a live worker handles, and where something un-acked is left. What clients submit for kinds that nobody
//! handles makes no lane and costs no memory here: when the first worker of a kind comes, its lanes are looked
//! for.

use std::collections::BTreeSet;

use rota_wire::{Kind, Lane, Micros, Span};

use crate::action::Action;
use crate::lanes::Consumer;
use crate::scheduler::Scheduler;

/// The lanes of a kind are looked for so often, in case a hint was lost.
const FIND_EVERY: Span = Span::from_secs(10);
/// Kinds whose lanes are looked for at a time.
const FIND_MAX: usize = 32;
/// A lane that cannot be opened is tried after a pause that doubles up to so often.
const DOUBLINGS_MAX: u32 = 4;
/// Lanes are looked over so many times in the shortest span after which one may be closed.
const LOOKS: u64 = 4;

/// When lanes are looked for and looked over.
#[derive(Debug)]
pub(crate) struct Rounds {
    next_look: Micros,
    next_find: Micros,
    /// The last kind whose lanes were looked for in this round; nothing between two rounds.
    found_to: Option<Kind>,
}

impl Rounds {
    pub(crate) const fn new(now: Micros) -> Self {
        Self {
            next_look: now,
            next_find: now.plus(FIND_EVERY),
            found_to: None,
        }
    }
}

impl Scheduler {
    /// A lane has messages.
    pub(crate) fn lane_found(&mut self, lane: &Lane, actions: &mut Vec<Action>) {
        if self.fleet.is_served(&lane.kind) {
            self.want_lane(lane, actions);
        }
    }

    /// Something of earlier terms may be un-acked in these.
    pub(crate) fn lanes_listed(&mut self, lanes: &[Lane], actions: &mut Vec<Action>) {
        self.recovery.lanes_listed = true;
        for lane in lanes {
            self.want_recovered(lane, actions);
        }
    }

    /// Has a lane opened whatever its kind, and recovered.
    pub(crate) fn want_recovered(&mut self, lane: &Lane, actions: &mut Vec<Action>) {
        self.want_lane(lane, actions);
        self.lanes.doubt(lane);
    }

    fn want_lane(&mut self, lane: &Lane, actions: &mut Vec<Action>) {
        let served = self.fleet.is_served(&lane.kind);
        if self.lanes.begin(lane, self.now, served) {
            actions.push(Action::OpenLane { lane: lane.clone() });
        }
    }

    pub(crate) fn lane_opened(&mut self, lane: &Lane, unacked: u32, delivered_to: u64) {
        let served = self.fleet.is_served(&lane.kind);
        self.lanes.begin(lane, self.now, served);
        self.lanes.opened(lane, unacked, delivered_to, self.now);
    }

    pub(crate) fn lane_not_opened(&mut self, lane: &Lane) {
        let Some(book) = self.lanes.get_mut(lane) else {
            return;
        };
        if book.consumer != Consumer::Opening {
            return;
        }
        let pause = self.options.again_after.ms() << book.failures.min(DOUBLINGS_MAX);
        book.failures = book.failures.saturating_add(1);
        let until = self.now.plus(Span::from_ms(pause));
        self.lanes.rest(lane, Some(until));
    }

    /// The consumer is gone and with it all pulls. What it had delivered comes again from the next one,
    /// and is recognised.
    pub(crate) fn lane_gone(&mut self, lane: &Lane, actions: &mut Vec<Action>) {
        let consumer = self.lanes.get_mut(lane).map(|book| book.consumer);
        match consumer {
            None => self.lane_found(lane, actions),
            Some(Consumer::Closing) => self.lane_closed(lane, actions),
            Some(Consumer::Open) => self.open_again(lane, actions),
            Some(Consumer::Opening | Consumer::Resting { .. }) => {}
        }
    }

    pub(crate) fn lane_closed(&mut self, lane: &Lane, actions: &mut Vec<Action>) {
        let Some(book) = self.lanes.get_mut(lane) else {
            return;
        };
        if book.consumer != Consumer::Closing {
            return;
        }
        let came_meanwhile = book.waiting > 0 || book.returning > 0;
        if came_meanwhile || self.lanes_in_memory().contains(lane) {
            self.open_again(lane, actions);
            return;
        }
        self.lanes.closed(lane);
        // Something may have been submitted since it was last seen to be empty.
        if self.fleet.is_served(&lane.kind) {
            let kind = lane.kind.clone();
            actions.push(Action::FindLanes { kind });
        }
    }

    pub(crate) fn lane_kept(&mut self, lane: &Lane) {
        let now = self.now;
        if let Some(book) = self.lanes.get_mut(lane)
            && book.consumer == Consumer::Closing
        {
            book.consumer = Consumer::Open;
            book.quiet_since = now;
            book.unserved_since = book.unserved_since.map(|_| now);
        }
    }

    fn open_again(&mut self, lane: &Lane, actions: &mut Vec<Action>) {
        self.lanes.gone(lane);
        actions.push(Action::OpenLane { lane: lane.clone() });
    }

    /// Tries again to open what could not be opened.
    pub(crate) fn open_rested(&mut self, now: Micros, actions: &mut Vec<Action>) {
        while let Some(lane) = self.lanes.take_rested(now) {
            actions.push(Action::OpenLane { lane });
        }
    }

    /// When lanes are to be looked for, looked over or tried again.
    pub(crate) fn next_round(&self) -> Micros {
        let rounds = &self.rounds;
        let next = rounds.next_look.min(rounds.next_find);
        self.lanes.next_try().map_or(next, |at| at.min(next))
    }

    /// Looks for the lanes of some kinds, each at most once in a while.
    pub(crate) fn find_lanes(&mut self, now: Micros, actions: &mut Vec<Action>) {
        if self.rounds.next_find > now {
            return;
        }
        let kinds = self.fleet.served_after(self.rounds.found_to.as_ref());
        let kinds: Vec<Kind> = kinds.take(FIND_MAX).cloned().collect();
        let more = kinds.len() == FIND_MAX;
        let (pause, found_to) = if more {
            (Span::from_secs(1), kinds.last().cloned())
        } else {
            (FIND_EVERY, None)
        };
        (self.rounds.next_find, self.rounds.found_to) = (now.plus(pause), found_to);
        actions.extend(kinds.into_iter().map(|kind| Action::FindLanes { kind }));
    }

    /// Kinds that have got their first worker, or lost their last.
    pub(crate) fn follow_service(&mut self, actions: &mut Vec<Action>) {
        let now = self.now;
        for kind in self.fleet.take_service_changes() {
            let served = self.fleet.is_served(&kind);
            for book in self.lanes.of_kind(&kind) {
                book.unserved_since = (!served).then_some(now);
            }
            if served {
                self.unserved.remove(&kind);
                actions.push(Action::FindLanes { kind });
            } else {
                self.await_service(kind);
            }
        }
    }

    /// Closes the lanes that have brought nothing for long, or whose kinds nobody handles.
    pub(crate) fn look_over_lanes(&mut self, now: Micros, actions: &mut Vec<Action>) {
        if self.rounds.next_look > now {
            return;
        }
        let (idle, unserved) = (self.options.lane_idle, self.options.lane_unserved);
        let pause = Span::from_ms((idle.ms().min(unserved.ms()) / LOOKS).max(1));
        self.rounds.next_look = now.plus(pause);
        let over = |since: Micros, span: Span| since.plus(span) <= now;
        let quiet = self.lanes.iter().filter(|(_, book)| {
            let unserved = book.unserved_since.is_some_and(|at| over(at, unserved));
            book.is_at_rest() && (unserved || over(book.quiet_since, idle))
        });
        let quiet: Vec<Lane> = quiet.map(|(lane, _)| lane.clone()).collect();
        if quiet.is_empty() {
            return;
        }
        let busy = self.lanes_in_memory();
        for lane in quiet {
            if !busy.contains(&lane)
                && !self.recovery.claims.concern(&lane)
                && let Some(book) = self.lanes.get_mut(&lane)
            {
                book.consumer = Consumer::Closing;
                actions.push(Action::CloseLane { lane });
            }
        }
    }

    fn lanes_in_memory(&self) -> BTreeSet<Lane> {
        self.tasks
            .iter()
            .map(|(_, task)| task.lane.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests;
