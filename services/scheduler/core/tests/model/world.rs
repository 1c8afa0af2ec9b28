//! A small world around the core: streams, workers, and messages under way between them.
//!
//! Two schedulers are told the same and must do the same. What one does is judged and carried out; what
//! it asks for is answered by later steps, in any order, late, twice or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rota_scheduler_core::{Action, Beginning, Event, Looked, Options, Scheduler};
use rota_wire::dispatch::{Ending, Outcome};
use rota_wire::event::Event as Told;
use rota_wire::fleet::{Heartbeat, WorkerState};
use rota_wire::options::Backoff;
use rota_wire::task::Recheck;
use rota_wire::{
    Cpu, Kind, Lane, LeaderMemory, Memory, Micros, Priority, Resources, Span, TaskId, TaskOptions,
    TaskSpec, Term, WorkerId,
};

use super::blame::Blame;
use super::judge::{Final, Judge, Stored, Verdict, rule};
use super::lane::LaneStream;
use super::narrate;
use super::seen::Seen;
use super::step::Step;
use super::worker::{Mail, ModelWorker, PROFILES, label};

const LANES: [(&str, u8); 5] = [("a", 1), ("a", 9), ("b", 5), ("c", 5), ("c", 6)];
const DURATIONS_MS: [Option<u64>; 4] = [None, Some(50), Some(300), Some(2_000)];
const DEMANDS: [Resources; 4] = [
    Resources::NONE,
    Resources::NONE,
    demand(1_000, 100),
    demand(400, 300),
];
const REQUIRES: [&[&str]; 4] = [&[], &[], &["gpu"], &["gpu", "ssd"]];
/// Messages under way, at most; of more the oldest are lost.
const UNDER_WAY_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Micros,
    pub(crate) options: Options,
    pub(crate) term: Term,
    pub(crate) scheduler: Scheduler,
    twin: Scheduler,
    pub(crate) judge: Judge,
    /// What judges of earlier terms saw, and of all once it is calm.
    pub(crate) seen: Seen,
    pub(crate) lanes: BTreeMap<Lane, LaneStream>,
    pub(crate) stored: Stored,
    /// Retries that are not due yet, one for each task.
    pub(crate) schedule: BTreeMap<TaskId, (Micros, TaskSpec)>,
    /// Every task that was ever submitted.
    pub(crate) tasks: Vec<TaskSpec>,
    pub(crate) workers: Vec<ModelWorker>,
    pub(crate) beats: VecDeque<Heartbeat>,
    pub(crate) reports: VecDeque<(WorkerId, Outcome)>,
    /// Look-ups, and what they found if that is on its way.
    pub(crate) look_ups: VecDeque<(u64, TaskId, Option<Looked>)>,
    pub(crate) stores: VecDeque<Store>,
    /// Stores that were told to have failed, and happen later.
    pub(crate) late: Vec<Store>,
    /// Retries that are due and that the submitter has not passed on.
    pub(crate) due: VecDeque<TaskSpec>,
    /// Tasks of which a message was taken out by hand.
    pub(crate) purged: BTreeSet<TaskId>,
    pub(crate) openings: VecDeque<Opening>,
    /// Workers that have crashed and were not told to be dead.
    pub(crate) crashed: Vec<WorkerId>,
    /// Frames that nobody listened to.
    pub(crate) unheard: VecDeque<(WorkerId, u64)>,
    /// Workers that are looked for.
    pub(crate) probes: VecDeque<WorkerId>,
    pub(crate) answers_to_lose: u32,
    /// Whether messages or answers between server and scheduler were ever lost in this term.
    pub(crate) astray: bool,
    /// How often each attempt was begun and not handed back.
    pub(crate) begun: BTreeMap<(TaskId, u32), u32>,
    pub(crate) log: Vec<String>,
    narrates: Narrates,
    turn: Vec<Action>,
    next_seq: u64,
    next_worker: u32,
}

/// Whether what happens is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Narrates {
    Nothing,
    All,
}

/// What the scheduler wants done with its lanes, or is to be told of them.
#[derive(Debug)]
pub(crate) enum Opening {
    Listed,
    Found(Lane),
    Lane(Lane),
    Close(Lane),
}

/// Whether a scheduler is told what the one before it has learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembers {
    Nothing,
    All,
}

/// Something that is being stored.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) seq: u64,
    pub(crate) what: What,
    pub(crate) done: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Retry(Arc<TaskSpec>, Span),
    DeadLetter(TaskId),
}

impl World {
    pub(crate) fn new(options: Options, narrates: Narrates) -> Verdict<Self> {
        let (now, term) = (Micros(1_000_000_000), Term(1));
        let scheduler = || {
            let beginning = beginning(term, now, BTreeSet::new(), None);
            Scheduler::new(options.clone(), beginning, &mut Vec::new())
        };
        let mut world = Self {
            now,
            term,
            scheduler: scheduler(),
            twin: scheduler(),
            judge: Judge::new(options.clone(), term, BTreeSet::new()),
            seen: Seen::default(),
            options: options.clone(),
            lanes: LANES
                .iter()
                .map(|(kind, level)| (lane(kind, *level), LaneStream::default()))
                .collect(),
            stored: Stored::default(),
            schedule: BTreeMap::new(),
            tasks: Vec::new(),
            workers: Vec::new(),
            beats: VecDeque::new(),
            reports: VecDeque::new(),
            look_ups: VecDeque::new(),
            stores: VecDeque::new(),
            late: Vec::new(),
            due: VecDeque::new(),
            purged: BTreeSet::new(),
            openings: VecDeque::from([Opening::Listed]),
            crashed: Vec::new(),
            unheard: VecDeque::new(),
            probes: VecDeque::new(),
            answers_to_lose: 0,
            astray: false,
            begun: BTreeMap::new(),
            log: Vec::new(),
            narrates,
            turn: Vec::new(),
            next_seq: 1,
            next_worker: 1,
        };
        world.end_turn()?;
        for profile in [PROFILES[0], PROFILES[2]] {
            let name = world.new_worker_name();
            world.workers.push(ModelWorker::new(&name, profile));
        }
        world.step(Step::BeatAll)?;
        Ok(world)
    }

    /// Replaces the scheduler. Its look-ups are forgotten and its consumers wait to be reset.
    pub(crate) fn replace_scheduler(
        &mut self,
        expected: BTreeSet<WorkerId>,
        remembers: Remembers,
    ) -> Verdict {
        self.term = Term(self.term.0 + 1);
        self.note(|| "a new scheduler".to_owned());
        let (term, now) = (self.term, self.now);
        let memory = (remembers == Remembers::All).then(|| self.scheduler.memory());
        let scheduler = |actions: &mut Vec<Action>| {
            let beginning = beginning(term, now, expected.clone(), memory.clone());
            Scheduler::new(self.options.clone(), beginning, actions)
        };
        self.turn.clear();
        self.scheduler = scheduler(&mut self.turn);
        self.twin = scheduler(&mut Vec::new());
        self.seen.add(&self.judge.seen);
        let blame = match remembers {
            Remembers::Nothing => Blame::default(),
            Remembers::All => std::mem::take(&mut self.judge.blame),
        };
        self.judge = Judge::new(self.options.clone(), term, expected);
        self.judge.blame = blame;
        self.astray = false;
        self.look_ups.clear();
        self.stores.clear();
        self.openings.clear();
        self.unheard.clear();
        self.probes.clear();
        for stream in self.lanes.values_mut() {
            (stream.open, stream.credits, stream.lost) = (false, 0, 0);
            // A new leader has to be told how far earlier ones came; it cannot know by itself.
            if std::mem::take(&mut stream.forgotten) {
                stream.consumer = stream.was_pulled();
            }
        }
        self.openings.push_back(Opening::Listed);
        self.end_turn()
    }

    /// Tells the schedulers of an event.
    pub(crate) fn tell(&mut self, event: Event) -> Verdict {
        self.note(|| format!("  told: {}", narrate::event(&event)));
        let (mut actions, mut twins) = (Vec::new(), Vec::new());
        self.scheduler
            .handle_event(self.now, event.clone(), &mut actions);
        if let Event::Heartbeat(heartbeat) = &event {
            self.judge.answered(&heartbeat.worker);
            let mut heard = self.scheduler.workers();
            // Of too many workers some are not heard.
            if heard.any(|id| *id == heartbeat.worker) || heartbeat.state == WorkerState::Gone {
                self.judge.heard(heartbeat);
            }
        }
        self.twin.handle_event(self.now, event, &mut twins);
        self.take_actions(actions, twins)
    }

    /// What is due by now is done, and the turn ended.
    pub(crate) fn time_out(&mut self) -> Verdict {
        if self.scheduler.next_deadline() <= self.now {
            let (mut actions, mut twins) = (Vec::new(), Vec::new());
            self.scheduler.handle_timeout(self.now, &mut actions);
            self.twin.handle_timeout(self.now, &mut twins);
            self.take_actions(actions, twins)?;
        }
        self.end_turn()?;
        rule(self.scheduler.next_deadline() > self.now, || {
            "something is due still, and would be for ever".to_owned()
        })
    }

    /// Lets the scheduler decide, and does what it wants.
    pub(crate) fn end_turn(&mut self) -> Verdict {
        let (mut actions, mut twins) = (Vec::new(), Vec::new());
        self.scheduler.dispatch(self.now, &mut actions);
        self.twin.dispatch(self.now, &mut twins);
        self.take_actions(actions, twins)?;
        for action in std::mem::take(&mut self.turn) {
            if !matches!(action, Action::Tell(Told::Counted(_))) {
                self.note(|| format!("  does: {}", narrate::action(&action)));
            }
            self.judge.judge(self.now, &action, &self.stored)?;
            self.carry_out(action);
        }
        self.look_around()
    }

    fn take_actions(&mut self, actions: Vec<Action>, twins: Vec<Action>) -> Verdict {
        rule(actions == twins, || {
            format!("told the same, {actions:?} and {twins:?}")
        })?;
        self.turn.extend(actions);
        self.scheduler.check()
    }

    fn look_around(&mut self) -> Verdict {
        let (found, known) = (self.scheduler.tasks_in_memory(), self.judge.known());
        // What was given back may have been forgotten, where nobody could run it.
        let least = known - self.judge.returning();
        rule((least..=known).contains(&found), || {
            format!("{found} tasks in memory, {least} to {known} delivered and not acked")
        })?;
        self.nothing_is_lost()?;
        for (lane, stream) in &self.lanes {
            if stream.open
                && let Some(seq) = stream.forgotten(|seq| self.judge.knows(seq))
            {
                return Err(format!("#{seq} of {lane} was delivered and is forgotten"));
            }
        }
        // What was given back and went astray keeps its place while others come.
        rule(self.astray || found <= self.options.tasks_max, || {
            format!("{found} tasks in memory")
        })?;
        let heard = self.scheduler.workers().count();
        rule(heard <= self.options.workers_max, || {
            format!("{heard} workers")
        })
    }

    /// Every task has its result, or a message that will come to one.
    fn nothing_is_lost(&self) -> Verdict {
        let lanes = self.lanes.values().flat_map(LaneStream::ids);
        let carried: BTreeSet<&TaskId> = lanes
            .chain(self.schedule.keys())
            .chain(self.due.iter().map(|spec| &spec.id))
            .collect();
        for task in &self.tasks {
            let id = &task.id;
            let there = carried.contains(id)
                || self.stored.results.contains_key(id)
                || self.purged.contains(id);
            rule(there, || format!("{id} is lost: no result and no message"))?;
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::CallRoll => {
                let term = self.term;
                for worker in self.workers.iter_mut().filter(|worker| !worker.cut) {
                    worker.inbox.push_back(Mail::RollCall(term));
                }
            }
            Action::OpenLane { lane } => self.openings.push_back(Opening::Lane(lane)),
            Action::CloseLane { lane } => self.openings.push_back(Opening::Close(lane)),
            Action::FindLanes { kind } => {
                let lanes = self.lanes.iter();
                let lanes = lanes.filter(|(lane, stream)| lane.kind == kind && !stream.is_empty());
                let found = lanes.map(|(lane, _)| Opening::Found(lane.clone()));
                self.openings.extend(found);
            }
            Action::Probe { worker } => self.probes.push_back(worker),
            Action::Pull { lane, count } => {
                if let Some(stream) = self.lanes.get_mut(&lane).filter(|stream| stream.open) {
                    stream.credits += count;
                }
            }
            Action::Assign(frame) => {
                let term = self.term;
                let mut workers = self.workers.iter_mut();
                let found = workers.find(|worker| worker.id == frame.worker && !worker.cut);
                match found {
                    Some(worker) => worker.inbox.push_back(Mail::Frame(term, frame)),
                    None => self.unheard.push_back((frame.worker, frame.number)),
                }
                while self.unheard.len() > UNDER_WAY_MAX {
                    self.unheard.pop_front();
                }
            }
            Action::Ack { seq } => self.answer(seq, LaneStream::ack),
            Action::Nak { seq } => self.answer(seq, LaneStream::nak),
            Action::LookUp { seq, task, .. } => {
                self.look_ups.push_back((seq, task.id.clone(), None));
            }
            Action::StoreRetry { seq, task, wait } => {
                let what = What::Retry(task, wait);
                self.stores.push_back(Store {
                    seq,
                    what,
                    done: false,
                });
            }
            Action::Bury { seq, task, .. } => {
                let what = What::DeadLetter(task.id.clone());
                self.stores.push_back(Store {
                    seq,
                    what,
                    done: false,
                });
            }
            Action::Tell(_) | Action::Record { .. } | Action::Refuse { .. } => {}
        }
    }

    fn answer(&mut self, seq: u64, answer: impl Fn(&mut LaneStream, u64)) {
        let mut lanes = self.lanes.values_mut();
        let Some(lane) = lanes.find(|lane| lane.spec(seq).is_some()) else {
            return;
        };
        if self.answers_to_lose > 0 {
            self.answers_to_lose -= 1;
            self.astray = true;
            lane.lose_track(seq);
        } else {
            answer(lane, seq);
        }
    }

    /// Puts a message into its lane, and hints at it unless the scheduler has opened it.
    pub(crate) fn enqueue(&mut self, spec: TaskSpec) {
        let lane = Lane {
            kind: spec.kind.clone(),
            priority: spec.options.priority,
        };
        let stream = self.lanes.entry(lane.clone()).or_default();
        stream.store(self.next_seq, spec);
        if !stream.open {
            self.openings.push_back(Opening::Found(lane));
        }
        self.next_seq += 1;
    }

    /// A new task. Of the bits of its needs two each say what duration it gives, what resources it asks for
    /// and what label it requires.
    pub(crate) fn new_task(&mut self, lane: u8, attempts: u32, needs: u8) -> TaskSpec {
        let lane = lane as usize % self.lanes.len();
        let lane = self.lanes.keys().nth(lane).expect("counted round").clone();
        let id = format!("t{}", self.tasks.len() + 1);
        let spec = TaskSpec {
            id: TaskId::parse(&id).expect("a good id"),
            kind: lane.kind,
            submitted: self.now,
            attempt: 1,
            recheck: if needs & 64 == 0 {
                Recheck::Fresh
            } else {
                Recheck::Named
            },
            options: TaskOptions {
                priority: lane.priority,
                attempts,
                backoff: Backoff {
                    first: Span::from_ms(20),
                    cap: Span::from_ms(200),
                },
                duration: DURATIONS_MS[usize::from(needs & 3)].map(Span::from_ms),
                demand: DEMANDS[usize::from(needs >> 2 & 3)],
                requires: REQUIRES[usize::from(needs >> 4 & 3)]
                    .iter()
                    .map(|text| label(text))
                    .collect(),
                ..TaskOptions::default()
            },
        };
        self.tasks.push(spec.clone());
        spec
    }

    pub(crate) fn new_worker_name(&mut self) -> String {
        self.next_worker += 1;
        format!("w{}", self.next_worker - 1)
    }

    /// What an attempt leaves behind when it has ended, and its report.
    pub(crate) fn finished(&mut self, worker: usize, spec: &TaskSpec) {
        self.count_begun();
        let outcome = self.workers[worker].outbox.values().next_back().cloned();
        let Some(outcome) = outcome else {
            return;
        };
        match outcome.ending {
            Ending::Stored => {
                self.stored
                    .results
                    .entry(spec.id.clone())
                    .or_insert(Final::Completed);
            }
            Ending::Returned { .. } => {
                let begun = self.begun.get_mut(&(spec.id.clone(), spec.attempt));
                *begun.expect("it has begun") -= 1;
            }
            Ending::Failed(_) => {}
        }
    }

    pub(crate) fn count_begun(&mut self) {
        for spec in self.workers.iter_mut().flat_map(ModelWorker::take_begun) {
            *self
                .begun
                .entry((spec.id.clone(), spec.attempt))
                .or_default() += 1;
        }
    }

    /// Sends all that a worker has not been told to be settled.
    pub(crate) fn report_all(&mut self, worker: usize) {
        let worker = &self.workers[worker];
        if !worker.cut {
            let outcomes = worker.outbox.values();
            self.reports
                .extend(outcomes.map(|outcome| (worker.id.clone(), outcome.clone())));
        }
        while self.reports.len() > UNDER_WAY_MAX {
            self.reports.pop_front();
        }
    }

    pub(crate) fn send_beat(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let heartbeat = worker.heartbeat(self.now);
        if !worker.cut {
            self.beats.push_back(heartbeat);
        }
        while self.beats.len() > UNDER_WAY_MAX {
            self.beats.pop_front();
        }
    }

    /// Does what is being stored.
    pub(crate) fn store(&mut self, store: &Store) {
        match &store.what {
            What::Retry(spec, wait) => {
                self.stored.retried.insert(store.seq);
                let due = self.now.plus(*wait);
                let latest = self.stored.scheduled.entry(spec.id.clone()).or_default();
                *latest = spec.attempt.max(*latest);
                self.schedule
                    .insert(spec.id.clone(), (due, TaskSpec::clone(spec)));
            }
            What::DeadLetter(id) => {
                self.stored.dead.insert(id.clone());
                self.stored
                    .results
                    .entry(id.clone())
                    .or_insert(Final::Failed);
            }
        }
    }

    /// What has waited long enough is due: the submitter has to put it into its lane.
    pub(crate) fn fire_schedule(&mut self) {
        let due: Vec<TaskId> = self
            .schedule
            .iter()
            .filter(|(_, (due, _))| *due <= self.now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            if let Some((_, spec)) = self.schedule.remove(&id) {
                self.due.push_back(spec);
            }
        }
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.narrates == Narrates::All {
            self.log.push(what());
        }
    }
}

fn beginning(
    term: Term,
    now: Micros,
    expected: BTreeSet<WorkerId>,
    memory: Option<LeaderMemory>,
) -> Beginning {
    Beginning {
        term,
        seed: 42,
        now,
        expected,
        memory,
    }
}

const fn demand(cpu: u32, memory: u64) -> Resources {
    Resources {
        cpu: Cpu(cpu),
        memory: Memory(memory),
    }
}

fn lane(kind: &str, level: u8) -> Lane {
    Lane {
        kind: Kind::parse(kind).expect("a good kind"),
        priority: Priority::new(level).expect("0 to 9"),
    }
}
