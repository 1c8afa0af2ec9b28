//! The worker's side of delivery: what it was assigned, what runs, and what is not settled yet.
//!
//! [`Agent`] is a pure state machine: events and the time go in, actions come out. It knows no
//! clock, no NATS and no handler; [`shell`] feeds it and carries out what it says. Time is the span
//! since the worker began.
//!
//! ```text
//! a delivery   assigned ─► waiting ─► running ─► ended ─settled─► forgotten
//!                 │           │        ▲ │ suspended, resumed
//!                 │           │        │ ▼
//!                 │           │     suspended
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
//! - A suspended attempt has no slot, and gets one before it goes on. One that is stopped while it is
//!   suspended ends without: it is awake for no longer than its grace period.
//! - Only what the leading scheduler sends has any effect.

mod action;
mod ending;
mod event;
mod fetch;
mod gate;
mod leaving;
mod listing;
mod offer;
mod outbox;
mod pulse;
mod room;
pub(crate) mod running;
pub(crate) mod shell;
mod slots;
mod standstill;
mod stint;
pub(crate) mod throttle;
mod withdrawing;

use std::collections::BTreeMap;
use std::time::Duration;

use rota_wire::dispatch::{Assign, Assignment, Ending, Outcome, Report};
use rota_wire::fleet::FrameMark;
use rota_wire::{Holding, Kind, Lane, Span, TaskId};

pub(crate) use action::{Action, Note};
use ending::returned;
pub(crate) use event::{AttemptEnd, AttemptNumber, Event, Leader, ReadySeq};
use gate::{Command, Gate};
use offer::Offer;
use outbox::Outbox;
pub(crate) use pulse::Profile;
use pulse::Pulse;
pub(crate) use room::Room;
use slots::{Admission, Slots, Ticket};
use stint::Stint;

/// Why a delivery is handed back, as the scheduler and its log read it.
const STOPPING: &str = "the worker is stopping";
const NO_ROOM: &str = "the worker has neither a free slot nor room in its queue";
const UNKNOWN_KIND: &str = "the worker does not handle this kind";
const WITHDRAWN: &str = "the worker cannot start this kind for now";

/// The state machine. Feed it events and timeouts, then end the turn.
#[derive(Debug)]
pub(crate) struct Agent {
    phase: Phase,
    gate: Gate,
    seen: Option<FrameMark>,
    held: BTreeMap<ReadySeq, Accepted>,
    attempts: BTreeMap<AttemptNumber, Begun>,
    attempts_begun: u64,
    slots: Slots,
    offer: Offer,
    outbox: Outbox,
    pulse: Pulse,
    /// More is not taken, so that a heartbeat stays within a message; the scheduler finds it missing and
    /// assigns it elsewhere.
    room: Room,
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
    /// From which it came, if its leader told that.
    lane: Option<Lane>,
    place: Place,
}

/// How far a delivery is.
#[derive(Debug)]
enum Place {
    /// Not begun. Without a ticket while it is told to stand still.
    Waiting(Option<Ticket>, Box<Assignment>),
    Begun(AttemptNumber),
    /// With the number of its outcome.
    Ended(u64),
}

/// An attempt that has begun and not ended.
#[derive(Debug)]
struct Begun {
    kind: Kind,
    /// Nothing once it was revoked.
    seq: Option<ReadySeq>,
    standing: Standing,
    stint: Stint,
}

/// Whether an attempt that has begun occupies a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It does.
    Running,
    /// It stands still and occupies none.
    Suspended,
    /// It stands still until there is one for it.
    Resuming(Ticket),
}

impl Agent {
    /// A worker that holds nothing. `stop_wait` is the longest that an attempt may take to end once
    /// it was told to, `payload_max` the largest message that the server takes.
    pub(crate) fn new(profile: Profile, stop_wait: Duration, payload_max: usize) -> Self {
        let room = Room::new(&profile.heartbeat(), payload_max);
        Self {
            phase: Phase::Up,
            gate: Gate::default(),
            seen: None,
            held: BTreeMap::new(),
            attempts: BTreeMap::new(),
            attempts_begun: 0,
            slots: Slots::new(profile.slots, &profile.kinds),
            offer: Offer::default(),
            outbox: Outbox::new(room.report),
            room,
            pulse: Pulse::new(profile),
            stop_wait,
        }
    }

    /// The most deliveries that it may hold, ended ones included.
    pub(crate) fn held_max(&self) -> usize {
        self.room.held
    }

    pub(crate) fn handle_event(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Assigned(frame) => self.handle_command(now, Command::Assign(frame), actions),
            Event::RollCalled(call) => self.handle_command(now, Command::RollCall(call), actions),
            Event::LeaderRead(leads) => {
                let dialect = self.gate.dialect();
                let commands = self.gate.answer(leads, actions);
                // It may be told more from now on.
                if self.gate.dialect() != dialect {
                    self.pulse.want();
                }
                for command in commands {
                    self.obey(now, command, actions);
                }
            }
            Event::LinkRestored => self.repeat_all(),
            Event::AttemptEnded { attempt, ran, end } => {
                self.handle_ended(now, attempt, end, ran, actions);
            }
            Event::Looked { kind, unfit } => self.handle_look(now, kind, unfit, actions),
            Event::DrainBegun { grace } => self.handle_drain(now + grace, actions),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.pulse.handle_timeout(now);
        self.outbox.handle_timeout(now);
        if self.phase == Phase::Up {
            actions.extend(self.offer.take_due(now).into_iter().map(Action::Look));
        }
        match self.phase {
            Phase::Draining { stop_at } if stop_at <= now => self.stop_all(now, actions),
            Phase::Stopping { give_up_at } if give_up_at <= now => self.give_up(now, actions),
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
            self.beat(now, actions);
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
            Phase::Up => self.offer.next_deadline(),
            Phase::Draining { stop_at } => Some(stop_at),
            Phase::Stopping { give_up_at } => Some(give_up_at),
            Phase::Settling { until } => Some(until),
            Phase::Gone => return None,
        };
        let all = [phase, self.outbox.next_deadline(), Some(self.pulse.next())];
        all.into_iter().flatten().min()
    }

    fn handle_command(&mut self, now: Duration, command: Command, actions: &mut Vec<Action>) {
        if let Some(command) = self.gate.pass(command, actions) {
            self.obey(now, command, actions);
        }
    }

    fn obey(&mut self, now: Duration, command: Command, actions: &mut Vec<Action>) {
        match command {
            Command::Assign(frame) => self.handle_assign(now, frame, actions),
            Command::RollCall(_) => self.repeat_all(),
        }
    }

    fn handle_assign(&mut self, now: Duration, frame: Assign, actions: &mut Vec<Action>) {
        self.see(frame.mark, actions);
        for number in frame.settled {
            self.settle(number);
        }
        for holding in frame.revoked {
            if self.held_as(holding).is_some() {
                self.forget(ReadySeq(holding.delivery.seq), actions);
            }
        }
        for holding in frame.suspended {
            self.suspend(now, holding, actions);
        }
        for holding in frame.resumed {
            self.resume(holding);
        }
        // What goes on, or has waited here, comes before what is new.
        self.fill(now, actions);
        for assignment in frame.tasks {
            self.handle_assignment(now, assignment, actions);
        }
    }

    /// The delivery of a holding, unless it is held as another by now.
    fn held_as(&mut self, holding: Holding) -> Option<&mut Accepted> {
        let held = self.held.get_mut(&ReadySeq(holding.delivery.seq))?;
        (held.holding == holding).then_some(held)
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

    fn handle_assignment(
        &mut self,
        now: Duration,
        assignment: Assignment,
        actions: &mut Vec<Action>,
    ) {
        let seq = ReadySeq(assignment.holding.delivery.seq);
        match self.held.get(&seq) {
            None => {}
            Some(held) if held.is_attempt_of(&assignment) => {
                let note = Note::AlreadyHeld(assignment.id.clone());
                actions.push(Action::Note(note));
                return self.hold_anew(now, assignment, actions);
            }
            // Only a stream that was made anew gives one sequence to two tasks.
            Some(_) => self.forget(seq, actions),
        }
        self.accept(now, assignment, actions);
    }

    /// The same attempt is assigned again: what has become of it counts for the new holding. It is to
    /// run, so if it stands still it goes on.
    fn hold_anew(&mut self, now: Duration, assignment: Assignment, actions: &mut Vec<Action>) {
        let (holding, seq) = (
            assignment.holding,
            ReadySeq(assignment.holding.delivery.seq),
        );
        let Some(held) = self.held.get_mut(&seq) else {
            return;
        };
        if held.holding == holding {
            return;
        }
        held.holding = holding;
        held.lane = lane_of(&assignment).or(held.lane.take());
        match &mut held.place {
            Place::Begun(_) => self.resume(holding),
            Place::Waiting(_, waiting) => {
                waiting.holding = holding;
                self.resume(holding);
            }
            Place::Ended(number) => match self.outbox.remove(*number) {
                Some(Outcome {
                    ending: Ending::Returned { .. },
                    ..
                })
                | None => {
                    self.held.remove(&seq);
                    self.accept(now, assignment, actions);
                }
                Some(old) => *number = self.outbox.push(holding, old.ran, old.ending),
            },
        }
        self.fill(now, actions);
    }

    fn accept(&mut self, now: Duration, assignment: Assignment, actions: &mut Vec<Action>) {
        if self.held.len() >= self.room.held {
            actions.push(Action::Note(Note::Shed(assignment.id)));
            return;
        }
        let (holding, attempt) = (assignment.holding, assignment.attempt);
        let seq = ReadySeq(holding.delivery.seq);
        let task = assignment.id.clone();
        let lane = lane_of(&assignment);
        let admission = match self.phase {
            Phase::Up if !self.offer.has(&assignment.kind) => Err(WITHDRAWN),
            Phase::Up => Ok(self.slots.admit(&assignment.kind, seq)),
            Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Settling { .. }
            | Phase::Gone => Err(STOPPING),
        };
        let place = match admission {
            Ok(Admission::Begin) => self.begin(now, assignment, actions),
            Ok(Admission::Wait(ticket)) => Place::Waiting(Some(ticket), Box::new(assignment)),
            Ok(Admission::Full) => self.hand_back(&task, holding, NO_ROOM, actions),
            Ok(Admission::UnknownKind) => self.hand_back(&task, holding, UNKNOWN_KIND, actions),
            Err(reason) => self.hand_back(&task, holding, reason, actions),
        };
        let accepted = Accepted {
            holding,
            task,
            attempt,
            lane,
            place,
        };
        self.held.insert(seq, accepted);
    }

    /// Starts an attempt that has been given a slot.
    fn begin(&mut self, now: Duration, assignment: Assignment, actions: &mut Vec<Action>) -> Place {
        self.attempts_begun += 1;
        let attempt = AttemptNumber(self.attempts_begun);
        let begun = Begun {
            kind: assignment.kind.clone(),
            seq: Some(ReadySeq(assignment.holding.delivery.seq)),
            standing: Standing::Running,
            stint: Stint::begun(now),
        };
        self.attempts.insert(attempt, begun);
        actions.push(Action::Start {
            attempt,
            assignment,
        });
        Place::Begun(attempt)
    }

    fn hand_back(
        &mut self,
        task: &TaskId,
        holding: Holding,
        reason: &'static str,
        actions: &mut Vec<Action>,
    ) -> Place {
        // Of a kind that is withdrawn it was said already, and all its tasks come back.
        if reason != WITHDRAWN {
            let task = task.clone();
            actions.push(Action::Note(Note::HandedBack { task, reason }));
        }
        Place::Ended(self.outbox.push(holding, Span::default(), returned(reason)))
    }

    fn repeat_all(&mut self) {
        self.pulse.want();
        self.outbox.repeat_all();
    }
}

impl Accepted {
    fn is_attempt_of(&self, assignment: &Assignment) -> bool {
        self.task == assignment.id && self.attempt == assignment.attempt
    }
}

fn lane_of(assignment: &Assignment) -> Option<Lane> {
    let kind = assignment.kind.clone();
    let priority = assignment.priority?;
    Some(Lane { kind, priority })
}

#[cfg(test)]
mod tests;
