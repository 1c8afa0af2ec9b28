//! A worker that follows its protocol: it holds a delivery until it is settled or revoked, says so in
//! every heartbeat, repeats its reports, refuses older terms, and runs no more than it has slots.
//!
//! An attempt that is suspended stands still and gives its slot away; one that is resumed takes a slot
//! back, or waits for one before all that is new.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rota_scheduler_core::AssignFrame;
use rota_wire::dispatch::{Ending, Failure, Outcome, Retry};
use rota_wire::fleet::{
    FrameMark, Heartbeat, Held, HeldTask, KindCapacity, MachineLoad, Stage, WorkerState,
};
use rota_wire::{
    Cpu, Dialect, Holding, Kind, Label, Lane, Memory, Micros, Resources, Span, TaskSpec, Term,
    WorkerId,
};

use super::step::End;

pub(crate) const INTERVAL: Span = Span::from_secs(1);
/// Deliveries that may wait for a slot.
const QUEUE_MAX: usize = 2;

/// What a worker is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    slots: u32,
    /// Its kinds with their own limits.
    kinds: &'static [(&'static str, Option<u32>)],
    cpu: u32,
    memory: u64,
    labels: &'static [&'static str],
}

/// Every kind, and room for all that the model starts with.
pub(crate) const FRIEND: Profile = Profile {
    slots: 4,
    kinds: &[("a", None), ("b", None), ("c", None)],
    cpu: 8_000,
    memory: 10_000,
    labels: &["gpu", "ssd"],
};

pub(crate) const PROFILES: [Profile; 5] = [
    profile(2, &[("a", None), ("b", None)], (2_000, 1_000), &[]),
    profile(1, &[("a", None)], (0, 0), &[]),
    profile(
        4,
        &[("a", Some(1)), ("b", None), ("c", None)],
        (1_000, 500),
        &["gpu"],
    ),
    profile(1, &[("c", None)], (500, 900), &["gpu", "ssd"]),
    profile(3, &[("b", Some(2))], (4_000, 300), &[]),
];

const fn profile(
    slots: u32,
    kinds: &'static [(&'static str, Option<u32>)],
    (cpu, memory): (u32, u64),
    labels: &'static [&'static str],
) -> Profile {
    Profile {
        slots,
        kinds,
        cpu,
        memory,
        labels,
    }
}

#[derive(Debug)]
pub(crate) struct ModelWorker {
    pub(crate) id: WorkerId,
    pub(crate) slots: u32,
    pub(crate) kinds: Vec<KindCapacity>,
    resources: Resources,
    labels: Vec<Label>,
    pub(crate) state: WorkerState,
    /// Nothing reaches it and nothing leaves it.
    pub(crate) cut: bool,
    pub(crate) inbox: VecDeque<Mail>,
    /// Reported and not settled.
    pub(crate) outbox: BTreeMap<u64, Outcome>,
    held: BTreeMap<u64, Taken>,
    /// Attempts that have begun and were not counted yet.
    begun: Vec<Arc<TaskSpec>>,
    term: Term,
    seen: Option<FrameMark>,
    beats: u64,
    outcomes: u64,
    /// One worker in four is of the release before.
    dialect: Dialect,
}

/// What is sent to a worker.
#[derive(Debug)]
pub(crate) enum Mail {
    RollCall(Term),
    Frame(Term, AssignFrame),
}

#[derive(Debug)]
struct Taken {
    holding: Holding,
    task: Arc<TaskSpec>,
    place: Place,
    /// How long it has run, but for what it runs now.
    ran_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// For a slot to begin.
    Waiting,
    /// It was suspended before it began.
    Parked,
    Running {
        since: Micros,
    },
    Suspended,
    /// For a slot to go on.
    Resuming,
    /// With the number of its outcome.
    Ended(u64),
}

/// What a worker does when it has read something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Nothing,
    /// It missed a frame: it says at once what it has.
    Beat,
    /// The roll was called: the same, and all reports again.
    All,
}

impl ModelWorker {
    pub(crate) fn new(name: &str, profile: Profile) -> Self {
        let kinds = profile
            .kinds
            .iter()
            .map(|(kind, concurrency)| KindCapacity {
                kind: Kind::parse(kind).expect("a good kind"),
                concurrency: *concurrency,
            });
        Self {
            id: WorkerId::parse(name).expect("a good name"),
            slots: profile.slots,
            kinds: kinds.collect(),
            resources: Resources {
                cpu: Cpu(profile.cpu),
                memory: Memory(profile.memory),
            },
            labels: profile.labels.iter().map(|text| label(text)).collect(),
            state: WorkerState::Up,
            cut: false,
            inbox: VecDeque::new(),
            outbox: BTreeMap::new(),
            held: BTreeMap::new(),
            begun: Vec::new(),
            term: Term(0),
            seen: None,
            beats: 0,
            outcomes: 0,
            dialect: if name.ends_with(['3', '7']) {
                Dialect::V1
            } else {
                Dialect::V2
            },
        }
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        self.held.is_empty() && self.outbox.is_empty()
    }

    /// The messages whose attempts run.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.those(|taken| matches!(taken.place, Place::Running { .. }))
    }

    /// The messages whose attempts have begun and do not run.
    pub(crate) fn standing(&self) -> Vec<u64> {
        self.those(|taken| matches!(taken.place, Place::Suspended | Place::Resuming))
    }

    /// The messages whose attempts run and have done all their work.
    pub(crate) fn due(&self, now: Micros) -> Vec<u64> {
        self.those(|taken| {
            let runs = matches!(taken.place, Place::Running { .. });
            runs && taken.ran(now) >= work(taken.holding, &taken.task)
        })
    }

    fn those(&self, which: impl Fn(&Taken) -> bool) -> Vec<u64> {
        let held = self.held.iter().filter(|(_, taken)| which(taken));
        held.map(|(seq, _)| *seq).collect()
    }

    pub(crate) fn take_begun(&mut self) -> Vec<Arc<TaskSpec>> {
        std::mem::take(&mut self.begun)
    }

    pub(crate) fn heartbeat(&mut self, now: Micros) -> Heartbeat {
        self.beats += 1;
        let held = self.held.values().map(|taken| Held {
            holding: taken.holding,
            stage: match taken.place {
                Place::Waiting | Place::Running { .. } | Place::Resuming => Stage::Running,
                Place::Parked | Place::Suspended => Stage::Suspended,
                Place::Ended(_) => Stage::Ended,
            },
            ran: Span::from_ms(taken.ran(now) / 1_000),
            task: (self.dialect == Dialect::V2).then(|| HeldTask {
                id: taken.task.id.clone(),
                lane: Lane {
                    kind: taken.task.kind.clone(),
                    priority: taken.task.options.priority,
                },
                attempt: taken.task.attempt,
            }),
        });
        Heartbeat {
            worker: self.id.clone(),
            number: self.beats,
            started: Micros(0),
            interval: INTERVAL,
            state: self.state,
            slots: self.slots,
            kinds: self.kinds.clone(),
            resources: self.resources,
            labels: self.labels.clone(),
            seen: self.seen,
            held: held.collect(),
            machine: MachineLoad::default(),
            withdrawn: Vec::new(),
            dialect: self.dialect,
        }
    }

    pub(crate) fn read(&mut self, now: Micros, mail: Mail) -> Reply {
        match mail {
            Mail::RollCall(term) | Mail::Frame(term, _) if term < self.term => Reply::Nothing,
            Mail::RollCall(term) => {
                self.term = term;
                Reply::All
            }
            Mail::Frame(term, frame) => {
                self.term = term;
                self.read_frame(now, term, frame)
            }
        }
    }

    fn read_frame(&mut self, now: Micros, term: Term, frame: AssignFrame) -> Reply {
        let number = frame.number;
        let mark = FrameMark { term, number };
        let expected = match self.seen {
            Some(seen) if seen.term == term => seen.number + 1,
            _ => 1,
        };
        self.seen = self.seen.max(Some(mark));
        for number in frame.settled {
            if let Some(outcome) = self.outbox.remove(&number) {
                self.held.remove(&outcome.holding.delivery.seq);
            }
        }
        for holding in frame.revoked {
            let seq = holding.delivery.seq;
            if self
                .held
                .get(&seq)
                .is_some_and(|taken| taken.holding == holding)
            {
                self.forget(seq);
            }
        }
        for holding in frame.suspended {
            self.suspend(now, holding);
        }
        for holding in frame.resumed {
            self.resume(holding);
        }
        // What goes on, or has waited here, comes before what is new.
        self.fill(now);
        for placed in frame.tasks {
            self.take(now, placed.holding, placed.task);
        }
        self.fill(now);
        if number > expected {
            Reply::Beat
        } else {
            Reply::Nothing
        }
    }

    fn suspend(&mut self, now: Micros, holding: Holding) {
        // Whoever stops suspends nothing: nobody would resume it.
        if self.state != WorkerState::Up {
            return;
        }
        let Some(taken) = self.held_as(holding) else {
            return;
        };
        taken.ran_us = taken.ran(now);
        taken.place = match taken.place {
            Place::Waiting | Place::Parked => Place::Parked,
            Place::Running { .. } | Place::Suspended | Place::Resuming => Place::Suspended,
            Place::Ended(number) => Place::Ended(number),
        };
    }

    fn resume(&mut self, holding: Holding) {
        if self.state != WorkerState::Up {
            return;
        }
        let Some(taken) = self.held_as(holding) else {
            return;
        };
        taken.place = match taken.place {
            Place::Parked => Place::Waiting,
            Place::Suspended => Place::Resuming,
            other => other,
        };
    }

    fn held_as(&mut self, holding: Holding) -> Option<&mut Taken> {
        let taken = self.held.get_mut(&holding.delivery.seq)?;
        (taken.holding == holding).then_some(taken)
    }

    fn take(&mut self, now: Micros, holding: Holding, task: Arc<TaskSpec>) {
        let seq = holding.delivery.seq;
        if let Some(taken) = self.held.get_mut(&seq) {
            if taken.holding == holding {
                return;
            }
            // The same message anew: what has become of it counts for the new holding.
            taken.holding = holding;
            let Place::Ended(number) = taken.place else {
                // It is to run: if it stands still it goes on.
                return self.resume(holding);
            };
            match self.outbox.remove(&number).map(|outcome| outcome.ending) {
                Some(Ending::Returned { .. }) | None => drop(self.held.remove(&seq)),
                Some(ending) => return self.end(now, seq, ending),
            }
        }
        self.held.insert(
            seq,
            Taken {
                holding,
                task,
                place: Place::Waiting,
                ran_us: 0,
            },
        );
        let waiting = self.those(|taken| taken.place == Place::Waiting);
        if self.state != WorkerState::Up || (waiting.len() > QUEUE_MAX && !self.has_room(seq)) {
            self.end(now, seq, handed_back());
        }
        self.fill(now);
    }

    fn has_room(&self, seq: u64) -> bool {
        let kind = &self.held[&seq].task.kind;
        let capacity = self.kinds.iter().find(|capacity| capacity.kind == *kind);
        let limit = capacity.and_then(|capacity| capacity.concurrency);
        let running = self.running();
        let of_kind = running
            .iter()
            .filter(|seq| self.held[seq].task.kind == *kind);
        running.len() < self.slots as usize && of_kind.count() < limit.unwrap_or(u32::MAX) as usize
    }

    /// Gives free slots to those that are to go on, then to those that wait to begin.
    pub(crate) fn fill(&mut self, now: Micros) {
        for from in [Place::Resuming, Place::Waiting] {
            for seq in self.those(|taken| taken.place == from) {
                if self.has_room(seq)
                    && let Some(taken) = self.held.get_mut(&seq)
                {
                    taken.place = Place::Running { since: now };
                    if from == Place::Waiting {
                        self.begun.push(taken.task.clone());
                    }
                }
            }
        }
    }

    /// Ends an attempt; its outcome is to be reported.
    pub(crate) fn finish(&mut self, now: Micros, seq: u64, end: End) -> Arc<TaskSpec> {
        let task = self.held[&seq].task.clone();
        let ending = match end {
            End::Completed => Ending::Stored,
            End::Failed => failed(Retry::Later),
            End::Fatal => failed(Retry::Never),
            End::HandedBack => handed_back(),
        };
        self.end(now, seq, ending);
        self.fill(now);
        task
    }

    fn end(&mut self, now: Micros, seq: u64, ending: Ending) {
        self.outcomes += 1;
        let number = self.outcomes;
        if let Some(taken) = self.held.get_mut(&seq) {
            let ran = Span::from_ms(taken.ran(now) / 1_000);
            taken.place = Place::Ended(number);
            let holding = taken.holding;
            let outcome = Outcome {
                number,
                holding,
                ran,
                ending,
            };
            self.outbox.insert(number, outcome);
        }
    }

    fn forget(&mut self, seq: u64) {
        if let Some(taken) = self.held.remove(&seq)
            && let Place::Ended(number) = taken.place
        {
            self.outbox.remove(&number);
        }
    }

    /// Takes no more, and hands back what has not begun. What stands still is the world's to end.
    pub(crate) fn drain(&mut self, now: Micros) {
        self.state = WorkerState::Draining;
        for seq in self.those(|taken| matches!(taken.place, Place::Waiting | Place::Parked)) {
            self.end(now, seq, handed_back());
        }
    }

    /// Its last word.
    pub(crate) fn goodbye(&mut self, now: Micros) -> Heartbeat {
        self.state = WorkerState::Gone;
        self.held.clear();
        self.heartbeat(now)
    }
}

impl Taken {
    /// How long it has run, in microseconds.
    fn ran(&self, now: Micros) -> u64 {
        match self.place {
            Place::Running { since } => self.ran_us + now.0.saturating_sub(since.0),
            _ => self.ran_us,
        }
    }
}

/// How long an attempt runs if it is let, in microseconds: as was said, twice as long, or half.
pub(crate) fn work(holding: Holding, task: &TaskSpec) -> u64 {
    let said = task.options.duration.map_or(150, Span::ms) * 1_000;
    match holding.delivery.seq % 3 {
        0 => said / 2,
        1 => said,
        _ => said * 2,
    }
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().expect("a good label")
}

fn handed_back() -> Ending {
    Ending::Returned {
        reason: "stopping".to_owned(),
    }
}

fn failed(retry: Retry) -> Ending {
    Ending::Failed(Failure {
        retry,
        reason: "failed".to_owned(),
        exit: None,
        stderr_tail: String::new(),
        started: Micros(0),
        finished: Micros(0),
    })
}
