//! A worker that follows its protocol: it holds a delivery until it is settled or revoked, says so in
//! every heartbeat, repeats its reports, refuses older terms, and runs no more than it has slots.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rota_scheduler_core::AssignFrame;
use rota_wire::dispatch::{Ending, Failure, Outcome, Retry};
use rota_wire::fleet::{FrameMark, Heartbeat, Held, KindCapacity, MachineLoad, Stage, WorkerState};
use rota_wire::{Holding, Kind, Micros, Span, TaskSpec, Term, WorkerId};

use super::step::End;

pub(crate) const INTERVAL: Span = Span::from_secs(1);
/// Deliveries that may wait for a slot.
const QUEUE_MAX: usize = 2;

/// What a worker is: its slots, and its kinds with their own limits.
pub(crate) type Profile = (u32, &'static [(&'static str, Option<u32>)]);

/// Every kind, and room for all that the model starts with.
pub(crate) const FRIEND: Profile = (4, &[("a", None), ("b", None), ("c", None)]);
pub(crate) const PROFILES: [Profile; 5] = [
    (2, &[("a", None), ("b", None)]),
    (1, &[("a", None)]),
    (4, &[("a", Some(1)), ("b", None), ("c", None)]),
    (1, &[("c", None)]),
    (3, &[("b", Some(2))]),
];

#[derive(Debug)]
pub(crate) struct ModelWorker {
    pub(crate) id: WorkerId,
    pub(crate) slots: u32,
    pub(crate) kinds: Vec<KindCapacity>,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Running,
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
    pub(crate) fn new(name: &str, (slots, kinds): Profile) -> Self {
        let kinds = kinds.iter().map(|(kind, concurrency)| KindCapacity {
            kind: Kind::parse(kind).expect("a good kind"),
            concurrency: *concurrency,
        });
        Self {
            id: WorkerId::parse(name).expect("a good name"),
            slots,
            kinds: kinds.collect(),
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
        }
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        self.held.is_empty() && self.outbox.is_empty()
    }

    /// The messages whose attempts run.
    pub(crate) fn running(&self) -> Vec<u64> {
        let running = self.held.iter();
        let running = running.filter(|(_, taken)| taken.place == Place::Running);
        running.map(|(seq, _)| *seq).collect()
    }

    pub(crate) fn take_begun(&mut self) -> Vec<Arc<TaskSpec>> {
        std::mem::take(&mut self.begun)
    }

    pub(crate) fn heartbeat(&mut self) -> Heartbeat {
        self.beats += 1;
        let held = self.held.values().map(|taken| Held {
            holding: taken.holding,
            stage: match taken.place {
                Place::Waiting | Place::Running => Stage::Running,
                Place::Ended(_) => Stage::Ended,
            },
            ran: Span::default(),
        });
        Heartbeat {
            worker: self.id.clone(),
            number: self.beats,
            started: Micros(0),
            interval: INTERVAL,
            state: self.state,
            slots: self.slots,
            kinds: self.kinds.clone(),
            resources: rota_wire::Resources::NONE,
            labels: Vec::new(),
            seen: self.seen,
            held: held.collect(),
            machine: MachineLoad::default(),
        }
    }

    pub(crate) fn read(&mut self, mail: Mail) -> Reply {
        match mail {
            Mail::RollCall(term) | Mail::Frame(term, _) if term < self.term => Reply::Nothing,
            Mail::RollCall(term) => {
                self.term = term;
                Reply::All
            }
            Mail::Frame(term, frame) => {
                self.term = term;
                self.read_frame(term, frame)
            }
        }
    }

    fn read_frame(&mut self, term: Term, frame: AssignFrame) -> Reply {
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
        for placed in frame.tasks {
            self.take(placed.holding, placed.task);
        }
        self.begin_waiting();
        if number > expected {
            Reply::Beat
        } else {
            Reply::Nothing
        }
    }

    fn take(&mut self, holding: Holding, task: Arc<TaskSpec>) {
        let seq = holding.delivery.seq;
        if let Some(taken) = self.held.get_mut(&seq) {
            if taken.holding == holding {
                return;
            }
            // The same message anew: what has become of it counts for the new holding.
            taken.holding = holding;
            let Place::Ended(number) = taken.place else {
                return;
            };
            match self.outbox.remove(&number).map(|outcome| outcome.ending) {
                Some(Ending::Returned { .. }) | None => drop(self.held.remove(&seq)),
                Some(ending) => return self.end(seq, ending),
            }
        }
        let place = Place::Waiting;
        self.held.insert(
            seq,
            Taken {
                holding,
                task,
                place,
            },
        );
        let waiting = self
            .held
            .values()
            .filter(|taken| taken.place == Place::Waiting);
        if self.state != WorkerState::Up || (waiting.count() > QUEUE_MAX && !self.has_room(seq)) {
            self.end(seq, handed_back());
        }
        self.begin_waiting();
    }

    fn has_room(&self, seq: u64) -> bool {
        let kind = &self.held[&seq].task.kind;
        let capacity = self.kinds.iter().find(|capacity| capacity.kind == *kind);
        let limit = capacity.and_then(|capacity| capacity.concurrency);
        let running = || {
            self.held
                .values()
                .filter(|taken| taken.place == Place::Running)
        };
        let of_kind = running().filter(|taken| taken.task.kind == *kind).count();
        running().count() < self.slots as usize && of_kind < limit.unwrap_or(u32::MAX) as usize
    }

    fn begin_waiting(&mut self) {
        let waiting = self.held.iter();
        let waiting = waiting.filter(|(_, taken)| taken.place == Place::Waiting);
        let waiting: Vec<u64> = waiting.map(|(seq, _)| *seq).collect();
        for seq in waiting {
            if self.has_room(seq)
                && let Some(taken) = self.held.get_mut(&seq)
            {
                taken.place = Place::Running;
                self.begun.push(taken.task.clone());
            }
        }
    }

    /// Ends an attempt; its outcome is to be reported.
    pub(crate) fn finish(&mut self, seq: u64, end: End) -> Arc<TaskSpec> {
        let task = self.held[&seq].task.clone();
        let ending = match end {
            End::Completed => Ending::Stored,
            End::Failed => failed(Retry::Later),
            End::Fatal => failed(Retry::Never),
            End::HandedBack => handed_back(),
        };
        self.end(seq, ending);
        self.begin_waiting();
        task
    }

    fn end(&mut self, seq: u64, ending: Ending) {
        self.outcomes += 1;
        let number = self.outcomes;
        if let Some(taken) = self.held.get_mut(&seq) {
            taken.place = Place::Ended(number);
            let holding = taken.holding;
            let outcome = Outcome {
                number,
                holding,
                ran: Span::default(),
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
        self.begin_waiting();
    }

    /// Takes no more, and hands back what has not begun.
    pub(crate) fn drain(&mut self) {
        self.state = WorkerState::Draining;
        let waiting = self.held.iter();
        let waiting = waiting.filter(|(_, taken)| taken.place == Place::Waiting);
        let waiting: Vec<u64> = waiting.map(|(seq, _)| *seq).collect();
        for seq in waiting {
            self.end(seq, handed_back());
        }
    }

    /// Its last word.
    pub(crate) fn goodbye(&mut self) -> Heartbeat {
        self.state = WorkerState::Gone;
        self.held.clear();
        self.heartbeat()
    }
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
