//! The state machine: one event in, actions out.
//!
//! The rules stand beside the parts they are about: `deliveries` (what comes from the lanes),
//! `heartbeats` (workers that speak and fall silent), `outcomes` (what became of attempts),
//! `dispatch` (who gets what, and how much to pull).

use std::collections::{BTreeMap, BTreeSet};

use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;
use rota_wire::event::{Counts, Event as Told};
use rota_wire::{Lane, LeaderMemory, Micros, Span, Term, WorkerId};

use crate::action::Action;
use crate::allocation::Allocator;
use crate::departures::DEAD_FOR;
use crate::estimates::Estimates;
use crate::event::Event;
use crate::fleet::{Fleet, Indexes, WorkerKey};
use crate::lanes::{Consumer, Known, Lanes};
use crate::losses::Losses;
use crate::opening::Rounds;
use crate::options::Options;
use crate::policy::{Allocation, Binding};
use crate::preemption::Runners;
use crate::queue::Queue;
use crate::recovery::Recovery;
use crate::reservation::Reservations;
use crate::retried::Retried;
use crate::tasks::Tasks;
use crate::unserved::Unserved;

/// The scheduler of one term.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) options: Options,
    pub(crate) term: Term,
    /// The time of the event that is being handled.
    pub(crate) now: Micros,
    pub(crate) allocator: Allocator,
    pub(crate) estimates: Estimates,
    pub(crate) runners: Runners,
    /// Whether any kind's order suspends attempts.
    pub(crate) preemptive: bool,
    /// Counts the tasks that came to wait.
    pub(crate) came: u64,
    pub(crate) tasks: Tasks,
    pub(crate) queue: Queue,
    /// Tasks that may have taken down all workers but one that they may: at most one of them on a worker.
    pub(crate) suspects: BTreeSet<u64>,
    /// The last of them that a worker was looked for.
    pub(crate) suspect_tried: u64,
    pub(crate) losses: Losses,
    /// Workers that are not heard, as was told.
    pub(crate) refused: BTreeSet<WorkerId>,
    pub(crate) fleet: Fleet,
    pub(crate) lanes: Lanes,
    pub(crate) reservations: Reservations,
    pub(crate) rounds: Rounds,
    pub(crate) unserved: Unserved,
    pub(crate) recovery: Recovery,
    pub(crate) retried: Retried,
    /// Look-ups and stores that failed, and when to try them again.
    pub(crate) again: BTreeSet<(Micros, u64)>,
    pub(crate) counts: Counts,
    next_count: Micros,
}

/// What a scheduler begins with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Its term.
    pub term: Term,
    /// What its draws come from.
    pub seed: u64,
    /// The time.
    pub now: Micros,
    /// The workers that this process knew in an earlier term: the roll call ends early once all have
    /// answered.
    pub expected: BTreeSet<WorkerId>,
    /// What an earlier leader has learned.
    pub memory: Option<LeaderMemory>,
}

impl Scheduler {
    /// A scheduler at the beginning of its term.
    ///
    /// # Panics
    /// If the options break a rule: whoever read them has to check [`Options::faults`].
    #[must_use]
    pub fn new(options: Options, beginning: Beginning, actions: &mut Vec<Action>) -> Self {
        let Beginning {
            term,
            seed,
            now,
            expected,
            memory,
        } = beginning;
        let faults = options.faults();
        assert!(faults.is_empty(), "options were not checked: {faults:?}");
        actions.push(Action::CallRoll);
        actions.push(Action::Tell(Told::Leading { term }));
        let (roll_call, count_every) = (options.roll_call, options.count_every);
        let policies = || options.kinds.values().chain([&options.policy]);
        let preemptive = policies().any(|policy| policy.order.is_preemptive());
        let indexes = Indexes {
            takers: policies().any(|policy| policy.binding == Binding::Early),
            turns: policies().any(|policy| policy.allocation == Allocation::RoundRobin),
            rooms: false,
            clear: false,
        };
        let mut fleet = Fleet::new(options.load_view, indexes);
        let (mut estimates, mut losses) = (Estimates::default(), Losses::default());
        if let Some(LeaderMemory {
            durations,
            losses: lost,
        }) = memory
        {
            // A heartbeat of one who has died may still be under way.
            for worker in lost.iter().flat_map(|task| &task.workers) {
                if worker.ended {
                    fleet.say_dead(&worker.worker, now.plus(DEAD_FOR));
                }
            }
            estimates.recall(durations);
            losses.recall(lost);
        }
        Self {
            options,
            term,
            now,
            allocator: Allocator::new(Pcg64::seed_from_u64(seed)),
            estimates,
            runners: Runners::default(),
            preemptive,
            came: 0,
            tasks: Tasks::default(),
            queue: Queue::default(),
            suspects: BTreeSet::new(),
            suspect_tried: 0,
            losses,
            refused: BTreeSet::new(),
            fleet,
            lanes: Lanes::default(),
            reservations: Reservations::new(now),
            rounds: Rounds::new(now),
            unserved: Unserved::default(),
            retried: Retried::default(),
            recovery: Recovery::new(now, roll_call, expected),
            again: BTreeSet::new(),
            counts: Counts {
                term,
                ..Counts::default()
            },
            next_count: now.plus(count_every),
        }
    }

    /// Takes in one event.
    pub fn handle_event(&mut self, now: Micros, event: Event, actions: &mut Vec<Action>) {
        self.now = now;
        match event {
            Event::LaneFound { lane } => self.lane_found(&lane, actions),
            Event::LanesListed { lanes } => self.lanes_listed(&lanes, actions),
            Event::LaneOpened {
                lane,
                unacked,
                delivered_to,
            } => self.lane_opened(&lane, unacked, delivered_to),
            Event::LaneNotOpened { lane } => self.lane_not_opened(&lane),
            Event::LaneGone { lane } => self.lane_gone(&lane, actions),
            Event::LaneClosed { lane } => self.lane_closed(&lane, actions),
            Event::LaneKept { lane } => self.lane_kept(&lane),
            Event::Delivered {
                lane,
                delivery,
                pending,
                task,
                input_bytes,
            } => {
                self.delivered(lane, delivery, pending, task, input_bytes, actions);
            }
            Event::Unreadable {
                lane,
                delivery,
                pending,
            } => {
                self.lanes.came(&lane, delivery, pending, Known::No, now);
            }
            Event::PullEnded { lane, unused, end } => {
                self.pull_ended(&lane, unused, end);
            }
            Event::Heartbeat(heartbeat) => self.heartbeat(now, &heartbeat, actions),
            Event::Reported { worker, outcome } => self.reported(&worker, *outcome, actions),
            Event::Looked { seq, found } => self.looked(now, seq, found, actions),
            Event::Stored { seq } => self.stored(seq, actions),
            Event::StoreFailed { seq } => self.store_failed(now, seq),
            Event::Gone { seq } => self.gone(seq),
            Event::Deaf { span } => self.deaf(span),
            Event::Unreachable { worker, frame } => self.unreachable(&worker, frame, actions),
            Event::Died { worker } => self.died(&worker, actions),
            Event::Probed { worker, there } => self.probed(&worker, there),
        }
    }

    /// Does what is due. To be called at [`Scheduler::next_deadline`] or later.
    pub fn handle_timeout(&mut self, now: Micros, actions: &mut Vec<Action>) {
        self.now = now;
        self.recovery.end_roll_call(now);
        self.release_held_back(now);
        self.lose_silent_workers(now, actions);
        self.give_away(now, actions);
        self.open_rested(now, actions);
        self.look_over_lanes(now, actions);
        self.find_lanes(now, actions);
        self.try_again(now, actions);
        if self.next_count <= now {
            self.next_count = now.plus(self.options.count_every);
            self.counts.in_memory = self.tasks.len() as u64;
            (self.counts.resources, self.counts.demand) = self.fleet.resources();
            actions.push(Action::Tell(Told::Counted(self.counts)));
        }
    }

    /// When [`Scheduler::handle_timeout`] and [`Scheduler::dispatch`] are to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Micros {
        let recovery = self.recovery.next_deadline();
        let silent = self.fleet.next_deadline().map(|(at, _)| at);
        let again = self.again.first().map(|(at, _)| *at);
        let (unserved, room) = (self.unserved.next(), self.runners.next_deadline());
        let reservation = self.next_reservation();
        [recovery, silent, again, unserved, room, reservation]
            .into_iter()
            .flatten()
            .fold(self.next_count.min(self.next_round()), Micros::min)
    }

    /// The workers that are there.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerId> {
        self.fleet.iter().map(|(_, worker)| &worker.id)
    }

    /// The open lanes of which nothing has come for a span, and how many of their un-acked messages are known: in
    /// memory, or still to come again. Of a lane that flows nobody can tell: much is always on its way.
    #[must_use]
    pub fn unacked(&self, now: Micros, quiet: Span) -> BTreeMap<Lane, u64> {
        let open = self.lanes.iter().filter(|(_, book)| {
            book.consumer == Consumer::Open && book.quiet_since.plus(quiet) <= now
        });
        let mut known: BTreeMap<Lane, u64> = open
            .map(|(lane, book)| (lane.clone(), u64::from(book.redeliveries_due + book.away)))
            .collect();
        for (_, task) in self.tasks.iter() {
            if let Some(known) = known.get_mut(&task.lane) {
                *known += 1;
            }
        }
        // What was given back comes first of all that is asked for: where something is owed, and nothing comes,
        // it is not on its way.
        for (lane, book) in self.lanes.iter().filter(|(_, book)| book.owed > 0) {
            if let Some(known) = known.get_mut(lane) {
                *known = known.saturating_sub(u64::from(book.returning));
            }
        }
        known
    }

    /// Whom the next leader is to expect: the workers that are there, and those whose answer to our own roll call
    /// is still awaited. A term may be over before anybody could answer.
    pub fn roll(&self) -> impl Iterator<Item = &WorkerId> {
        self.workers().chain(self.recovery.awaited())
    }

    /// What it has learned, for the leader after it.
    #[must_use]
    pub fn memory(&self) -> LeaderMemory {
        LeaderMemory {
            durations: self.estimates.remember(),
            losses: self.losses.remember(),
        }
    }

    /// Changes whenever a loss was counted or forgiven: then what it has learned is worth storing.
    #[must_use]
    pub const fn memory_version(&self) -> u64 {
        self.losses.version()
    }

    /// Tasks in memory.
    #[must_use]
    pub fn tasks_in_memory(&self) -> usize {
        self.tasks.len()
    }

    fn try_again(&mut self, now: Micros, actions: &mut Vec<Action>) {
        while let Some((at, seq)) = self.again.first().copied() {
            if at > now {
                break;
            }
            self.again.pop_first();
            self.repeat_step(seq, actions);
        }
    }

    pub(crate) fn try_again_later(&mut self, now: Micros, seq: u64) {
        self.again.insert((now.plus(self.options.again_after), seq));
    }

    /// Settles a worker's report.
    pub(crate) fn settle(&mut self, worker: WorkerKey, report: u64) {
        if let Some(outbox) = self.fleet.outbox(worker) {
            outbox.settled.push(report);
        }
    }

    /// The same for a report of which only the worker's name is known.
    pub(crate) fn settle_report(&mut self, report: Option<(WorkerId, u64)>) {
        if let Some((worker, number)) = report
            && let Some(key) = self.fleet.key(&worker)
        {
            self.settle(key, number);
        }
    }
}

#[cfg(test)]
mod tests;
