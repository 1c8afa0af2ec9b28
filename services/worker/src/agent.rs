//! The worker's side of delivery: what it was assigned, what runs, and what is not settled yet.
//!
//! [`Agent`] is a pure state machine: events and the time go in, actions come out. It knows no
//! clock, no NATS and no handler; [`shell`] feeds it and carries out what it says. Time is the span
//! since the worker began.
//!
//! ```text
//! a delivery   assigned ─► waiting ─► running ─► ended ─settled─► forgotten
//!                 │           └─revoked┴──────────┴─────────────► forgotten, in silence
//!                 └─ draining, no room, unknown kind ─► ended (handed back)
//!
//! the worker   up ─drain─► draining ─grace over─► stopping ─► settling ─► gone
//!                             └─────── nothing runs ──────────────▲
//! ```
//!
//! What must hold:
//!
//! - A delivery is in each heartbeat from its assignment until its outcome is settled or it is
//!   revoked. So what the scheduler finds missing in a heartbeat is missing.
//! - An outcome is reported until it is settled, under the newest holding of its delivery.
//! - Of a revoked delivery nothing is ever said. Its attempt keeps its slot until it has ended.
//! - Only what the leading scheduler sends has any effect.

mod action;
mod event;
mod gate;
mod outbox;
mod pulse;
pub(crate) mod running;
pub(crate) mod shell;
mod slots;
mod throttle;

use std::collections::BTreeMap;
use std::time::Duration;

use rota_wire::dispatch::{Assign, Assignment, Ending, Report};
use rota_wire::fleet::{self, FrameMark, Stage, WorkerState};
use rota_wire::{Holding, Kind, TaskId};

pub(crate) use action::{Action, Note};
pub(crate) use event::{AttemptEnd, AttemptNumber, Event, ReadySeq};
use gate::{Command, Gate};
use outbox::Outbox;
pub(crate) use pulse::Profile;
use pulse::Pulse;
use slots::{Admission, Slots, Ticket};

/// The most deliveries held, ended ones included. More are not taken, so that a heartbeat stays
/// within a message; the scheduler finds them missing and assigns them elsewhere.
const HELD_MAX: usize = 16 * 1024;
/// How long a worker that stops waits for its last outcomes to be settled.
const SETTLE_WAIT: Duration = Duration::from_secs(3);
/// Why a delivery is handed back, as the scheduler and its log read it.
const STOPPING: &str = "the worker is stopping";
const NO_ROOM: &str = "the worker has neither a free slot nor room in its queue";
const UNKNOWN_KIND: &str = "the worker does not handle this kind";

/// The state machine. Feed it events and timeouts, then end the turn.
#[derive(Debug)]
pub(crate) struct Agent {
    phase: Phase,
    gate: Gate,
    seen: Option<FrameMark>,
    held: BTreeMap<ReadySeq, Accepted>,
    attempts: BTreeMap<AttemptNumber, Occupant>,
    attempts_begun: u64,
    slots: Slots,
    outbox: Outbox,
    pulse: Pulse,
    stop_wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Up,
    /// Attempts may end by themselves.
    Draining {
        stop_at: Duration,
    },
    /// Attempts were told to end.
    Stopping {
        give_up_at: Duration,
    },
    /// Nothing runs; outcomes are not settled yet.
    Settling {
        until: Duration,
    },
    Gone,
}

/// A delivery that was taken.
#[derive(Debug)]
struct Accepted {
    holding: Holding,
    task: TaskId,
    attempt: u32,
    place: Place,
}

/// How far a delivery is.
#[derive(Debug)]
enum Place {
    Waiting(Ticket, Box<Assignment>),
    Running(AttemptNumber),
    /// With the number of its outcome.
    Ended(u64),
}

/// What occupies a slot.
#[derive(Debug)]
struct Occupant {
    kind: Kind,
    /// Nothing once it was revoked.
    seq: Option<ReadySeq>,
}

impl Agent {
    /// A worker that holds nothing. `stop_wait` is the longest that an attempt may take to end once
    /// it was told to.
    pub(crate) fn new(profile: Profile, stop_wait: Duration) -> Self {
        Self {
            phase: Phase::Up,
            gate: Gate::default(),
            seen: None,
            held: BTreeMap::new(),
            attempts: BTreeMap::new(),
            attempts_begun: 0,
            slots: Slots::new(profile.slots, &profile.kinds),
            outbox: Outbox::default(),
            pulse: Pulse::new(profile),
            stop_wait,
        }
    }

    pub(crate) fn handle_event(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Assigned(frame) => self.handle_command(Command::Assign(frame), actions),
            Event::RollCalled(call) => self.handle_command(Command::RollCall(call), actions),
            Event::TermRead(leads) => {
                for command in self.gate.answer(leads, actions) {
                    self.obey(command, actions);
                }
            }
            Event::LinkRestored => self.repeat_all(),
            Event::AttemptEnded { attempt, end } => self.handle_ended(attempt, end, actions),
            Event::DrainBegun { grace } => self.handle_drain(now + grace, actions),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.pulse.handle_timeout(now);
        self.outbox.handle_timeout(now);
        match self.phase {
            Phase::Draining { stop_at } if stop_at <= now => self.stop_all(now, actions),
            Phase::Stopping { give_up_at } if give_up_at <= now => self.give_up(actions),
            Phase::Up
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Settling { .. }
            | Phase::Gone => {}
        }
    }

    /// Says what has gathered since the last turn, in as few messages as can be.
    pub(crate) fn end_turn(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.phase == Phase::Gone {
            return;
        }
        if self.pulse.take_due(now) {
            self.beat(actions);
        }
        while let Some(outcomes) = self.outbox.take_frame(now) {
            let worker = self.pulse.worker().clone();
            actions.push(Action::Report(Report { worker, outcomes }));
        }
        self.try_leave(now, actions);
    }

    /// When [`Agent::handle_timeout`] has something to do; nothing once the worker is gone.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let phase = match self.phase {
            Phase::Up => None,
            Phase::Draining { stop_at } => Some(stop_at),
            Phase::Stopping { give_up_at } => Some(give_up_at),
            Phase::Settling { until } => Some(until),
            Phase::Gone => return None,
        };
        let all = [phase, self.outbox.next_deadline(), Some(self.pulse.next())];
        all.into_iter().flatten().min()
    }

    fn handle_command(&mut self, command: Command, actions: &mut Vec<Action>) {
        if let Some(command) = self.gate.pass(command, actions) {
            self.obey(command, actions);
        }
    }

    fn obey(&mut self, command: Command, actions: &mut Vec<Action>) {
        match command {
            Command::Assign(frame) => self.handle_assign(frame, actions),
            Command::RollCall(_) => self.repeat_all(),
        }
    }

    fn handle_assign(&mut self, frame: Assign, actions: &mut Vec<Action>) {
        self.see(frame.mark, actions);
        for number in frame.settled {
            self.settle(number);
        }
        for holding in frame.revoked {
            let seq = ReadySeq(holding.delivery.seq);
            if self
                .held
                .get(&seq)
                .is_some_and(|held| held.holding == holding)
            {
                self.forget(seq, actions);
            }
        }
        for assignment in frame.tasks {
            self.handle_assignment(assignment, actions);
        }
    }

    /// A gap in the numbers means that assignments are lost: the next heartbeat shows the scheduler
    /// which, so it comes at once.
    fn see(&mut self, mark: FrameMark, actions: &mut Vec<Action>) {
        let expected = match self.seen {
            Some(seen) if seen.term == mark.term => seen.number + 1,
            // The first of a term may have any number.
            Some(_) | None => mark.number,
        };
        if mark.number > expected {
            let found = mark.number;
            actions.push(Action::Note(Note::FramesMissed { expected, found }));
            self.pulse.want();
        }
        self.seen = match self.seen {
            Some(seen) if seen.term == mark.term => Some(seen.max(mark)),
            Some(_) | None => Some(mark),
        };
    }

    fn settle(&mut self, number: u64) {
        if let Some(outcome) = self.outbox.remove(number) {
            self.held.remove(&ReadySeq(outcome.holding.delivery.seq));
        }
    }

    fn handle_assignment(&mut self, assignment: Assignment, actions: &mut Vec<Action>) {
        let seq = ReadySeq(assignment.holding.delivery.seq);
        match self.held.get(&seq) {
            None => {}
            Some(held) if held.is_attempt_of(&assignment) => {
                let note = Note::AlreadyHeld(assignment.id.clone());
                actions.push(Action::Note(note));
                return self.hold_anew(seq, assignment, actions);
            }
            // Only a stream that was made anew gives one sequence to two tasks.
            Some(_) => self.forget(seq, actions),
        }
        self.accept(seq, assignment, actions);
    }

    /// The same attempt is assigned again: what has become of it counts for the new holding.
    fn hold_anew(&mut self, seq: ReadySeq, assignment: Assignment, actions: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&seq) else {
            return;
        };
        if held.holding == assignment.holding {
            return;
        }
        held.holding = assignment.holding;
        match &mut held.place {
            Place::Running(_) => {}
            Place::Waiting(_, waiting) => waiting.holding = assignment.holding,
            Place::Ended(number) => match self.outbox.remove(*number).map(|old| old.ending) {
                Some(Ending::Returned { .. }) | None => {
                    self.held.remove(&seq);
                    self.accept(seq, assignment, actions);
                }
                Some(ending) => *number = self.outbox.push(assignment.holding, ending),
            },
        }
    }

    fn accept(&mut self, seq: ReadySeq, assignment: Assignment, actions: &mut Vec<Action>) {
        if self.held.len() >= HELD_MAX {
            actions.push(Action::Note(Note::Shed(assignment.id)));
            return;
        }
        let (holding, attempt) = (assignment.holding, assignment.attempt);
        let task = assignment.id.clone();
        let admission = match self.phase {
            Phase::Up => Ok(self.slots.admit(&assignment.kind, seq)),
            Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Settling { .. }
            | Phase::Gone => Err(STOPPING),
        };
        let place = match admission {
            Ok(Admission::Begin) => self.begin(seq, assignment, actions),
            Ok(Admission::Wait(ticket)) => Place::Waiting(ticket, Box::new(assignment)),
            Ok(Admission::Full) => self.hand_back(&task, holding, NO_ROOM, actions),
            Ok(Admission::UnknownKind) => self.hand_back(&task, holding, UNKNOWN_KIND, actions),
            Err(reason) => self.hand_back(&task, holding, reason, actions),
        };
        let accepted = Accepted {
            holding,
            task,
            attempt,
            place,
        };
        self.held.insert(seq, accepted);
    }

    /// Starts an attempt that has been given a slot.
    fn begin(&mut self, seq: ReadySeq, assignment: Assignment, actions: &mut Vec<Action>) -> Place {
        self.attempts_begun += 1;
        let attempt = AttemptNumber(self.attempts_begun);
        let occupant = Occupant {
            kind: assignment.kind.clone(),
            seq: Some(seq),
        };
        self.attempts.insert(attempt, occupant);
        actions.push(Action::Start {
            attempt,
            assignment,
        });
        Place::Running(attempt)
    }

    fn hand_back(
        &mut self,
        task: &TaskId,
        holding: Holding,
        reason: &'static str,
        actions: &mut Vec<Action>,
    ) -> Place {
        let task = task.clone();
        actions.push(Action::Note(Note::HandedBack { task, reason }));
        Place::Ended(self.outbox.push(holding, returned(reason)))
    }

    /// Stops a delivery if it runs, and never speaks of it again.
    fn forget(&mut self, seq: ReadySeq, actions: &mut Vec<Action>) {
        let Some(held) = self.held.remove(&seq) else {
            return;
        };
        actions.push(Action::Note(Note::Revoked(held.task)));
        match held.place {
            Place::Waiting(ticket, assignment) => self.slots.withdraw(&assignment.kind, ticket),
            Place::Ended(number) => drop(self.outbox.remove(number)),
            Place::Running(attempt) => {
                let occupant = self.attempts.get_mut(&attempt);
                occupant.expect("what runs occupies a slot").seq = None;
                actions.push(Action::Stop(attempt));
            }
        }
    }

    fn handle_ended(&mut self, attempt: AttemptNumber, end: AttemptEnd, actions: &mut Vec<Action>) {
        // Nothing: it was given up, and ended after all.
        let Some(Occupant { kind, seq }) = self.attempts.remove(&attempt) else {
            return;
        };
        self.slots.leave(&kind);
        if let Some(held) = seq.and_then(|seq| self.held.get_mut(&seq)) {
            let ending = match end {
                AttemptEnd::Ended(ending) => ending,
                AttemptEnd::Stopped => returned(STOPPING),
            };
            held.place = Place::Ended(self.outbox.push(held.holding, ending));
        }
        while let Some(seq) = self.slots.begin_next() {
            self.begin_waiting(seq, actions);
        }
    }

    fn begin_waiting(&mut self, seq: ReadySeq, actions: &mut Vec<Action>) {
        let mut held = self.held.remove(&seq).expect("what waits is held");
        if let Place::Waiting(_, assignment) = held.place {
            held.place = self.begin(seq, *assignment, actions);
        }
        self.held.insert(seq, held);
    }

    fn repeat_all(&mut self) {
        self.pulse.want();
        self.outbox.repeat_all();
    }

    fn handle_drain(&mut self, stop_at: Duration, actions: &mut Vec<Action>) {
        if self.phase != Phase::Up {
            return;
        }
        self.phase = Phase::Draining { stop_at };
        self.pulse.want();
        for held in self.held.values_mut() {
            if let Place::Waiting(ticket, assignment) = &held.place {
                self.slots.withdraw(&assignment.kind, *ticket);
                let (task, reason) = (held.task.clone(), STOPPING);
                actions.push(Action::Note(Note::HandedBack { task, reason }));
                held.place = Place::Ended(self.outbox.push(held.holding, returned(STOPPING)));
            }
        }
    }

    fn stop_all(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let give_up_at = now + self.stop_wait;
        self.phase = Phase::Stopping { give_up_at };
        actions.extend(self.attempts.keys().copied().map(Action::Stop));
    }

    /// What did not end although it was killed is handed back; the end of the process ends it.
    fn give_up(&mut self, actions: &mut Vec<Action>) {
        for (_, occupant) in std::mem::take(&mut self.attempts) {
            self.slots.leave(&occupant.kind);
            if let Some(held) = occupant.seq.and_then(|seq| self.held.get_mut(&seq)) {
                actions.push(Action::Note(Note::GivenUp(held.task.clone())));
                held.place = Place::Ended(self.outbox.push(held.holding, returned(STOPPING)));
            }
        }
    }

    fn try_leave(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Phase::Draining { .. } | Phase::Stopping { .. } = self.phase
            && self.attempts.is_empty()
        {
            let until = now + SETTLE_WAIT;
            self.phase = Phase::Settling { until };
        }
        if let Phase::Settling { until } = self.phase
            && (self.outbox.is_empty() || until <= now)
        {
            self.phase = Phase::Gone;
            self.held.clear();
            self.beat(actions);
            actions.push(Action::Leave);
        }
    }

    fn beat(&mut self, actions: &mut Vec<Action>) {
        let state = match self.phase {
            Phase::Up => WorkerState::Up,
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Settling { .. } => {
                WorkerState::Draining
            }
            Phase::Gone => WorkerState::Gone,
        };
        let held = self.held.values().map(Accepted::as_held).collect();
        let heartbeat = self.pulse.beat(state, self.seen, held);
        actions.push(Action::Beat(heartbeat));
    }
}

impl Accepted {
    fn is_attempt_of(&self, assignment: &Assignment) -> bool {
        self.task == assignment.id && self.attempt == assignment.attempt
    }

    fn as_held(&self) -> fleet::Held {
        let stage = match self.place {
            Place::Waiting(..) | Place::Running(_) => Stage::Running,
            Place::Ended(_) => Stage::Ended,
        };
        fleet::Held {
            holding: self.holding,
            stage,
        }
    }
}

fn returned(reason: &str) -> Ending {
    Ending::Returned {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
