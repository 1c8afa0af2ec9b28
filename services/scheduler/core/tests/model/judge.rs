//! What must hold, judged from outside: by what the scheduler is told and what it does.

use std::collections::{BTreeMap, BTreeSet};

use rota_scheduler_core::{Action, AssignFrame, Options};
use rota_wire::event::{Event as Told, RedeliveryCause};
use rota_wire::fleet::{Heartbeat, KindCapacity, WorkerState};
use rota_wire::{Kind, Micros, TaskId, TaskSpec, Term, WorkerId};

/// A rule that is broken, in words.
pub(crate) type Verdict<T = ()> = Result<T, String>;

/// What one scheduler was told and has done.
#[derive(Debug)]
pub(crate) struct Judge {
    options: Options,
    term: Term,
    began: Micros,
    /// Workers of the last term that have not been heard.
    missing: BTreeSet<WorkerId>,
    /// What was delivered and is not acked.
    known: BTreeMap<u64, Known>,
    /// What was assigned and not taken back. Adopted deliveries are not here.
    assigned: BTreeMap<u64, WorkerId>,
    heard: BTreeMap<WorkerId, Said>,
    frames: BTreeMap<WorkerId, u64>,
}

#[derive(Debug)]
struct Known {
    spec: TaskSpec,
    /// It had its result when it came, or came again after it was given back.
    over: bool,
    returning: bool,
    losses: u32,
}

/// A worker's newest word.
#[derive(Debug)]
struct Said {
    number: u64,
    state: WorkerState,
    slots: u32,
    kinds: Vec<KindCapacity>,
}

/// What lies in the other streams.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The first result of each task counts.
    pub(crate) results: BTreeMap<TaskId, Final>,
    pub(crate) dead: BTreeSet<TaskId>,
    /// Messages whose retry was stored.
    pub(crate) retried: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Final {
    Completed,
    Failed,
}

impl Judge {
    pub(crate) fn new(
        options: Options,
        term: Term,
        began: Micros,
        missing: BTreeSet<WorkerId>,
    ) -> Self {
        Self {
            options,
            term,
            began,
            missing,
            known: BTreeMap::new(),
            assigned: BTreeMap::new(),
            heard: BTreeMap::new(),
            frames: BTreeMap::new(),
        }
    }

    pub(crate) fn knows(&self, seq: u64) -> bool {
        self.known.contains_key(&seq)
    }

    pub(crate) fn known(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn delivered(&mut self, seq: u64, spec: TaskSpec, stored: &Stored) {
        let over = stored.results.contains_key(&spec.id);
        let new = Known {
            spec,
            over,
            returning: false,
            losses: 0,
        };
        let known = self.known.entry(seq).or_insert(new);
        if std::mem::take(&mut known.returning) {
            known.over = over;
        }
    }

    /// A worker has answered the roll call.
    pub(crate) fn answered(&mut self, worker: &WorkerId) {
        self.missing.remove(worker);
    }

    pub(crate) fn heard(&mut self, heartbeat: &Heartbeat) {
        let said = self.heard.get(&heartbeat.worker);
        if said.is_some_and(|said| said.number >= heartbeat.number) {
            return;
        }
        let said = Said {
            number: heartbeat.number,
            state: heartbeat.state,
            slots: heartbeat.slots,
            kinds: heartbeat.kinds.clone(),
        };
        self.heard.insert(heartbeat.worker.clone(), said);
    }

    /// Judges an action and remembers it.
    pub(crate) fn judge(&mut self, now: Micros, action: &Action, stored: &Stored) -> Verdict {
        match action {
            Action::CallRoll | Action::OpenLane { .. } | Action::Pull { .. } => Ok(()),
            Action::Assign(frame) => self.assign(now, frame),
            Action::Ack { seq } => self.ack(*seq, stored),
            Action::Nak { seq } => {
                self.assigned.remove(seq);
                let known = self.known.get_mut(seq);
                known
                    .map(|known| known.returning = true)
                    .ok_or_else(|| unknown(*seq))
            }
            Action::LookUp { seq, .. } => {
                let idle = !self.assigned.contains_key(seq);
                rule(idle, || {
                    format!("#{seq} is looked up while a worker has it")
                })?;
                self.must_know(*seq).map(drop)
            }
            Action::StoreRetry { seq, task, wait } => {
                self.assigned.remove(seq);
                let spec = self.must_know(*seq)?;
                let next = spec.attempt + 1;
                rule(
                    task.attempt == next && next <= spec.options.attempts,
                    || format!("#{seq} is tried again as attempt {}", task.attempt),
                )?;
                rule(*wait <= spec.options.backoff.ceiling(spec.attempt), || {
                    format!("#{seq} waits {wait}, longer than its backoff")
                })
            }
            Action::Bury { seq, failure, .. } => {
                self.assigned.remove(seq);
                self.must_know(*seq)?;
                let losses = self.known[seq].losses;
                rule(
                    failure.is_some() || losses >= self.options.losses_max,
                    || format!("#{seq} is buried after {losses} losses and no failure"),
                )
            }
            Action::Tell(told) => {
                self.hear(told);
                Ok(())
            }
        }
    }

    fn must_know(&self, seq: u64) -> Verdict<&TaskSpec> {
        let known = self.known.get(&seq);
        known.map(|known| &known.spec).ok_or_else(|| unknown(seq))
    }

    fn hear(&mut self, told: &Told) {
        if let Told::Redelivered {
            task,
            cause: RedeliveryCause::Lost,
            ..
        } = told
        {
            let mut known = self.known.values_mut();
            if let Some(known) = known.find(|known| known.spec.id == *task) {
                known.losses += 1;
            }
        }
    }

    fn ack(&mut self, seq: u64, stored: &Stored) -> Verdict {
        let id = self.must_know(seq)?.id.clone();
        let mut others = self.known.iter();
        let duplicate = others.any(|(other, known)| *other != seq && known.spec.id == id);
        let settled = stored.results.contains_key(&id) || stored.retried.contains(&seq);
        self.known.remove(&seq);
        self.assigned.remove(&seq);
        rule(settled || duplicate, || {
            format!("#{seq} ({id}) is acked without result, retry or another message")
        })
    }

    fn assign(&mut self, now: Micros, frame: &AssignFrame) -> Verdict {
        let worker = &frame.worker;
        let last = self
            .frames
            .insert(worker.clone(), frame.number)
            .unwrap_or(0);
        rule(frame.number > last, || {
            format!("{worker} is sent frame {} after {last}", frame.number)
        })?;
        rule(frame.tasks.len() <= self.options.frame_tasks_max, || {
            format!("a frame of {} tasks", frame.tasks.len())
        })?;
        let listened = self.began.plus(self.options.roll_call) <= now || self.missing.is_empty();
        rule(frame.tasks.is_empty() || listened, || {
            "tasks are assigned before the roll call has ended".to_owned()
        })?;
        for placed in &frame.tasks {
            rule(placed.holding.term == self.term, || {
                format!("assigned for {}", placed.holding.term)
            })?;
            self.place(worker, placed.holding.delivery.seq)?;
        }
        Ok(())
    }

    fn place(&mut self, worker: &WorkerId, seq: u64) -> Verdict {
        let kind = self.must_know(seq)?.kind.clone();
        rule(!self.known[&seq].over, || {
            format!("#{seq} runs although it had its result when it came")
        })?;
        if let Some(other) = self.assigned.insert(seq, worker.clone()) {
            return Err(format!("#{seq} is assigned to {worker} and {other}"));
        }
        let said = self.heard.get(worker);
        let said = said.ok_or_else(|| format!("{worker} has never been heard"))?;
        rule(said.state == WorkerState::Up, || {
            format!("{worker} takes no tasks")
        })?;
        let capacity = said.kinds.iter().find(|capacity| capacity.kind == kind);
        let capacity = capacity.ok_or_else(|| format!("{worker} cannot run {kind}"))?;
        let limit = capacity.concurrency.unwrap_or(u32::MAX);
        let (all, of_kind, suspects) = self.load(worker, &kind);
        rule(all <= said.slots, || {
            format!("{worker} is given {all} tasks and has {} slots", said.slots)
        })?;
        rule(of_kind <= limit, || {
            format!("{worker} is given {of_kind} tasks of {kind}, at most {limit}")
        })?;
        let suspect = self.known[&seq].losses >= self.suspect_from();
        rule(!suspect || suspects == 1, || {
            format!("{worker} is given {suspects} tasks under suspicion")
        })
    }

    /// How many tasks a worker was assigned, how many of a kind, and how many under suspicion.
    fn load(&self, worker: &WorkerId, kind: &Kind) -> (u32, u32, u32) {
        let theirs = self.assigned.iter().filter(|(_, who)| *who == worker);
        let mut load = (0, 0, 0);
        for known in theirs.filter_map(|(seq, _)| self.known.get(seq)) {
            load.0 += 1;
            load.1 += u32::from(known.spec.kind == *kind);
            load.2 += u32::from(known.losses >= self.suspect_from());
        }
        load
    }

    fn suspect_from(&self) -> u32 {
        self.options.losses_max.saturating_sub(1).max(1)
    }
}

fn unknown(seq: u64) -> String {
    format!("#{seq} was not delivered, or is acked")
}

pub(crate) fn rule(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(broken()) }
}
