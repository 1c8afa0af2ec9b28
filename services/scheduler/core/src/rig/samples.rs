//! What a rig is fed with: tasks, heartbeats and outcomes that differ only in what a test is about.

use rota_wire::dispatch::{Ending, Failure, Outcome, Retry};
use rota_wire::fleet::{Heartbeat, Held, HeldTask, KindCapacity, MachineLoad, Stage, WorkerState};
use rota_wire::options::Backoff;
use rota_wire::task::Recheck;
use rota_wire::{
    Cpu, Delivery, Holding, Kind, Lane, Memory, Priority, Resources, Span, TaskId, TaskOptions,
    TaskSpec, Term, WorkerId,
};

use super::{INTERVAL, START};
use crate::Event;

pub(crate) fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).expect("a good name")
}

pub(crate) fn lane(kind: &str, priority: u8) -> Lane {
    Lane {
        kind: Kind::parse(kind).expect("a good kind"),
        priority: Priority::new(priority).expect("0 to 9"),
    }
}

/// The lane of [`task`].
pub(crate) fn echo() -> Lane {
    lane("echo", 5)
}

/// A fresh task of the kind `echo`.
pub(crate) fn task(id: &str) -> TaskSpec {
    task_in(id, &echo())
}

pub(crate) fn task_in(id: &str, lane: &Lane) -> TaskSpec {
    TaskSpec {
        id: TaskId::parse(id).expect("a good id"),
        kind: lane.kind.clone(),
        submitted: START,
        attempt: 1,
        recheck: Recheck::Fresh,
        options: TaskOptions {
            priority: lane.priority,
            attempts: 2,
            backoff: Backoff {
                first: Span::from_secs(8),
                cap: Span::from_secs(60),
            },
            ..TaskOptions::default()
        },
    }
}

/// A message of the lane that its task belongs to, with many more to come.
pub(crate) fn delivered(seq: u64, count: u32, task: TaskSpec) -> Event {
    Event::Delivered {
        lane: Lane {
            kind: task.kind.clone(),
            priority: task.options.priority,
        },
        delivery: Delivery { seq, count },
        pending: 1_000,
        task,
        input_bytes: 10,
    }
}

pub(crate) fn heartbeat(name: &str, slots: u32, kinds: &[&str]) -> Heartbeat {
    Heartbeat {
        worker: worker(name),
        number: 0,
        started: START,
        interval: INTERVAL,
        state: WorkerState::Up,
        slots,
        kinds: kinds
            .iter()
            .map(|kind| KindCapacity {
                kind: Kind::parse(kind).expect("a good kind"),
                concurrency: None,
            })
            .collect(),
        resources: rota_wire::Resources::NONE,
        labels: Vec::new(),
        seen: None,
        held: Vec::new(),
        machine: MachineLoad::default(),
        withdrawn: Vec::new(),
        dialect: rota_wire::Dialect::V2,
    }
}

/// A delivery of an earlier term that still runs.
pub(crate) fn running(term: u64, seq: u64) -> Held {
    Held {
        holding: holding(term, seq, 1),
        stage: Stage::Running,
        ran: Span::default(),
        task: None,
    }
}

/// The same, told by name: it is the task that [`task_in`] makes of its sequence.
pub(crate) fn running_in(term: u64, seq: u64, lane: &Lane) -> Held {
    let task = HeldTask {
        id: TaskId::from_sequence(seq),
        lane: lane.clone(),
        attempt: 1,
    };
    Held {
        task: Some(task),
        ..running(term, seq)
    }
}

pub(crate) fn holding(term: u64, seq: u64, count: u32) -> Holding {
    Holding {
        term: Term(term),
        delivery: Delivery { seq, count },
    }
}

pub(crate) fn reported(name: &str, outcome: Outcome) -> Event {
    Event::Reported {
        worker: worker(name),
        outcome: Box::new(outcome),
    }
}

pub(crate) fn failed(retry: Retry) -> Ending {
    Ending::Failed(Failure {
        retry,
        reason: "exit 3".to_owned(),
        exit: Some("3".to_owned()),
        stderr_tail: String::new(),
        started: START,
        finished: START,
    })
}

pub(crate) fn handed_back() -> Ending {
    Ending::Returned {
        reason: "the worker is stopping".to_owned(),
    }
}

/// An amount of each, in thousandths of a core and bytes.
pub(crate) fn amount(cpu: u32, memory: u64) -> Resources {
    Resources {
        cpu: Cpu(cpu),
        memory: Memory(memory),
    }
}
