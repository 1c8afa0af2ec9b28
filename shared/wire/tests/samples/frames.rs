//! One fixed value of each frame for each of its shapes, shared by the golden and the hostile tests.
//!
//! What must hold: together the values of a frame show each field filled, each optional field absent and
//! each variant once. A new field breaks this file; a new variant breaks [`place`], which asks for it here.

use bytes::Bytes;
use rota_wire::dispatch::{Assign, Assignment, Ending, Failure, Input, Outcome, Report, Retry};
use rota_wire::event::{Counts, Event, EventBatch, RedeliveryCause, TimedEvent};
use rota_wire::fleet::{
    FrameMark, Heartbeat, Held, HeldTask, KindCapacity, MachineLoad, Obituary, RollCall, Stage,
    Withdrawn, WorkerState,
};
use rota_wire::memory::{KindDurations, LostWorker, Memory as LeaderMemory, TaskLosses};
use rota_wire::{
    Cpu, Delivery, Dialect, Holding, Kind, Label, Lane, Memory, Micros, Priority, Resources, Span,
    TaskId, Term, WorkerId,
};

const START: Micros = Micros(1_795_420_800_000_000);
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A name and a value for each shape of a frame.
pub(crate) type Samples<F> = Vec<(&'static str, F)>;

pub(crate) fn heartbeats() -> Samples<Heartbeat> {
    let full = Heartbeat {
        worker: worker(),
        number: 300,
        started: START,
        interval: Span::from_ms(500),
        state: WorkerState::Up,
        slots: 8,
        resources: amount(4_000, 8 << 30),
        kinds: vec![capacity("report", Some(2)), capacity("thumbnail", None)],
        labels: ["gpu", "zone=eu"].map(label).into(),
        seen: Some(mark(41)),
        held: vec![
            held(17, Stage::Running),
            Held {
                task: None,
                ..held(18, Stage::Ended)
            },
            held(19, Stage::Suspended),
        ],
        machine: MachineLoad {
            cpu_milli: 4_000,
            cpu_busy_permille: Some(250),
            memory_bytes: 16 << 30,
            memory_available_bytes: Some(9 << 30),
            pressure_cpu_permille: Some(1),
            pressure_memory_permille: Some(0),
            pressure_io_permille: Some(1_000),
        },
        withdrawn: vec![Withdrawn {
            kind: kind("resize"),
            reason: "could not start \"convert\": no such file".to_owned(),
        }],
        dialect: Dialect::V2,
    };
    let draining = Heartbeat {
        state: WorkerState::Draining,
        ..full.clone()
    };
    let gone = Heartbeat {
        state: WorkerState::Gone,
        kinds: Vec::new(),
        labels: Vec::new(),
        seen: None,
        held: Vec::new(),
        machine: MachineLoad::default(),
        withdrawn: Vec::new(),
        ..full.clone()
    };
    vec![("up", full), ("draining", draining), ("gone", gone)]
}

pub(crate) fn roll_calls() -> Samples<RollCall> {
    vec![("term 7", RollCall { term: Term(7) })]
}

pub(crate) fn assigns() -> Samples<Assign> {
    let full = Assign {
        mark: mark(42),
        settled: vec![1, 200],
        revoked: vec![holding(16)],
        suspended: vec![holding(13)],
        resumed: vec![holding(12), holding(11)],
        tasks: vec![
            assignment("report-1", Some(TRACEPARENT)),
            assignment("19", None),
            Assignment {
                priority: None,
                input: Input::InStream { bytes: 900_000 },
                ..assignment("20", None)
            },
        ],
    };
    let least = Assign {
        mark: mark(43),
        settled: Vec::new(),
        revoked: Vec::new(),
        suspended: Vec::new(),
        resumed: Vec::new(),
        tasks: Vec::new(),
    };
    vec![("full", full), ("least", least)]
}

pub(crate) fn obituaries() -> Samples<Obituary> {
    vec![("w1", Obituary { worker: worker() })]
}

pub(crate) fn memories() -> Samples<LeaderMemory> {
    let full = LeaderMemory {
        durations: vec![KindDurations {
            kind: kind("report"),
            runs: 300,
            mean_us: 1_500_000,
            buckets: vec![(80, 299), (95, 1)],
        }],
        losses: vec![TaskLosses {
            task: task("report-1"),
            workers: vec![
                LostWorker {
                    worker: worker(),
                    ended: true,
                },
                LostWorker {
                    worker: worker(),
                    ended: false,
                },
            ],
        }],
    };
    vec![("full", full), ("empty", LeaderMemory::default())]
}

pub(crate) fn reports() -> Samples<Report> {
    let endings = [
        Ending::Stored,
        Ending::Failed(failure(Retry::Later, Some("SIGKILL"))),
        Ending::Failed(failure(Retry::Never, None)),
        Ending::Returned {
            reason: "the worker is stopping".to_owned(),
        },
    ];
    let outcomes = (1..).zip(endings).map(|(number, ending)| Outcome {
        number,
        holding: holding(number),
        ran: Span::from_ms(1_500),
        ending,
    });
    let full = Report {
        worker: worker(),
        outcomes: outcomes.collect(),
    };
    vec![("every ending", full)]
}

/// What the first release writes, and is written for it.
pub(crate) fn heartbeats_v1() -> Vec<(&'static str, Bytes)> {
    let samples = heartbeats().into_iter();
    samples
        .map(|(shape, heartbeat)| (shape, heartbeat.encode_in(Dialect::V1)))
        .collect()
}

/// The same for assign frames.
pub(crate) fn assigns_v1() -> Vec<(&'static str, Bytes)> {
    let samples = assigns().into_iter();
    samples
        .map(|(shape, frame)| (shape, frame.encode_v1()))
        .collect()
}

pub(crate) fn event_batches() -> Samples<EventBatch> {
    let events = [fleet_events(), task_events(), later_events()].concat();
    for (index, event) in events.iter().enumerate() {
        assert!(place(event) <= index, "{event:?} is not in its place");
    }
    let timed = (START.0..)
        .zip(events)
        .map(|(micros, event)| TimedEvent {
            at: Micros(micros),
            event,
        })
        .collect();
    let full = EventBatch {
        events: timed,
        dropped: 3,
    };
    vec![("every event", full)]
}

/// The variants in the order of the wire. Whoever adds one adds its value below.
const fn place(event: &Event) -> usize {
    match event {
        Event::Leading { .. } => 0,
        Event::Recovered { .. } => 1,
        Event::WorkerJoined { .. } => 2,
        Event::WorkerDraining { .. } => 3,
        Event::WorkerLeft { .. } => 4,
        Event::WorkerLost { .. } => 5,
        Event::Redelivered { .. } => 6,
        Event::Retrying { .. } => 7,
        Event::DeadLettered { .. } => 8,
        Event::Rejected { .. } => 9,
        Event::Duplicate { .. } => 10,
        Event::Counted(_) => 11,
        Event::WorkerDied { .. } => 12,
        Event::WorkerReturned { .. } => 13,
        Event::KindWithdrawn { .. } => 14,
        Event::Reserved { .. } => 15,
    }
}

fn fleet_events() -> Vec<Event> {
    vec![
        Event::Leading { term: Term(7) },
        Event::Recovered {
            term: Term(7),
            adopted: 2,
        },
        Event::WorkerJoined {
            worker: worker(),
            slots: 8,
            kinds: vec![kind("report"), kind("thumbnail")],
        },
        Event::WorkerDraining {
            worker: worker(),
            holding: 2,
        },
        Event::WorkerLeft { worker: worker() },
        Event::WorkerLost {
            worker: worker(),
            silent: Span::from_ms(1_500),
            holding: 2,
        },
    ]
}

fn task_events() -> Vec<Event> {
    let redelivered = |cause| Event::Redelivered {
        task: task("report-1"),
        kind: kind("report"),
        worker: worker(),
        cause,
    };
    vec![
        redelivered(RedeliveryCause::Lost),
        redelivered(RedeliveryCause::Returned),
        redelivered(RedeliveryCause::Missing),
        Event::Retrying {
            task: task("report-1"),
            kind: kind("report"),
            attempt: 1,
            wait: Span::from_secs(1),
            reason: "exit 3".to_owned(),
        },
        Event::DeadLettered {
            task: task("report-1"),
            kind: kind("report"),
            attempts: 5,
            reason: "exit 3 (attempt 5 of 5)".to_owned(),
        },
        Event::Rejected {
            task: task("20"),
            reason: "Rota-Priority `10`: must be 0 to 9".to_owned(),
        },
        Event::Duplicate {
            task: task("report-1"),
        },
        Event::Counted(Counts {
            term: Term(7),
            assigned: 1_000,
            completed: 990,
            failed_attempts: 8,
            dead: 1,
            redelivered: 2,
            preempted: 4,
            in_memory: 9,
            resources: amount(16_000, 64 << 30),
            demand: amount(500, 1 << 20),
        }),
    ]
}

fn later_events() -> Vec<Event> {
    vec![
        Event::WorkerDied {
            worker: worker(),
            holding: 2,
        },
        Event::WorkerReturned { worker: worker() },
        Event::KindWithdrawn {
            worker: worker(),
            kind: kind("resize"),
            reason: "could not start \"convert\"".to_owned(),
        },
        Event::Reserved {
            task: task("report-1"),
            kind: kind("report"),
            worker: worker(),
        },
    ]
}

fn assignment(id: &str, traceparent: Option<&str>) -> Assignment {
    Assignment {
        holding: holding(17),
        id: task(id),
        kind: kind("report"),
        attempt: 2,
        timeout: Span::from_secs(600),
        estimate: traceparent.map(|_| Span::from_secs(90)),
        submitted: START,
        traceparent: traceparent.map(str::to_owned),
        priority: Some(Priority::MAX),
        input: Input::Inline(Bytes::from_static(b"\x00\xff input")),
    }
}

fn failure(retry: Retry, exit: Option<&str>) -> Failure {
    Failure {
        retry,
        reason: "ended by SIGKILL".to_owned(),
        exit: exit.map(str::to_owned),
        stderr_tail: "out of memory\n".to_owned(),
        started: START,
        finished: START.plus(Span::from_ms(20)),
    }
}

fn capacity(text: &str, concurrency: Option<u32>) -> KindCapacity {
    KindCapacity {
        kind: kind(text),
        concurrency,
    }
}

fn held(seq: u64, stage: Stage) -> Held {
    Held {
        holding: holding(seq),
        stage,
        ran: Span::from_ms(250),
        task: Some(HeldTask {
            id: task("report-1"),
            lane: Lane {
                kind: kind("report"),
                priority: Priority::MAX,
            },
            attempt: 2,
        }),
    }
}

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

const fn amount(cpu: u32, memory: u64) -> Resources {
    Resources {
        cpu: Cpu(cpu),
        memory: Memory(memory),
    }
}

const fn mark(number: u64) -> FrameMark {
    FrameMark {
        term: Term(7),
        number,
    }
}

const fn holding(seq: u64) -> Holding {
    Holding {
        term: Term(7),
        delivery: Delivery { seq, count: 1 },
    }
}

fn worker() -> WorkerId {
    WorkerId::parse("w1-f52je8").expect("a worker id")
}

fn task(text: &str) -> TaskId {
    TaskId::parse(text).expect("a task id")
}

fn kind(text: &str) -> Kind {
    Kind::parse(text).expect("a kind")
}
