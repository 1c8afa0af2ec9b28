//! Why a task waits, and why it went where it is: decisions told after the fact.
//!
//! What led to a placement is noted when it is made, in a few numbers, for it cannot be found out later; why a
//! task waits is looked up when somebody asks, worker by worker. That costs O(n), and decides nothing.

use rota_wire::explain::{CANDIDATES_MAX, Candidate, Decision, Estimate, Explanation, Known};
use rota_wire::{Micros, Span, TaskId};

use crate::allocation::Wish;
use crate::fleet::{Fleet, LOAD_SCALE, Seats, Worker, WorkerKey, cpu_of};
use crate::policy::{Allocation, Binding, Order};
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, SettlingStep, Task, TaskState};

/// Workers that are noted with a placement.
const NOTED_MAX: usize = 4;

/// What chose a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// A strategy, among those with a free slot.
    Allocation(Allocation),
    /// An order: another task was suspended there.
    Order(Order),
    /// The worker was kept for it, or for another that it does not put off.
    Reservation,
}

/// What led to a placement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    at: Micros,
    by: By,
    chosen: WorkerKey,
    workers: u32,
    without_labels: u32,
    full: u32,
    considered: [Option<(WorkerKey, u64)>; NOTED_MAX],
}

impl Note {
    /// Notes who could have been chosen, before the choice changes it.
    fn of(fleet: &Fleet, wish: &Wish<'_>, by: By, chosen: WorkerKey, at: Micros) -> Self {
        let takers = |labels| -> u32 {
            let classes = fleet.classes_for(wish.kind, labels);
            classes.map(crate::fleet::Class::takers).sum()
        };
        let workers = takers(&[]);
        let suitable = if wish.requires.is_empty() {
            workers
        } else {
            takers(wish.requires)
        };
        let open = u32::try_from(wish.count(fleet)).unwrap_or(u32::MAX);
        let mut considered = [None; NOTED_MAX];
        let chosen_first = fleet.get(chosen).map(|worker| (chosen, worker.load()));
        let others = wish
            .by_load(fleet, NOTED_MAX)
            .filter(|(key, _)| *key != chosen);
        for (place, found) in considered
            .iter_mut()
            .zip(chosen_first.into_iter().chain(others))
        {
            *place = Some(found);
        }
        Self {
            at,
            by,
            chosen,
            workers,
            without_labels: workers - suitable,
            full: suitable.saturating_sub(open),
            considered,
        }
    }
}

impl Scheduler {
    /// Notes what led a task to a worker, before it changes what the others look like.
    pub(crate) fn note(&mut self, seq: u64, by: By, worker: WorkerKey, seats: Seats) {
        if let Some(task) = self.tasks.get_mut(seq) {
            let note = Note::of(&self.fleet, &task.wish(seats), by, worker, self.now);
            task.note = Some(note);
        }
    }

    /// Why a task waits, or why it went to its worker; nothing of a task that is not in memory.
    #[must_use]
    pub fn explain(&self, id: &TaskId, now: Micros) -> Option<Explanation> {
        let seq = self.tasks.message_of(id)?;
        let task = self.tasks.get(seq)?;
        let waits = matches!(task.state, TaskState::Ready);
        let (mut candidates, others) = if waits {
            self.candidates(task)
        } else {
            (Vec::new(), 0)
        };
        candidates
            .sort_by_key(|candidate| (candidate.ruled_out.is_some(), candidate.load_permille));
        Some(Explanation {
            task: id.clone(),
            state: state_word(task).to_owned(),
            why: self.why(task, now, &candidates),
            known: Some(self.known(task, now)),
            decision: task.note.and_then(|note| self.decision(note)),
            candidates,
            others,
        })
    }

    fn why(&self, task: &Task, now: Micros, candidates: &[Candidate]) -> String {
        match &task.state {
            TaskState::LookingUp => {
                "it may have run before, so its result is being looked for".to_owned()
            }
            TaskState::Returning => {
                "its message was given back to the stream and comes again in a moment".to_owned()
            }
            TaskState::Settling(settling) => match &settling.step {
                SettlingStep::Retry { wait, .. } => {
                    format!("its attempt failed; the next is being scheduled in {wait}")
                }
                SettlingStep::Bury { reason, .. } => format!("it is being buried: {reason}"),
            },
            TaskState::Ready => self.why_waiting(task, now, candidates),
            TaskState::Held(hold) => self.why_held(task, *hold),
        }
    }

    fn why_held(&self, task: &Task, hold: Hold) -> String {
        let worker = self.name(hold.worker);
        if hold.course == Course::Suspended {
            let order = self.policy(&task.spec.kind).order;
            return format!(
                "it was suspended on {worker} for another task that comes before it by {order}, and goes on \
                 there when its turn comes"
            );
        }
        match task.note {
            Some(Note {
                by: By::Order(order),
                ..
            }) => format!(
                "it took a slot of {worker}: no other was free, and it comes before a task that ran there by \
                 {order}, which is suspended"
            ),
            Some(note) => {
                let load = note.considered[0].map_or(0, |(_, load)| permille(load));
                format!(
                    "it was given to {worker}, {} of {} that handle it and carry its labels: {}, at a load of \
                     {load} of 1000",
                    note.by.describe(),
                    note.workers - note.without_labels,
                    if note.full > 0 {
                        format!("{} of them had no free slot", note.full)
                    } else {
                        "all had a free slot".to_owned()
                    },
                )
            }
            None => format!("{worker} had it already when this scheduler began to lead"),
        }
    }

    fn why_waiting(&self, task: &Task, now: Micros, candidates: &[Candidate]) -> String {
        let losses = self.losses.of(&task.spec.id).all;
        if let Some(until) = self.recovery.held_back_until(task.delivery.seq) {
            let left = Span::from_ms(until.0.saturating_sub(now.0) / 1_000);
            return format!(
                "it was read before this scheduler began to lead, and whoever may run it has {left} more to \
                 say so"
            );
        }
        if self.suspects.contains(&task.delivery.seq) {
            return format!(
                "{losses} workers were lost while they held it: it waits for one that runs no other such task"
            );
        }
        let before = self.before(task).unwrap_or(0);
        if let Some((worker, start)) = self.reservation_of(task) {
            let when = start.map_or_else(
                || "it is not known when".to_owned(),
                |start| {
                    let left = start.0.saturating_sub(now.0) / 1_000;
                    format!("in about {} by the estimates", Span::from_ms(left))
                },
            );
            return format!(
                "it asks for much and has waited long, so {worker} is kept for it until that has room: {when}"
            );
        }
        if let Some(worker) = task.bound {
            let name = self.name(worker);
            return format!("it is bound to {name}, where {before} tasks come before it");
        }
        if self.fleet.len() == 0 {
            return "there are no workers".to_owned();
        }
        if candidates
            .iter()
            .any(|candidate| candidate.ruled_out.is_none())
        {
            return format!("a worker is free; {before} tasks come before it");
        }
        let mut reasons: Vec<&str> = candidates
            .iter()
            .filter_map(|candidate| candidate.ruled_out.as_deref())
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        let before = format!("{before} tasks come before it");
        match reasons.as_slice() {
            [one] => format!("no worker can take it: {one}; {before}"),
            [first, ..] => format!("no worker can take it: {first}, and others; {before}"),
            [] => before,
        }
    }

    fn known(&self, task: &Task, now: Micros) -> Known {
        let policy = self.policy(&task.spec.kind);
        let worker = match task.state {
            TaskState::Held(hold) => Some(hold.worker),
            _ => task.bound,
        };
        let running = task
            .running()
            .map_or(0, |run| now.0.saturating_sub(run.since.0));
        Known {
            kind: task.spec.kind.clone(),
            priority: task.spec.options.priority.level(),
            attempt: task.spec.attempt,
            order: policy.order.to_string(),
            allocation: policy.allocation.to_string(),
            binding: policy.binding.to_string(),
            before: self.before(task),
            estimate: self.estimate(task),
            ran: Span::from_ms((task.ran + running) / 1_000),
            worker: worker.and_then(|key| Some(self.fleet.get(key)?.id.clone())),
            losses: self.losses.of(&task.spec.id).all,
        }
    }

    fn estimate(&self, task: &Task) -> Option<Estimate> {
        let learned = self.estimates.of(&task.spec.kind);
        let said = task.spec.options.duration.is_some();
        let quantile =
            |permille| learned.map(|learned| Span::from_ms(learned.quantile(permille) / 1_000));
        Some(Estimate {
            span: task.estimate()?,
            source: if said { "submitter" } else { "learned" }.to_owned(),
            runs: learned.map_or(0, crate::estimates::Learned::runs),
            p50: quantile(500),
            p95: quantile(950),
        })
    }

    fn before(&self, task: &Task) -> Option<u64> {
        let (line, place) = task.place.as_ref()?;
        Some(self.queue.before(line, *place) as u64)
    }

    fn decision(&self, note: Note) -> Option<Decision> {
        let considered = note.considered.into_iter().flatten();
        Some(Decision {
            at: note.at,
            by: note.by.to_string(),
            worker: self.fleet.get(note.chosen)?.id.clone(),
            workers: note.workers.into(),
            without_labels: note.without_labels.into(),
            full: note.full.into(),
            considered: considered
                .map(|(key, load)| Candidate {
                    worker: self.fleet.get(key).map(|worker| worker.id.clone()),
                    load_permille: permille(load),
                    ruled_out: None,
                })
                .collect(),
        })
    }

    /// Every worker in the light of a task: as many as are listed, and how many more there are.
    fn candidates(&self, task: &Task) -> (Vec<Candidate>, u64) {
        let mut all: Vec<Candidate> = self
            .fleet
            .iter()
            .map(|(_, worker)| Candidate {
                worker: Some(worker.id.clone()),
                load_permille: permille(worker.load()),
                ruled_out: self.ruled_out(worker, task),
            })
            .collect();
        all.sort_by_key(|candidate| (candidate.ruled_out.is_some(), candidate.load_permille));
        let others = all.len().saturating_sub(CANDIDATES_MAX) as u64;
        all.truncate(CANDIDATES_MAX);
        (all, others)
    }

    /// Why a worker cannot take a task now.
    fn ruled_out(&self, worker: &Worker, task: &Task) -> Option<String> {
        let (kind, options) = (&task.spec.kind, &task.spec.options);
        let limit = self.fleet.limit(worker, kind);
        let (room, needed) = (worker.room(), options.demand);
        let early = self.policy(kind).binding == Binding::Early;
        if !worker.takes_tasks() {
            Some(if worker.muted {
                "nobody listened when something was sent to it".to_owned()
            } else {
                "it is stopping".to_owned()
            })
        } else if let Some(reason) = worker.withdrawn.get(kind) {
            Some(format!("it does not offer {kind} any more: {reason}"))
        } else if limit == 0 {
            Some(format!("it does not handle {kind}"))
        } else if let Some(label) = self.fleet.lacks(worker, &options.requires) {
            Some(format!("it does not carry {label}"))
        } else if !cpu_of(needed).fits(room) {
            let (needs, free, of) = (needed.cpu, room.cpu, worker.resources.cpu);
            Some(format!(
                "it has {free} of {of} cores free, {needs} are needed"
            ))
        } else if !needed.fits(room) {
            let (needs, free, of) = (needed.memory, room.memory, worker.resources.memory);
            Some(format!(
                "it has {free} of {of} memory free, {needs} is needed"
            ))
        } else if !self.may_fill(worker, task) {
            let kept_for = worker.kept_for.and_then(|seq| self.tasks.get(seq));
            let id = kept_for.map_or_else(String::new, |task| task.spec.id.to_string());
            Some(format!(
                "it is kept for {id}, which asks for much and has waited long, and which this one might put off"
            ))
        } else if worker.used(kind) >= limit {
            Some(format!("it runs as many of {kind} as it may ({limit})"))
        } else if worker.free_slots() == 0 && !early {
            Some(format!("its {} slots are taken", worker.slots()))
        } else {
            None
        }
    }

    fn name(&self, key: WorkerKey) -> String {
        let worker = self.fleet.get(key);
        worker.map_or_else(
            || "a worker that is gone".to_owned(),
            |worker| worker.id.to_string(),
        )
    }
}

const fn state_word(task: &Task) -> &'static str {
    match &task.state {
        TaskState::LookingUp => "checking",
        TaskState::Ready => "waiting",
        TaskState::Held(Hold {
            course: Course::Suspended,
            ..
        }) => "suspended",
        TaskState::Held(_) => "running",
        TaskState::Settling(_) => "settling",
        TaskState::Returning => "returning",
    }
}

impl By {
    const fn describe(self) -> &'static str {
        match self {
            Self::Allocation(Allocation::Random) => "drawn at random",
            Self::Allocation(Allocation::RoundRobin) => "whose turn it was",
            Self::Allocation(Allocation::LeastLoaded) => "the least loaded",
            Self::Allocation(Allocation::PowerOfTwo) => "the less loaded of two that were drawn",
            Self::Allocation(Allocation::Resource) => {
                "the one with least to spare of what it mostly needs"
            }
            Self::Order(_) => "the one whose task made room",
            Self::Reservation => "kept for a task that asks for much",
        }
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allocation(allocation) => allocation.fmt(f),
            Self::Order(order) => order.fmt(f),
            Self::Reservation => f.write_str("reservation"),
        }
    }
}

const fn permille(load: u64) -> u64 {
    load * 1_000 / LOAD_SCALE
}

#[cfg(test)]
mod tests;
