//! A worker that is nothing but its frames: what it is assigned takes a while and is done, or is handed back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rota_bus::{Bus, Message, Subscription};
use rota_wire::dispatch::{Assign, Assignment, Ending, Outcome, Report};
use rota_wire::fleet::{
    FrameMark, Heartbeat, Held, HeldTask, KindCapacity, MachineLoad, Stage, WorkerState,
};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Dialect, Holding, Micros, Resources, Span, TaskId, WorkerId, frame};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use crate::world::{World, lane};

const INTERVAL: Duration = Duration::from_millis(500);

/// What a worker has begun, in that order.
pub(crate) type Begun = Arc<Mutex<Vec<(TaskId, u64)>>>;

pub(crate) struct Plan {
    pub(crate) slots: u32,
    pub(crate) takes: fn(&TaskId) -> Duration,
    /// Handed back when it comes first.
    pub(crate) returned: Option<&'static str>,
}

pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) begun: Begun,
    pub(crate) running: JoinHandle<()>,
}

struct Inner {
    bus: Bus,
    id: WorkerId,
    plan: Plan,
    begun: Begun,
    number: u64,
    seen: Option<FrameMark>,
    held: BTreeMap<Holding, Held>,
    outcomes: BTreeMap<u64, Outcome>,
    running: FuturesUnordered<BoxFuture<'static, (Holding, Ending)>>,
}

impl Worker {
    pub(crate) async fn start(world: &World, name: &str, plan: Plan) -> Self {
        let bus = world.server.bus(name, rota_bus::Prefix::default());
        let id = WorkerId::parse(name).expect("an id");
        let assigned = bus.subscribe(&bus.subjects().assign(&id)).await;
        let assigned = assigned.expect("subscribed");
        let begun = Begun::default();
        let inner = Inner {
            bus,
            id: id.clone(),
            plan,
            begun: begun.clone(),
            number: 0,
            seen: None,
            held: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            running: FuturesUnordered::new(),
        };
        let running = tokio::spawn(inner.run(assigned));
        Self { id, begun, running }
    }

    pub(crate) fn begun(&self) -> Vec<(TaskId, u64)> {
        let begun = self.begun.lock();
        begun.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    async fn run(mut self, mut assigned: Subscription) {
        let mut ticks = interval(INTERVAL);
        loop {
            tokio::select! {
                Some(message) = assigned.next() => {
                    if let Ok(assign) = frame::decode::<Assign>(&message.payload) {
                        self.take(assign);
                    }
                }
                Some((holding, ending)) = self.running.next() => self.end(holding, ending),
                _ = ticks.tick() => self.beat().await,
            }
            self.report().await;
        }
    }

    fn take(&mut self, assign: Assign) {
        self.seen = Some(assign.mark);
        for number in assign.settled {
            if let Some(outcome) = self.outcomes.remove(&number) {
                self.held.remove(&outcome.holding);
            }
        }
        for task in assign.tasks {
            self.begin(task);
        }
    }

    fn begin(&mut self, task: Assignment) {
        let holding = task.holding;
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = begun.iter().all(|(id, _)| *id != task.id);
        begun.push((task.id.clone(), holding.delivery.seq));
        drop(begun);
        let held = Held {
            holding,
            stage: Stage::Running,
            ran: Span::default(),
            task: Some(HeldTask {
                id: task.id.clone(),
                lane: lane(),
                attempt: task.attempt,
            }),
        };
        self.held.insert(holding, held);
        if is_first && self.plan.returned == Some(task.id.as_str()) {
            let reason = "as planned".to_owned();
            return self.end(holding, Ending::Returned { reason });
        }
        let (bus, takes) = (self.bus.clone(), (self.plan.takes)(&task.id));
        self.running.push(Box::pin(async move {
            sleep(takes).await;
            let result = result(&task);
            let stored = bus.settle_result(&result, task.id.to_string().into());
            stored.await.expect("stored");
            (holding, Ending::Stored)
        }));
    }

    fn end(&mut self, holding: Holding, ending: Ending) {
        self.number += 1;
        if let Some(held) = self.held.get_mut(&holding) {
            held.stage = Stage::Ended;
        }
        let outcome = Outcome {
            number: self.number,
            holding,
            ran: Span::default(),
            ending,
        };
        self.outcomes.insert(self.number, outcome);
    }

    async fn report(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        let report = Report {
            worker: self.id.clone(),
            outcomes: self.outcomes.values().cloned().collect(),
        };
        let subject = self.bus.subjects().report(&self.id);
        let sent = self.bus.send(Message::frame(subject, &report)).await;
        sent.expect("sent");
    }

    async fn beat(&mut self) {
        self.number += 1;
        let heartbeat = Heartbeat {
            worker: self.id.clone(),
            number: self.number,
            started: Micros(1),
            interval: Span::from_ms(500),
            state: WorkerState::Up,
            slots: self.plan.slots,
            resources: Resources::default(),
            kinds: vec![KindCapacity {
                kind: lane().kind,
                concurrency: None,
            }],
            labels: Vec::new(),
            seen: self.seen,
            held: self.held.values().cloned().collect(),
            machine: MachineLoad::default(),
            withdrawn: Vec::new(),
            dialect: Dialect::V2,
        };
        let subject = self.bus.subjects().heartbeat(&self.id);
        let sent = self.bus.send(Message::frame(subject, &heartbeat)).await;
        sent.expect("sent");
    }
}

fn result(task: &Assignment) -> TaskResult {
    TaskResult {
        id: task.id.clone(),
        state: FinalState::Completed,
        kind: task.kind.to_string(),
        attempts: task.attempt,
        worker: None,
        exit: None,
        reason: None,
        submitted: None,
        started: None,
        finished: Micros::now(),
        ran: None,
        estimate: None,
        traceparent: None,
    }
}
