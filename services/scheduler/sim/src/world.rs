//! The world around the scheduler, on a virtual clock.
//!
//! A turn is the service's turn: all that has arrived by now goes in, what is due is done, the core decides
//! once, its actions are carried out. Where messages take no time, what the actions bring about is part of
//! the same moment, in a turn of its own.
//!
//! Not modelled: messages that get lost, and a worker that seems lost and is not.

mod fleet;
mod machine;
mod mail;
mod stream;
mod timeline;

use std::collections::{BTreeSet, VecDeque};

use rand::RngExt;
use rand_pcg::Pcg64;
use rota_scheduler_core::{Action, AssignFrame, Beginning, Event, Looked, Options, Scheduler};
use rota_wire::fleet::{FrameMark, KindCapacity};
use rota_wire::{Micros, Span, Term};

use crate::arrivals::{Arrival, Arrivals, generator};
use crate::figures::Figures;
use crate::gauge::{Completed, Gauge};
use crate::quantity::{UNIT, to_micros};
use crate::setup::Setup;
use crate::workload::exponential;
use fleet::Machines;
use machine::{Build, MachineKey};
use mail::{Frame, Job};
use stream::Stream;
use timeline::{Due, Timeline};

const TERM: Term = Term(1);
/// Another worker starts so long after one was lost.
const RESTART_AFTER: u64 = UNIT as u64;
/// The longest interval for which the core takes a worker's word.
const INTERVAL_MAX: u64 = 60_000_000;
/// The rarest heartbeat: with the most that the core may be told to miss it still bears three of these.
const HEARTBEAT_MAX: u64 = INTERVAL_MAX * MISSED_MAX / MISSED;
/// Heartbeats that may be missed, and the most that the core can be told.
const MISSED: u64 = 3;
const MISSED_MAX: u64 = 1_000;
/// When nothing has moved for so long although tasks are there, they are lost.
const STUCK_AFTER: u64 = 1_000 * UNIT as u64;
/// The stream of the generator that decides on losses; arrivals use those below.
const LOSSES: u128 = 16;
/// How often the core's books are looked at from all sides, in turns. Only where it is checked at all.
const CHECK_EVERY: u64 = 20_000;

pub(crate) struct World<'a> {
    setup: &'a Setup,
    core: Scheduler,
    timeline: Timeline,
    /// What has reached the scheduler and was not taken in yet.
    inbox: VecDeque<Event>,
    actions: Vec<Action>,
    arrivals: Arrivals,
    next_arrival: Option<Arrival>,
    arrived: u64,
    stream: Stream,
    machines: Machines,
    kinds: Vec<KindCapacity>,
    gauge: Gauge,
    losses: Pcg64,
    turns: u64,
    /// When something last came nearer to its end.
    moved: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(setup: &'a Setup) -> Self {
        let mut actions = Vec::new();
        let beginning = Beginning {
            term: TERM,
            seed: setup.seed,
            now: Micros(0),
            expected: BTreeSet::new(),
            memory: None,
        };
        let core = Scheduler::new(options(setup), beginning, &mut actions);
        let mut arrivals = Arrivals::new(setup);
        let stream = Stream::new(arrivals.lanes());
        let mut world = Self {
            setup,
            core,
            timeline: Timeline::default(),
            inbox: VecDeque::new(),
            actions,
            kinds: capacities(&stream, &arrivals),
            stream,
            next_arrival: arrivals.next(),
            arrivals,
            arrived: 0,
            machines: Machines::new(setup.workers, build(setup)),
            gauge: Gauge::new(),
            losses: generator(setup.seed, LOSSES),
            turns: 0,
            moved: 0,
        };
        world.open();
        world
    }

    /// Runs until every task is settled, or nothing moves any more.
    pub(crate) fn run(mut self) -> Figures {
        while self.next_arrival.is_some() || self.stream.len() > 0 {
            let deadline = self.core.next_deadline().0;
            let now = self
                .timeline
                .next_at()
                .map_or(deadline, |at| at.min(deadline));
            if self.is_stuck(now) {
                break;
            }
            while let Some(due) = self.timeline.take(now) {
                self.happen(now, due);
            }
            if !self.inbox.is_empty() || deadline <= now {
                self.turn(now);
            }
        }
        self.check();
        let utilisation = self.machines.utilisation(self.setup.capacity());
        self.gauge
            .figures(utilisation, self.stream.without_result())
    }

    fn is_stuck(&self, now: u64) -> bool {
        let idle = self.stream.len() > 0 && self.machines.occupied() == 0;
        idle && now > self.moved + STUCK_AFTER
    }

    /// The lanes are listed, the roll is called, and the first of everything is put down.
    fn open(&mut self) {
        for index in self.arrivals.used() {
            let lane = self.stream.lane(index).clone();
            self.inbox.push_back(Event::LaneOpened {
                lane,
                unacked: 0,
                delivered_to: 0,
            });
        }
        self.inbox
            .push_back(Event::LanesListed { lanes: Vec::new() });
        self.carry_out(0);
        self.turn(0);
        if let Some(arrival) = self.next_arrival {
            self.timeline.put(arrival.at, Due::Arrival);
            self.moved = arrival.at;
        }
        let count = self.machines.len() as u64;
        for (key, index) in (0..self.setup.workers).zip(1..) {
            // Workers do not speak all at once.
            let at = interval(self.setup) * index / count;
            let machine = MachineKey(key);
            self.timeline.put(
                at,
                Due::Beat {
                    machine,
                    life: self.machines.get(machine).life,
                },
            );
        }
        self.put_down_loss(0);
    }

    /// What has arrived goes in, what is due is done, and the core decides.
    fn turn(&mut self, now: u64) {
        loop {
            while let Some(event) = self.inbox.pop_front() {
                self.core
                    .handle_event(Micros(now), event, &mut self.actions);
            }
            if self.core.next_deadline().0 <= now {
                self.core.handle_timeout(Micros(now), &mut self.actions);
            }
            self.core.dispatch(Micros(now), &mut self.actions);
            self.carry_out(now);
            self.turns += 1;
            if cfg!(debug_assertions) && self.turns.is_multiple_of(CHECK_EVERY) {
                self.check();
            }
            if self.inbox.is_empty() {
                return;
            }
        }
    }

    fn happen(&mut self, now: u64, due: Due) {
        match due {
            Due::Arrival => self.arrive(now),
            Due::Finish {
                machine,
                seq,
                stamp,
            } => self.finish(now, machine, seq, stamp),
            Due::Beat { machine, life } => {
                if self.machines.get(machine).life == life {
                    self.beat(now, machine);
                    self.timeline
                        .put(now + interval(self.setup), Due::Beat { machine, life });
                }
            }
            Due::ToCore(event) => self.inbox.push_back(*event),
            Due::ToMachine(frame) => self.take_in(now, &frame),
            Due::Loss => self.lose(now),
            Due::Restart { machine } => {
                self.machines.restart(now, machine);
                let life = self.machines.get(machine).life;
                self.timeline.put(now, Due::Beat { machine, life });
            }
        }
    }

    fn arrive(&mut self, now: u64) {
        let Some(arrival) = self.next_arrival else {
            return;
        };
        self.arrived += 1;
        self.moved = now;
        if self.arrived == self.setup.warmup.of(self.setup.arrivals()) + 1 {
            self.machines.begin_measuring(now);
        }
        self.stream.publish(arrival);
        self.deliver(now, arrival.lane);
        self.next_arrival = self.arrivals.next();
        match self.next_arrival {
            Some(next) => self.timeline.put(next.at, Due::Arrival),
            None => self.machines.end_measuring(now),
        }
    }

    fn finish(&mut self, now: u64, key: MachineKey, seq: u64, stamp: u64) {
        let timeline = &mut self.timeline;
        let ended = self
            .machines
            .change(now, key, |m| m.finish(now, seq, stamp, timeline));
        let Some(outcome) = ended else {
            return;
        };
        self.moved = now;
        let counts = seq > self.setup.warmup.of(self.setup.arrivals());
        if let Some(first) = self.stream.store_result(seq)
            && counts
        {
            self.gauge.completed(Completed {
                response: now - first.arrived,
                duration: first.duration,
                priority: first.priority,
            });
        }
        let worker = self.machines.get(key).id.clone();
        let outcome = Box::new(outcome);
        self.tell_core(
            now,
            self.setup.delay.micros(),
            Event::Reported { worker, outcome },
        );
    }

    /// A worker speaks, and reports again what was not settled.
    fn beat(&mut self, now: u64, key: MachineKey) {
        let interval = Span::from_ms(interval(self.setup).div_ceil(1_000));
        let kinds = &self.kinds;
        let (worker, heartbeat, again) = self.machines.change(now, key, |machine| {
            (
                machine.id.clone(),
                machine.beat(now, interval, kinds),
                machine.repeat(now),
            )
        });
        let delay = self.setup.delay.micros();
        self.tell_core(now, delay, Event::Heartbeat(Box::new(heartbeat)));
        for outcome in again {
            let (worker, outcome) = (worker.clone(), Box::new(outcome));
            self.tell_core(now, delay, Event::Reported { worker, outcome });
        }
    }

    fn lose(&mut self, now: u64) {
        self.put_down_loss(now);
        let machine = MachineKey(self.losses.random_range(0..self.setup.workers));
        if self.machines.get(machine).up {
            self.gauge.workers_lost += 1;
            self.machines.fail(now, machine);
            self.timeline
                .put(now + RESTART_AFTER, Due::Restart { machine });
        }
    }

    fn put_down_loss(&mut self, now: u64) {
        let rate = self.setup.losses.value() * f64::from(self.setup.workers);
        if rate > 0.0 {
            let wait = to_micros(exponential(&mut self.losses) / rate);
            self.timeline.put(now + wait, Due::Loss);
        }
    }

    fn take_in(&mut self, now: u64, frame: &Frame) {
        if self.machines.get(frame.machine).life == frame.life {
            let timeline = &mut self.timeline;
            let suspended = self
                .machines
                .change(now, frame.machine, |m| m.take_in(now, frame, timeline));
            self.gauge.preemptions += suspended;
        }
    }

    fn carry_out(&mut self, now: u64) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.act(now, action);
        }
        self.actions = actions;
    }

    fn act(&mut self, now: u64, action: Action) {
        let round_trip = self.setup.delay.micros() * 2;
        match action {
            Action::CallRoll => {
                for key in 0..self.setup.workers {
                    self.beat(now, MachineKey(key));
                }
            }
            Action::Pull { lane, count } => {
                if let Some(index) = self.stream.pull(&lane, count) {
                    self.deliver(now, index);
                }
            }
            Action::Assign(frame) => self.send(now, frame),
            Action::Ack { seq } => self.stream.ack(seq),
            Action::Nak { seq } => {
                self.gauge.redeliveries += 1;
                if let Some(index) = self.stream.give_back(seq) {
                    self.deliver(now, index);
                }
            }
            Action::LookUp { seq, .. } => {
                let has_result = self.stream.has_result(seq);
                let found = if has_result {
                    Looked::Result
                } else {
                    Looked::Nothing
                };
                self.tell_core(now, round_trip, Event::Looked { seq, found });
            }
            Action::Bury { seq, .. } => {
                self.gauge.dead += u64::from(self.stream.store_result(seq).is_some());
                self.tell_core(now, round_trip, Event::Stored { seq });
            }
            Action::Tell(_)
            | Action::Record { .. }
            | Action::FindLanes { .. }
            | Action::CloseLane { .. }
            | Action::Probe { .. }
            | Action::Refuse { .. } => {}
            Action::OpenLane { lane } => unreachable!("lane {lane} was never told to be gone"),
            Action::StoreRetry { seq, .. } => unreachable!("attempt of {seq} was not told to fail"),
        }
    }

    /// Sends out what was pulled and is there.
    fn deliver(&mut self, now: u64, lane: usize) {
        while let Some(event) = self.stream.deliver(lane) {
            self.tell_core(now, self.setup.delay.micros(), event);
        }
    }

    fn send(&mut self, now: u64, frame: AssignFrame) {
        let Some(machine) = self.machines.find(&frame.worker) else {
            return;
        };
        let jobs = frame.tasks.iter().filter_map(|placed| {
            let work = self.stream.work(placed.holding.delivery.seq)?;
            Some(Job {
                holding: placed.holding,
                work,
            })
        });
        let frame = Frame {
            machine: machine.key,
            life: machine.life,
            mark: FrameMark {
                term: TERM,
                number: frame.number,
            },
            jobs: jobs.collect(),
            settled: frame.settled,
            revoked: frame.revoked,
            suspended: frame.suspended,
            resumed: frame.resumed,
        };
        match self.setup.delay.micros() {
            0 => self.take_in(now, &frame),
            delay => self
                .timeline
                .put(now + delay, Due::ToMachine(Box::new(frame))),
        }
    }

    fn tell_core(&mut self, now: u64, delay: u64, event: Event) {
        match delay {
            0 => self.inbox.push_back(event),
            delay => self.timeline.put(now + delay, Due::ToCore(Box::new(event))),
        }
    }

    fn check(&self) {
        if let Err(disagreement) = self.core.check() {
            panic!(
                "after {} turns the core's books disagree: {disagreement}",
                self.turns
            );
        }
    }
}

/// How often a worker speaks.
fn interval(setup: &Setup) -> u64 {
    match setup.heartbeat.micros() {
        0 => HEARTBEAT_MAX,
        given => given.min(HEARTBEAT_MAX),
    }
}

/// The core's options, with a patience of three heartbeats however long these are.
fn options(setup: &Setup) -> Options {
    let patience = interval(setup) * MISSED;
    let missed = patience.div_ceil(interval(setup).min(INTERVAL_MAX));
    Options {
        missed_heartbeats_max: u32::try_from(missed).unwrap_or(u32::MAX),
        // Nobody listens, and lanes cost nothing here.
        count_every: Span::from_secs(24 * 3_600),
        lane_idle: Span::from_secs(24 * 3_600),
        lane_unserved: Span::from_secs(24 * 3_600),
        ..setup.core.clone()
    }
}

const fn build(setup: &Setup) -> Build {
    Build {
        slots: setup.slots,
        resources: setup.resources,
        switch_cost: setup.switch_cost.micros(),
    }
}

/// Every worker handles every kind that comes.
fn capacities(stream: &Stream, arrivals: &Arrivals) -> Vec<KindCapacity> {
    let mut kinds: Vec<_> = arrivals
        .used()
        .into_iter()
        .map(|index| stream.lane(index).kind.clone())
        .collect();
    kinds.dedup();
    kinds
        .into_iter()
        .map(|kind| KindCapacity {
            kind,
            concurrency: None,
        })
        .collect()
}
