//! The services as tasks of the runtime: started, told to stop, killed, and made to stand still.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use clap::Parser;
use rota_bus::in_memory::{ClientId, Server};
use rota_bus::{Bus, Prefix};
use rota_service::Shutdown;
use rota_wire::WorkerId;
use rota_worker::{Failure, Task, Worker};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::ledger::{Ledger, Outcome};
use crate::scenario::{Role, TaskPlan};

type Life = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A process that lives, or has lived.
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) client: ClientId,
    pub(crate) running: JoinHandle<Result<(), String>>,
    pub(crate) is_told_to_stop: bool,
    shutdown: Shutdown,
    gate: Arc<Gate>,
}

/// What all processes are made with.
pub(crate) struct Maker {
    pub(crate) plans: Arc<Vec<TaskPlan>>,
    pub(crate) ledger: Ledger,
    pub(crate) slots: u32,
    pub(crate) seed: u64,
}

#[derive(Parser)]
struct SchedulerFlags {
    #[command(flatten)]
    args: rota_scheduler::Args,
}

impl Maker {
    /// Starts a process; `generation` counts those of its role.
    pub(crate) fn start(&self, server: &Server, role: Role, generation: u32) -> Process {
        let name = match role {
            Role::Scheduler(number) => format!("scheduler-{number}-{generation}"),
            Role::Submitter(number) => format!("submitter-{number}-{generation}"),
            Role::Worker(number) => format!("worker-{number}-{generation}"),
        };
        let bus = server.bus(&name, Prefix::default());
        let client = server.client(&name).expect("it was just connected");
        let shutdown = Shutdown::new();
        let life = self.life(role, bus, name.clone(), shutdown.clone());
        let gate = Arc::new(Gate::default());
        let gated = Gated {
            life,
            gate: gate.clone(),
        };
        Process {
            name,
            client,
            running: tokio::spawn(gated),
            is_told_to_stop: false,
            shutdown,
            gate,
        }
    }

    fn life(&self, role: Role, bus: Bus, name: String, shutdown: Shutdown) -> Life {
        let draining = shutdown.draining().clone();
        let seed = self.seed;
        match role {
            Role::Scheduler(_) => {
                let SchedulerFlags { args } = SchedulerFlags::parse_from(["scheduler"]);
                Box::pin(async move {
                    let led = rota_scheduler::run_on(bus, name, seed, args, draining).await;
                    led.map_err(|error| error.to_string())
                })
            }
            Role::Submitter(_) => Box::pin(async move {
                rota_submitter::run_on(bus, 10_000, draining).await;
                Ok(())
            }),
            Role::Worker(_) => {
                let worker = self.worker(&name);
                let id = WorkerId::parse(&name).expect("a good name");
                Box::pin(async move {
                    let worked = worker.run_on(bus, id, shutdown).await;
                    worked.map_err(|error| error.to_string())
                })
            }
        }
    }

    fn worker(&self, name: &str) -> Worker {
        let name: Arc<str> = name.into();
        let mut builder = Worker::builder().slots(self.slots).without_guardian();
        for kind in ["mail", "image", "report"] {
            let (plans, ledger, name) = (self.plans.clone(), self.ledger.clone(), name.clone());
            builder = builder.handler(kind, move |task: Task| {
                handle(task, plans.clone(), ledger.clone(), name.clone())
            });
        }
        builder.build().expect("a worker that is in order")
    }
}

/// Does what the plan says; the input is the plan's number.
async fn handle(
    task: Task,
    plans: Arc<Vec<TaskPlan>>,
    ledger: Ledger,
    worker: Arc<str>,
) -> Result<Bytes, Failure> {
    let running = ledger.begin(worker, task.id(), task.attempt());
    let number = std::str::from_utf8(task.input())?;
    let plan = plans.get(number.parse::<usize>()?).ok_or("no such plan")?;
    sleep(plan.runs).await;
    if task.attempt() <= plan.fails {
        running.end(Outcome::Failed);
        return Err(Failure::retry("as planned"));
    }
    running.end(Outcome::Done);
    Ok(Bytes::copy_from_slice(task.input()))
}

impl Process {
    pub(crate) fn drain(&mut self) {
        self.is_told_to_stop = true;
        self.shutdown.drain();
    }

    pub(crate) fn kill(&mut self, server: &Server) {
        self.is_told_to_stop = true;
        self.running.abort();
        server.close(self.client);
    }

    pub(crate) fn freeze(&self, server: &Server) {
        server.hold(self.client);
        self.gate.close();
    }

    pub(crate) fn thaw(&self, server: &Server) {
        server.let_go(self.client);
        self.gate.open();
    }
}

/// Whether a process may run.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<Closed>,
}

#[derive(Debug, Default)]
struct Closed {
    is_closed: bool,
    waiting: Option<Waker>,
}

impl Gate {
    fn close(&self) {
        self.with(|closed| closed.is_closed = true);
    }

    fn open(&self) {
        let waiting = self.with(|closed| {
            closed.is_closed = false;
            closed.waiting.take()
        });
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn with<R>(&self, deed: impl FnOnce(&mut Closed) -> R) -> R {
        deed(&mut self.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A life that stands still while its gate is closed: time goes on, and it does not.
struct Gated {
    life: Life,
    gate: Arc<Gate>,
}

impl Future for Gated {
    type Output = Result<(), String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let is_closed = self.gate.with(|closed| {
            closed.waiting = Some(cx.waker().clone());
            closed.is_closed
        });
        if is_closed {
            return Poll::Pending;
        }
        self.life.as_mut().poll(cx)
    }
}
