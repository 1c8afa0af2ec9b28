//! What must hold, judged from outside: by what the scheduler is told and what it does.

use std::collections::{BTreeMap, BTreeSet};

use rota_scheduler_core::{Action, AssignFrame, Options, Order};
use rota_wire::event::{Event as Told, RedeliveryCause};
use rota_wire::fleet::{Heartbeat, KindCapacity, Stage, WorkerState};
use rota_wire::{
    Cpu, Holding, Kind, Label, Lane, Micros, Resources, Span, TaskId, TaskSpec, Term, WorkerId,
};

use super::blame::Blame;
use super::seen::Seen;

/// A rule that is broken, in words.
pub(crate) type Verdict<T = ()> = Result<T, String>;

/// What one scheduler was told and has done.
#[derive(Debug)]
pub(crate) struct Judge {
    options: Options,
    term: Term,
    /// Whether workers of the last term were expected, and who of them has not been heard.
    expecting: bool,
    missing: BTreeSet<WorkerId>,
    /// How far earlier terms came in each lane.
    left_to: BTreeMap<Lane, u64>,
    pub(crate) blame: Blame,
    /// What was delivered and is not acked.
    known: BTreeMap<u64, Known>,
    acked: BTreeSet<u64>,
    condemned: BTreeSet<u64>,
    /// What was assigned and not taken back. Adopted deliveries are not here, until they are suspended or
    /// resumed.
    assigned: BTreeMap<u64, Attempt>,
    heard: BTreeMap<WorkerId, Said>,
    frames: BTreeMap<WorkerId, u64>,
    pub(crate) seen: Seen,
}

/// An attempt that a worker was given.
#[derive(Debug)]
struct Attempt {
    worker: WorkerId,
    holding: Holding,
    course: Course,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Since when, as far as that is known.
    Running(Option<Micros>),
    Suspended,
}

/// What a worker has in use.
#[derive(Debug, Default)]
struct Load {
    running: u32,
    of_kind: u32,
    suspended: u32,
    suspects: u32,
}

#[derive(Debug)]
struct Known {
    spec: TaskSpec,
    /// It had its result when it came, or came again after it was given back.
    over: bool,
    returning: bool,
    /// Of an earlier term: until then whoever may run it is listened for.
    listen_until: Option<Micros>,
}

/// A worker's newest word.
#[derive(Debug)]
struct Said {
    number: u64,
    state: WorkerState,
    slots: u32,
    kinds: Vec<KindCapacity>,
    resources: Resources,
    labels: Vec<Label>,
    /// Every holding that it ever said it has, since it last was taken from it, and its stage then.
    listed: BTreeMap<Holding, Stage>,
}

/// What lies in the other streams.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The first result of each task counts.
    pub(crate) results: BTreeMap<TaskId, Final>,
    pub(crate) dead: BTreeSet<TaskId>,
    /// Messages whose retry was stored.
    pub(crate) retried: BTreeSet<u64>,
    /// The latest attempt of each task that ever lay in the schedule.
    pub(crate) scheduled: BTreeMap<TaskId, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Final {
    Completed,
    Failed,
}

impl Judge {
    pub(crate) fn new(options: Options, term: Term, missing: BTreeSet<WorkerId>) -> Self {
        Self {
            options,
            term,
            expecting: !missing.is_empty(),
            missing,
            left_to: BTreeMap::new(),
            blame: Blame::default(),
            known: BTreeMap::new(),
            acked: BTreeSet::new(),
            condemned: BTreeSet::new(),
            assigned: BTreeMap::new(),
            heard: BTreeMap::new(),
            frames: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn knows(&self, seq: u64) -> bool {
        self.known.contains_key(&seq)
    }

    pub(crate) fn known(&self) -> usize {
        self.known.len()
    }

    /// Messages that were given back and have not come again.
    pub(crate) fn returning(&self) -> usize {
        let known = self.known.values();
        known.filter(|known| known.returning).count()
    }

    pub(crate) fn opened(&mut self, lane: &Lane, delivered_to: u64) {
        let left_to = self.left_to.entry(lane.clone()).or_default();
        *left_to = delivered_to.max(*left_to);
    }

    pub(crate) fn delivered(
        &mut self,
        now: Micros,
        lane: &Lane,
        seq: u64,
        spec: TaskSpec,
        stored: &Stored,
    ) {
        let over = stored.results.contains_key(&spec.id);
        let left = self.left_to.get(lane).is_some_and(|to| seq <= *to);
        let listen_until = left.then(|| now.plus(self.options.roll_call));
        let new = Known {
            spec,
            over,
            returning: false,
            listen_until,
        };
        let known = self.known.entry(seq).or_insert(new);
        if std::mem::take(&mut known.returning) {
            (known.over, known.listen_until) = (over, None);
        }
    }

    /// A message is not in its lane any more, as was told.
    pub(crate) fn gone(&mut self, seq: u64) {
        self.known.remove(&seq);
        self.take_back(seq);
    }

    /// The scheduler stood still for so long.
    pub(crate) fn stalled(&mut self, span: Span) {
        for known in self.known.values_mut() {
            known.listen_until = known.listen_until.map(|until| until.plus(span));
        }
    }

    /// A worker is not there any more, as was told.
    pub(crate) fn ended(&mut self, worker: &WorkerId) {
        self.missing.remove(worker);
        self.blame.ended(worker);
    }

    /// A worker has answered the roll call.
    pub(crate) fn answered(&mut self, worker: &WorkerId) {
        self.missing.remove(worker);
    }

    pub(crate) fn heard(&mut self, heartbeat: &Heartbeat) {
        self.blame.heard(&heartbeat.worker);
        let mut listed = BTreeMap::new();
        if let Some(said) = self.heard.get_mut(&heartbeat.worker) {
            if said.number >= heartbeat.number {
                return;
            }
            listed = std::mem::take(&mut said.listed);
        }
        listed.extend(heartbeat.held.iter().map(|held| (held.holding, held.stage)));
        let said = Said {
            number: heartbeat.number,
            state: heartbeat.state,
            slots: heartbeat.slots,
            kinds: heartbeat.kinds.clone(),
            resources: heartbeat.resources,
            labels: heartbeat.labels.clone(),
            listed,
        };
        self.heard.insert(heartbeat.worker.clone(), said);
    }

    /// Judges an action and remembers it.
    pub(crate) fn judge(&mut self, now: Micros, action: &Action, stored: &Stored) -> Verdict {
        match action {
            Action::CallRoll
            | Action::OpenLane { .. }
            | Action::CloseLane { .. }
            | Action::FindLanes { .. }
            | Action::Refuse { .. }
            | Action::Pull { .. }
            | Action::Record { .. } => Ok(()),
            Action::Assign(frame) => self.assign(now, frame),
            Action::Ack { seq } => self.ack(*seq, stored),
            Action::Nak { seq } => {
                self.take_back(*seq);
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
                self.take_back(*seq);
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
                self.take_back(*seq);
                let id = self.must_know(*seq)?.id.clone();
                let certain = self.blame.certain(&id);
                let poison = certain >= self.options.losses_max as usize;
                // One whose burial has begun is buried, whoever comes back meanwhile.
                let again = !self.condemned.insert(*seq);
                rule(failure.is_some() || poison || again, || {
                    format!("#{seq} is buried: {certain} workers have ended, and no failure")
                })
            }
            Action::Probe { worker } => {
                self.seen.probed += 1;
                rule(self.blame.is_blamed(worker), || {
                    format!("{worker} is looked for")
                })
            }
            Action::Tell(told) => {
                self.hear(told);
                Ok(())
            }
        }
    }

    /// An attempt is over, or belongs to nobody.
    fn take_back(&mut self, seq: u64) {
        self.assigned.remove(&seq);
        for said in self.heard.values_mut() {
            said.listed.retain(|holding, _| holding.delivery.seq != seq);
        }
    }

    fn must_know(&self, seq: u64) -> Verdict<&TaskSpec> {
        let known = self.known.get(&seq);
        known.map(|known| &known.spec).ok_or_else(|| unknown(seq))
    }

    fn hear(&mut self, told: &Told) {
        self.seen.reserved += u32::from(matches!(told, Told::Reserved { .. }));
        if let Told::Redelivered {
            task,
            worker,
            cause: RedeliveryCause::Lost,
            ..
        } = told
        {
            self.blame.lost(task, worker);
        }
    }

    fn ack(&mut self, seq: u64, stored: &Stored) -> Verdict {
        // It came again before its ack was carried out.
        if !self.known.contains_key(&seq) && self.acked.contains(&seq) {
            return Ok(());
        }
        self.acked.insert(seq);
        let spec = self.must_know(seq)?;
        let (id, attempt) = (spec.id.clone(), spec.attempt);
        let others = self.known.iter().filter(|(other, known)| {
            **other != seq && known.spec.id == id && known.spec.attempt >= attempt
        });
        let duplicate = others.count() > 0;
        let settled = stored.results.contains_key(&id) || stored.retried.contains(&seq);
        let later = stored
            .scheduled
            .get(&id)
            .is_some_and(|last| *last > attempt);
        if settled && !duplicate && stored.results.contains_key(&id) {
            self.blame.forget(&id);
        }
        self.known.remove(&seq);
        self.take_back(seq);
        rule(settled || duplicate || later, || {
            format!(
                "#{seq} ({id}) is acked without result, retry or another message that is as late"
            )
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
        for holding in &frame.suspended {
            self.suspend(now, worker, *holding)?;
        }
        for holding in &frame.resumed {
            self.resume(now, worker, *holding)?;
        }
        for placed in &frame.tasks {
            rule(placed.holding.term == self.term, || {
                format!("assigned for {}", placed.holding.term)
            })?;
            self.place(now, worker, placed.holding)?;
        }
        self.seen.rotated += u32::from(!frame.suspended.is_empty() && !frame.resumed.is_empty());
        self.must_have_room(worker)
    }

    /// What is told twice is so since the worker did otherwise.
    fn suspend(&mut self, now: Micros, worker: &WorkerId, holding: Holding) -> Verdict {
        self.seen.suspended += 1;
        let attempt = self.attempt(worker, holding)?;
        let Course::Running(since) = attempt.course else {
            return self.repeated(worker, holding, Stage::Running);
        };
        attempt.course = Course::Suspended;
        let policy = self
            .options
            .policy_of(&self.must_know(holding.delivery.seq)?.kind);
        rule(policy.order.is_preemptive(), || {
            format!("{holding:?} is suspended by order of {}", policy.order)
        })?;
        let shortest = self.shortest_run(policy.order);
        let short = since.filter(|since| now < since.plus(shortest) || now <= *since);
        rule(short.is_none(), || {
            format!("{holding:?} is suspended at {now:?} and runs since {short:?}")
        })
    }

    /// How long an attempt runs at least before it is suspended. Who takes its slot may be of a kind with the
    /// same order and other spans.
    fn shortest_run(&self, order: Order) -> Span {
        let policies = self.options.kinds.values().chain([&self.options.policy]);
        let alike = policies.filter(|policy| policy.order == order);
        let shortest = alike.map(|policy| match order {
            Order::TimeSlice => policy.min_run.max(policy.quantum),
            _ => policy.min_run,
        });
        shortest.min().unwrap_or_default()
    }

    fn resume(&mut self, now: Micros, worker: &WorkerId, holding: Holding) -> Verdict {
        self.seen.resumed += 1;
        let own = self.assigned.contains_key(&holding.delivery.seq);
        let attempt = self.attempt(worker, holding)?;
        let known = match attempt.course {
            Course::Suspended => Some(now),
            // Of an earlier term: it is new in these books, so nothing tells whether it ran.
            Course::Running(None) if !own => None,
            Course::Running(_) => return self.repeated(worker, holding, Stage::Suspended),
        };
        attempt.course = Course::Running(known);
        let demand = self.must_know(holding.delivery.seq)?.options.demand;
        let cpu = Resources {
            cpu: demand.cpu,
            ..Resources::NONE
        };
        self.must_have(worker, cpu)
    }

    /// A worker has what one more attempt was promised just now. What it had before these books knew of it may
    /// be too much already.
    fn must_have(&self, worker: &WorkerId, demand: Resources) -> Verdict {
        let Some(said) = self.heard.get(worker) else {
            return Err(format!("{worker} has never been heard"));
        };
        let promised = self.promised(worker);
        let enough = |asked: u64, promised: u64, has: u64| asked == 0 || promised <= has;
        let cpu = enough(
            demand.cpu.0.into(),
            promised.cpu.0.into(),
            said.resources.cpu.0.into(),
        );
        let memory = enough(demand.memory.0, promised.memory.0, said.resources.memory.0);
        rule(cpu && memory, || {
            format!(
                "{worker} has promised {promised:?} and has {:?}",
                said.resources
            )
        })
    }

    fn repeated(&mut self, worker: &WorkerId, holding: Holding, stage: Stage) -> Verdict {
        self.seen.repeated += 1;
        let listed = self
            .heard
            .get(worker)
            .and_then(|said| said.listed.get(&holding));
        rule(listed == Some(&stage), || {
            format!("{worker} is told twice of {holding:?} and says {listed:?}")
        })
    }

    /// An attempt that a worker has: we gave it to it, or it says that it has it of an earlier term.
    fn attempt(&mut self, worker: &WorkerId, holding: Holding) -> Verdict<&mut Attempt> {
        let seq = holding.delivery.seq;
        self.must_know(seq)?;
        if !self.assigned.contains_key(&seq) {
            let said = self.heard.get(worker);
            let listed = said.is_some_and(|said| said.listed.contains_key(&holding));
            rule(listed, || {
                format!("{holding:?} is suspended or resumed, and {worker} does not have it")
            })?;
            self.seen.adopted += 1;
            let (worker, course) = (worker.clone(), Course::Running(None));
            self.assigned.insert(
                seq,
                Attempt {
                    worker,
                    holding,
                    course,
                },
            );
        }
        let attempt = self.assigned.get_mut(&seq).expect("it is there now");
        let theirs = attempt.worker == *worker && attempt.holding == holding;
        rule(theirs, || {
            format!("{holding:?} is suspended or resumed on {worker}, and is another's")
        })?;
        Ok(attempt)
    }

    fn place(&mut self, now: Micros, worker: &WorkerId, holding: Holding) -> Verdict {
        let seq = holding.delivery.seq;
        let spec = self.must_know(seq)?.clone();
        rule(!self.known[&seq].over, || {
            format!("#{seq} runs although it had its result when it came")
        })?;
        let all_heard = self.expecting && self.missing.is_empty();
        let until = self.known[&seq].listen_until.filter(|_| !all_heard);
        rule(until.is_none_or(|until| until <= now), || {
            format!("#{seq} was left, and is assigned before the roll call has ended")
        })?;
        let attempt = Attempt {
            worker: worker.clone(),
            holding,
            course: Course::Running(Some(now)),
        };
        if let Some(other) = self.assigned.insert(seq, attempt) {
            return Err(format!(
                "#{seq} is assigned to {worker} and {}",
                other.worker
            ));
        }
        self.seen.placed += 1;
        let options = &spec.options;
        self.seen.particular +=
            u32::from(!options.demand.is_none() || !options.requires.is_empty());
        let said = self.heard.get(worker);
        let said = said.ok_or_else(|| format!("{worker} has never been heard"))?;
        rule(said.state == WorkerState::Up, || {
            format!("{worker} takes no tasks")
        })?;
        let lacking = options
            .requires
            .iter()
            .find(|label| !said.labels.contains(label));
        rule(lacking.is_none(), || {
            format!("#{seq} is given to {worker}, which is not {lacking:?}")
        })?;
        self.must_have(worker, options.demand)?;
        let suspect = self.blame.losses(&spec.id) >= self.suspect_from();
        let suspects = self.load(worker, &spec.kind).suspects;
        rule(!suspect || suspects == 1, || {
            format!("{worker} is given {suspects} tasks under suspicion")
        })
    }

    /// A worker has room for all that it was given.
    fn must_have_room(&self, worker: &WorkerId) -> Verdict {
        let Some(said) = self.heard.get(worker) else {
            let held = self
                .assigned
                .values()
                .any(|attempt| attempt.worker == *worker);
            return rule(!held, || format!("{worker} has never been heard"));
        };
        let theirs = self
            .assigned
            .iter()
            .filter(|(_, attempt)| attempt.worker == *worker);
        let kinds: BTreeSet<&Kind> = theirs
            .filter_map(|(seq, _)| Some(&self.known.get(seq)?.spec.kind))
            .collect();
        for kind in kinds {
            let capacity = said.kinds.iter().find(|capacity| capacity.kind == *kind);
            let capacity = capacity.ok_or_else(|| format!("{worker} cannot run {kind}"))?;
            let limit = capacity.concurrency.unwrap_or(u32::MAX);
            let of_kind = self.load(worker, kind).of_kind;
            rule(of_kind <= limit, || {
                format!("{worker} is given {of_kind} tasks of {kind}, at most {limit}")
            })?;
            let load = self.load(worker, kind);
            rule(load.running <= said.slots, || {
                format!("{worker} is given {load:?} and has {} slots", said.slots)
            })?;
            rule(load.suspended <= self.options.suspended_max, || {
                format!("{worker}: {load:?} are too many suspended")
            })?;
        }
        Ok(())
    }

    fn load(&self, worker: &WorkerId, kind: &Kind) -> Load {
        let theirs = self.assigned.iter();
        let theirs = theirs.filter(|(_, attempt)| attempt.worker == *worker);
        let mut load = Load::default();
        for (seq, attempt) in theirs {
            let Some(known) = self.known.get(seq) else {
                continue;
            };
            match attempt.course {
                Course::Running(_) => {
                    load.running += 1;
                    load.of_kind += u32::from(known.spec.kind == *kind);
                }
                Course::Suspended => load.suspended += 1,
            }
            load.suspects += u32::from(self.is_suspect(&known.spec.id));
        }
        load
    }

    /// The cores of those that run, the memory of all.
    fn promised(&self, worker: &WorkerId) -> Resources {
        let theirs = self.assigned.iter();
        let theirs = theirs.filter(|(_, attempt)| attempt.worker == *worker);
        let demands = theirs.filter_map(|(seq, attempt)| {
            let demand = self.known.get(seq)?.spec.options.demand;
            Some(match attempt.course {
                Course::Running(_) => demand,
                Course::Suspended => Resources {
                    cpu: Cpu(0),
                    ..demand
                },
            })
        });
        demands.fold(Resources::NONE, Resources::plus)
    }

    fn is_suspect(&self, id: &TaskId) -> bool {
        self.blame.losses(id) >= self.suspect_from()
    }

    fn suspect_from(&self) -> usize {
        self.options.losses_max.saturating_sub(1).max(1) as usize
    }
}

fn unknown(seq: u64) -> String {
    format!("#{seq} was not delivered, or is acked")
}

pub(crate) fn rule(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(broken()) }
}
