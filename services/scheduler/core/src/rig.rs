//! A scheduler on a test bench: short names for events, and workers that follow their protocol.
//!
//! A worker of the rig takes every frame at once, unless [`Rig::lose_frames`] is set: it holds what it
//! was assigned until that is settled or revoked, and says so in its next heartbeat. After every event
//! and every turn the books are checked.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::dispatch::{Ending, Outcome};
use rota_wire::fleet::{FrameMark, Heartbeat, Held, Stage};
use rota_wire::{Lane, Micros, Span, TaskSpec, Term, WorkerId};

use crate::{Action, AssignFrame, Beginning, Event, Looked, Options, Scheduler};
pub(crate) use reading::{
    acked, buried, closed, frames, looked_up, nakked, opened, placed, probed, pulled, resumed,
    revoked, settled, sought, stored_retries, suspended, told,
};
pub(crate) use samples::{
    amount, delivered, echo, failed, handed_back, heartbeat, holding, lane, reported, running,
    running_in, task, task_in, worker,
};

mod reading;
mod samples;

pub(crate) const TERM: Term = Term(7);
pub(crate) const START: Micros = Micros(1_000_000_000);
pub(crate) const INTERVAL: Span = Span::from_secs(1);

pub(crate) struct Rig {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Micros,
    /// What each worker says next.
    pub(crate) workers: BTreeMap<String, Heartbeat>,
    /// Frames do not reach their workers.
    pub(crate) lose_frames: bool,
    /// What was done in the scheduler's first moment.
    pub(crate) first: Vec<Action>,
    reports: u64,
    reported: BTreeMap<u64, u64>,
}

impl Rig {
    /// A scheduler that has taken over: its roll call has ended, and nothing was left.
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let roll_call = options.roll_call;
        let mut rig = Self::recovering(options, &[]);
        rig.event(Event::LanesListed { lanes: Vec::new() });
        rig.wait(roll_call);
        rig
    }

    /// A scheduler at the beginning of its term.
    pub(crate) fn recovering(options: Options, expected: &[&str]) -> Self {
        let expected: BTreeSet<WorkerId> = expected.iter().map(|name| worker(name)).collect();
        let mut first = Vec::new();
        let scheduler = Scheduler::new(
            options,
            Beginning {
                term: TERM,
                seed: 42,
                now: START,
                expected,
                memory: None,
            },
            &mut first,
        );
        Self {
            scheduler,
            now: START,
            workers: BTreeMap::new(),
            lose_frames: false,
            first,
            reports: 0,
            reported: BTreeMap::new(),
        }
    }

    /// One event and its turn.
    pub(crate) fn event(&mut self, event: Event) -> Vec<Action> {
        self.events([event])
    }

    /// Events that came together, and their turn.
    pub(crate) fn events(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Action> {
        let mut actions = Vec::new();
        for event in events {
            self.scheduler.handle_event(self.now, event, &mut actions);
            self.scheduler.check().expect("the books agree");
        }
        self.end_turn(actions)
    }

    /// Lets time pass; all that falls due in it happens when it is due.
    pub(crate) fn wait(&mut self, span: Span) -> Vec<Action> {
        let until = self.now.plus(span);
        let mut all = Vec::new();
        while self.scheduler.next_deadline() <= until {
            self.now = self.scheduler.next_deadline().max(self.now);
            let mut actions = Vec::new();
            self.scheduler.handle_timeout(self.now, &mut actions);
            all.extend(self.end_turn(actions));
            assert!(
                self.scheduler.next_deadline() > self.now,
                "nothing is left due"
            );
        }
        self.now = until;
        all
    }

    fn end_turn(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        self.scheduler.dispatch(self.now, &mut actions);
        self.scheduler.check().expect("the books agree");
        for action in &actions {
            if let Action::Assign(frame) = action
                && !self.lose_frames
            {
                self.take_frame(frame);
            }
        }
        actions
    }

    fn take_frame(&mut self, frame: &AssignFrame) {
        let Some(says) = self.workers.get_mut(frame.worker.as_str()) else {
            return;
        };
        says.seen = Some(FrameMark {
            term: TERM,
            number: frame.number,
        });
        let over: Vec<u64> = frame
            .settled
            .iter()
            .filter_map(|number| self.reported.get(number).copied())
            .collect();
        says.held.retain(|held| {
            let settled = held.stage == Stage::Ended && over.contains(&held.holding.delivery.seq);
            !settled && !frame.revoked.contains(&held.holding)
        });
        for (holdings, stage) in [
            (&frame.suspended, Stage::Suspended),
            (&frame.resumed, Stage::Running),
        ] {
            for held in &mut says.held {
                if holdings.contains(&held.holding) {
                    held.stage = stage;
                }
            }
        }
        says.held.extend(frame.tasks.iter().map(|placed| Held {
            holding: placed.holding,
            stage: Stage::Running,
            ran: Span::default(),
            task: None,
        }));
    }

    /// Opens a lane in which nothing was left.
    pub(crate) fn open(&mut self, lane: &Lane) -> Vec<Action> {
        self.open_with(lane, 0, 0)
    }

    pub(crate) fn open_with(&mut self, lane: &Lane, unacked: u32, to: u64) -> Vec<Action> {
        self.event(Event::LaneOpened {
            lane: lane.clone(),
            unacked,
            delivered_to: to,
        })
    }

    /// A fresh task of the kind `echo`, whose id is its sequence.
    pub(crate) fn deliver(&mut self, seq: u64) -> Vec<Action> {
        self.event(delivered(seq, 1, task(&seq.to_string())))
    }

    /// A fresh task as [`Rig::deliver`] has it, but for what is changed.
    pub(crate) fn deliver_as(
        &mut self,
        seq: u64,
        change: impl FnOnce(&mut TaskSpec),
    ) -> Vec<Action> {
        let mut spec = task(&seq.to_string());
        spec.submitted = self.now;
        change(&mut spec);
        self.event(delivered(seq, 1, spec))
    }

    /// One that is said to run for so long.
    pub(crate) fn deliver_lasting(&mut self, seq: u64, duration: Span) -> Vec<Action> {
        self.deliver_as(seq, |spec| spec.options.duration = Some(duration))
    }

    /// The same message once more.
    pub(crate) fn deliver_again(&mut self, seq: u64, count: u32) -> Vec<Action> {
        self.event(delivered(seq, count, task(&seq.to_string())))
    }

    pub(crate) fn found(&mut self, seq: u64, found: Looked) -> Vec<Action> {
        self.event(Event::Looked { seq, found })
    }

    /// A worker's first heartbeat: it handles `echo`.
    pub(crate) fn join(&mut self, name: &str, slots: u32) -> Vec<Action> {
        self.join_for(name, slots, &["echo"])
    }

    /// A worker that is not missed for minutes.
    pub(crate) fn join_steady(&mut self, name: &str, slots: u32) -> Vec<Action> {
        self.join_as(name, slots, |_| {})
    }

    /// The same, but for what is changed.
    pub(crate) fn join_as(
        &mut self,
        name: &str,
        slots: u32,
        change: impl FnOnce(&mut Heartbeat),
    ) -> Vec<Action> {
        let mut says = heartbeat(name, slots, &["echo"]);
        says.interval = Span::from_secs(60);
        change(&mut says);
        self.workers.insert(name.to_owned(), says);
        self.beat(name)
    }

    pub(crate) fn join_for(&mut self, name: &str, slots: u32, kinds: &[&str]) -> Vec<Action> {
        self.workers
            .insert(name.to_owned(), heartbeat(name, slots, kinds));
        self.beat(name)
    }

    /// A worker's next heartbeat.
    pub(crate) fn beat(&mut self, name: &str) -> Vec<Action> {
        let says = self.workers.get_mut(name).expect("the rig knows it");
        says.number += 1;
        let says = says.clone();
        self.event(Event::Heartbeat(Box::new(says)))
    }

    pub(crate) fn says(&mut self, name: &str) -> &mut Heartbeat {
        self.workers.get_mut(name).expect("the rig knows it")
    }

    /// What a worker holds, in order of sequence.
    pub(crate) fn holds(&self, name: &str) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.workers[name]
            .held
            .iter()
            .map(|held| held.holding.delivery.seq)
            .collect();
        seqs.sort_unstable();
        seqs
    }

    /// What became of a task that a worker holds.
    pub(crate) fn report(&mut self, name: &str, seq: u64, ending: Ending) -> Vec<Action> {
        let outcome = self.outcome(name, seq, ending);
        self.event(reported(name, outcome))
    }

    /// It has completed, and ran for so long.
    pub(crate) fn complete(&mut self, name: &str, seq: u64, ran: Span) -> Vec<Action> {
        let mut outcome = self.outcome(name, seq, Ending::Stored);
        outcome.ran = ran;
        self.event(reported(name, outcome))
    }

    pub(crate) fn outcome(&mut self, name: &str, seq: u64, ending: Ending) -> Outcome {
        let says = self.workers.get_mut(name).expect("the rig knows it");
        let held = says
            .held
            .iter_mut()
            .find(|held| held.holding.delivery.seq == seq);
        let held = held.expect("it holds the task");
        held.stage = Stage::Ended;
        self.reports += 1;
        self.reported.insert(self.reports, seq);
        Outcome {
            number: self.reports,
            holding: held.holding,
            ran: Span::default(),
            ending,
        }
    }
}
