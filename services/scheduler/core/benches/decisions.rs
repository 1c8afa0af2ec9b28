//! How many decisions the core makes in a second on one core, and how that changes with the number of workers.
//!
//! What is timed is one task taken through all that the core decides about it, which is two decisions: it comes
//! from its lane, is put in order and given to a worker; its outcome is taken in, settled, and its message acked.
//! The fleet is four fifths full all the time, and a turn takes in as much as it does under load: 64 tasks and 64
//! outcomes. Each worker has four slots.
//!
//! `cargo bench -p rota-scheduler-core`

use std::collections::{BTreeSet, VecDeque};
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rota_scheduler_core::{
    Action, Allocation, Beginning, Binding, Event, Options, Order, Placed, Policy, Scheduler,
};
use rota_wire::dispatch::{Ending, Outcome};
use rota_wire::fleet::{Heartbeat, KindCapacity, MachineLoad, WorkerState};
use rota_wire::task::Recheck;
use rota_wire::{
    Cpu, Delivery, Kind, Lane, Memory, Micros, Priority, Resources, Span, TaskId, TaskOptions,
    TaskSpec, Term, WorkerId,
};
use rustix::time::{ClockId, clock_gettime};

const SLOTS: u32 = 4;
const TURN: usize = 64;
/// Decisions about each task: where it runs, and what follows from its outcome.
const DECISIONS: u64 = 2;

/// A scheduler with its fleet, and what it has assigned.
struct World {
    scheduler: Scheduler,
    now: Micros,
    next: u64,
    reports: u64,
    lane: Lane,
    demand: Resources,
    running: VecDeque<(WorkerId, Placed)>,
    actions: Vec<Action>,
}

impl World {
    fn new(workers: u32, policy: Policy, demand: Resources) -> Self {
        let options = Options {
            policy,
            look_ahead: 10_000,
            roll_call: Span::from_ms(1),
            ..Options::default()
        };
        let now = Micros(1_000_000);
        let mut actions = Vec::new();
        let beginning = Beginning {
            term: Term(1),
            seed: 1,
            now,
            expected: BTreeSet::new(),
            memory: None,
        };
        let scheduler = Scheduler::new(options, beginning, &mut actions);
        let kind = Kind::parse("task").expect("good");
        let priority = Priority::default();
        let mut world = Self {
            scheduler,
            now,
            next: 0,
            reports: 0,
            lane: Lane { kind, priority },
            demand,
            running: VecDeque::new(),
            actions,
        };
        world.begin(workers);
        world
    }

    fn begin(&mut self, workers: u32) {
        self.tell(Event::LaneOpened {
            lane: self.lane.clone(),
            unacked: 0,
            delivered_to: 0,
        });
        self.tell(Event::LanesListed {
            lanes: vec![self.lane.clone()],
        });
        for number in 0..workers {
            let heartbeat = heartbeat(number, &self.lane.kind);
            self.tell(Event::Heartbeat(Box::new(heartbeat)));
        }
        self.now = self.now.plus(Span::from_ms(2));
        self.scheduler.handle_timeout(self.now, &mut self.actions);
        let full = workers * SLOTS * 4 / 5;
        for _ in 0..full.div_ceil(TURN as u32) {
            let events = self.events();
            self.turn(events);
        }
        while self.running.len() > full as usize {
            let (worker, placed) = self.running.pop_front().expect("it is not empty");
            let outcome = self.outcome(worker, &placed);
            self.tell(outcome);
        }
        self.turn(Vec::new());
    }

    fn tell(&mut self, event: Event) {
        self.scheduler
            .handle_event(self.now, event, &mut self.actions);
    }

    /// Tasks that come in one turn.
    fn events(&mut self) -> Vec<Event> {
        (0..TURN).map(|_| self.delivered()).collect()
    }

    fn delivered(&mut self) -> Event {
        self.next += 1;
        let seq = self.next;
        // A cheap sequence in no order.
        let ms = 1 + seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000;
        let task = TaskSpec {
            id: TaskId::from_sequence(seq),
            kind: self.lane.kind.clone(),
            submitted: Micros(seq),
            attempt: 1,
            recheck: Recheck::Fresh,
            options: TaskOptions {
                duration: Some(Span::from_ms(ms)),
                demand: self.demand,
                ..TaskOptions::default()
            },
        };
        Event::Delivered {
            lane: self.lane.clone(),
            delivery: Delivery { seq, count: 1 },
            pending: 1_000,
            task,
            input_bytes: 100,
        }
    }

    fn outcome(&mut self, worker: WorkerId, placed: &Placed) -> Event {
        self.reports += 1;
        let outcome = Outcome {
            number: self.reports,
            holding: placed.holding,
            ran: Span::from_ms(5),
            ending: Ending::Stored,
        };
        let outcome = Box::new(outcome);
        Event::Reported { worker, outcome }
    }

    /// Outcomes of the tasks that were assigned longest ago, as many as may come in a turn.
    fn outcomes(&mut self) -> Vec<Event> {
        let ended: Vec<_> = self.running.drain(..TURN).collect();
        let ended = ended.into_iter();
        ended
            .map(|(worker, placed)| self.outcome(worker, &placed))
            .collect()
    }

    fn turn(&mut self, events: Vec<Event>) {
        self.now = Micros(self.now.0 + 100);
        for event in events {
            self.tell(event);
        }
        self.scheduler.dispatch(self.now, &mut self.actions);
        for action in self.actions.drain(..) {
            if let Action::Assign(frame) = action {
                let placed = frame.tasks.into_iter();
                let worker = frame.worker;
                self.running
                    .extend(placed.map(|placed| (worker.clone(), placed)));
            }
        }
    }

    /// The time for so many tasks.
    fn decide(&mut self, tasks: u64) -> Duration {
        let mut took = Duration::ZERO;
        for _ in 0..tasks.div_ceil(TURN as u64) {
            let mut events = self.outcomes();
            events.extend(self.events());
            let begun = cpu_time();
            self.turn(black_box(events));
            took += cpu_time().saturating_sub(begun);
        }
        took
    }
}

/// What this thread has used of a core: others that use the machine do not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (secs, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(secs) + Duration::from_nanos(nanos)
}

fn heartbeat(number: u32, kind: &Kind) -> Heartbeat {
    Heartbeat {
        worker: WorkerId::parse(&format!("worker-{number}")).expect("good"),
        number: 1,
        started: Micros(1),
        interval: Span::from_secs(60),
        state: WorkerState::Up,
        slots: SLOTS,
        resources: Resources {
            cpu: Cpu(4_000 + number % 7 * 1_000),
            memory: Memory(u64::from(8 + number % 5) << 30),
        },
        kinds: vec![KindCapacity {
            kind: kind.clone(),
            concurrency: None,
        }],
        labels: Vec::new(),
        seen: None,
        held: Vec::new(),
        machine: MachineLoad::default(),
        withdrawn: Vec::new(),
        dialect: rota_wire::Dialect::V2,
    }
}

fn measure(criterion: &mut Criterion, name: &str, policy: Policy, demand: Resources) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(DECISIONS));
    group.sample_size(20);
    for workers in [100, 1_000, 10_000] {
        let mut world = World::new(workers, policy, demand);
        group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
            bencher.iter_custom(|tasks| world.decide(tasks));
        });
    }
    group.finish();
}

fn allocations(criterion: &mut Criterion) {
    let some = Resources {
        cpu: Cpu(900),
        memory: Memory(1 << 30),
    };
    for allocation in Allocation::ALL.iter().copied() {
        let policy = Policy {
            allocation,
            ..Policy::default()
        };
        measure(criterion, allocation.as_str(), policy, Resources::NONE);
    }
    let policy = Policy {
        allocation: Allocation::Resource,
        ..Policy::default()
    };
    measure(criterion, "resource with demand", policy, some);
    let policy = Policy {
        binding: Binding::Early,
        ..Policy::default()
    };
    measure(criterion, "least-loaded, early", policy, Resources::NONE);
}

fn orders(criterion: &mut Criterion) {
    for order in Order::ALL.iter().copied() {
        let policy = Policy {
            order,
            ..Policy::default()
        };
        measure(criterion, order.as_str(), policy, Resources::NONE);
    }
}

criterion_group!(benches, allocations, orders);
criterion_main!(benches);
