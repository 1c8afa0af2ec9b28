//! A worker from its options to its end: what programs with handlers of their own begin with.
//!
//! [`WorkerBuilder`] gathers and checks, [`Worker`] connects and works. `rota-worker` itself is
//! nothing more than this with its flags.

mod builder;
mod error;

use std::time::Duration;

use rota_bus::Bus;
use rota_service::{Installation, LogOptions, Shutdown, parse_args};
use rota_wire::fleet::KindCapacity;
use rota_wire::{Label, Micros, Resources, Span, WorkerId};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::agent::running::Runner;
use crate::agent::shell::{Inputs, Shell};
use crate::agent::{Agent, Profile};
use crate::args::Args;
use crate::attempt::KILLED_WAIT_MAX;
use crate::command::processes::Processes;
use crate::guardian::{self, Guardian, guardian_entry};
use crate::handler::registry::Registry;
use crate::identity::WorkerName;
use crate::machine::MachineSampler;
pub use builder::WorkerBuilder;
pub use error::{BuildError, RunError};

/// Beside the grace periods, what an attempt may need to be over once it was told to end.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// A worker that is ready to run.
#[derive(Debug)]
pub struct Worker {
    installation: Installation,
    name: WorkerName,
    slots: u32,
    heartbeat: Span,
    grace: Duration,
    resources: Resources,
    labels: Vec<Label>,
    registry: Registry,
    guarded: bool,
    log: Option<LogOptions>,
}

impl Worker {
    /// Begins a worker with the defaults: the server on this machine, as many slots as there are
    /// cores, no kinds.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder::new()
    }

    /// Begins a worker with the flags and the environment of this process, the same that
    /// `rota-worker` takes; [`run`](Self::run) then also starts the logs.
    ///
    /// Call it first thing in `main`: it begins with [`guardian_entry`].
    ///
    /// Ends the process after `--help` (0), or after it has said which flag is wrong (64).
    pub fn from_args() -> WorkerBuilder {
        guardian_entry();
        match parse_args::<Cli>() {
            Ok(cli) => WorkerBuilder::from_args(cli.args),
            Err(code) if code == std::process::ExitCode::SUCCESS => std::process::exit(0),
            Err(_) => std::process::exit(rota_service::Exit::Usage as i32),
        }
    }

    /// Connects and works until SIGTERM or SIGINT, then drains. A second signal ends it at once.
    ///
    /// # Errors
    /// [`RunError`]: no server, streams that differ, or a drain that a second signal cut short.
    pub async fn run(self) -> Result<(), RunError> {
        let log = self.log.clone();
        let _until_the_end = log.map(|log| rota_service::init(&log, "worker"));
        let shutdown = Shutdown::listen().map_err(RunError::Signals)?;
        self.run_until(shutdown).await
    }

    /// As [`run`](Self::run), told to drain and to end by `shutdown` instead of by signals.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), but for signal handlers.
    pub async fn run_until(self, shutdown: Shutdown) -> Result<(), RunError> {
        let ended = shutdown.ended().clone();
        tokio::select! {
            biased;
            () = ended.cancelled() => Err(RunError::EndedAtOnce),
            result = self.work(shutdown) => result,
        }
    }

    /// As [`run_until`](Self::run_until), over a connection that is there already and within this future alone:
    /// dropped, the worker is gone. It has no guardian and does not look at the machine. For tests of the whole
    /// system in one runtime; its handlers must be Rust functions.
    ///
    /// # Errors
    /// Those of [`run_until`](Self::run_until).
    #[doc(hidden)]
    pub async fn run_on(
        self,
        bus: Bus,
        worker: WorkerId,
        shutdown: Shutdown,
    ) -> Result<(), RunError> {
        let inputs = self.listen(&bus, &worker, shutdown).await?;
        let agent = Agent::new(self.profile(&worker), self.stop_wait(), bus.payload_max());
        let processes = Processes::of(worker.clone());
        let runner = Runner::new(bus.clone(), worker.clone(), &self.registry, processes);
        let machine = MachineSampler::blind();
        let shell = Shell::new(bus, worker, agent, runner, machine);
        shell.run(inputs).await
    }

    async fn listen(
        &self,
        bus: &Bus,
        worker: &WorkerId,
        shutdown: Shutdown,
    ) -> Result<Inputs, RunError> {
        Ok(Inputs {
            assigns: bus.subscribe(&bus.subjects().assign(worker)).await?,
            roll_calls: bus.subscribe(&bus.subjects().roll_call()).await?,
            link: bus.link(),
            shutdown,
            grace: self.grace,
        })
    }

    async fn work(self, shutdown: Shutdown) -> Result<(), RunError> {
        let worker = self.name.draw_id();
        let processes = Processes::of(worker.clone());
        // Whatever ends this, no command goes on without it.
        let _ended = processes.end_on_drop();
        let name = format!("worker {worker}");
        let bus = self.installation.connect(&name).await?;
        let inputs = self.listen(&bus, &worker, shutdown).await?;
        let profile = self.profile(&worker);
        self.announce(&bus, &profile);
        let agent = Agent::new(profile, self.stop_wait(), bus.payload_max());
        check_room(self.slots, &agent, bus.payload_max())?;
        let guardian = self.guardian(&worker, &processes);
        let runner = Runner::new(bus.clone(), worker.clone(), &self.registry, processes);
        let machine = MachineSampler::default();
        let shell = Shell::new(bus, worker, agent, runner, machine);
        // On a thread of the runtime, near the attempts, wherever this future itself is polled.
        let working = AbortOnDropHandle::new(tokio::spawn(shell.run(inputs)));
        working.await.map_err(RunError::AttemptLost)??;
        if let Some(guardian) = guardian {
            guardian.dismiss().await;
        }
        Ok(())
    }

    fn guardian(&self, worker: &WorkerId, processes: &Processes) -> Option<Guardian> {
        let connect = &self.installation.connect;
        (self.guarded && guardian::is_entered())
            .then(|| Guardian::start(worker.clone(), processes.clone(), connect))
    }

    fn profile(&self, worker: &WorkerId) -> Profile {
        let kinds = self.registry.iter().map(|(kind, entry)| KindCapacity {
            kind: kind.clone(),
            concurrency: entry.concurrency,
        });
        Profile {
            worker: worker.clone(),
            started: Micros::now(),
            interval: self.heartbeat,
            slots: self.slots,
            kinds: kinds.collect(),
            resources: self.resources,
            labels: self.labels.clone(),
        }
    }

    fn announce(&self, bus: &Bus, profile: &Profile) {
        let kinds: Vec<_> = self
            .registry
            .iter()
            .map(|(kind, _)| kind.as_str())
            .collect();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            server = bus.server(),
            worker = %profile.worker,
            slots = profile.slots,
            cpu = %profile.resources.cpu,
            memory = %profile.resources.memory,
            kinds = kinds.join(","),
            "working"
        );
    }

    /// The longest that an attempt can take to end once it was told to.
    fn stop_wait(&self) -> Duration {
        let graces = self.registry.iter().map(|(_, entry)| entry.limits.grace);
        graces.max().unwrap_or_default() + KILLED_WAIT_MAX + STOP_MARGIN
    }
}

/// Each slot may hold an attempt that runs, and the outcome of the one before it.
fn check_room(slots: u32, agent: &Agent, payload_max: usize) -> Result<(), RunError> {
    let slots_max = agent.held_max() / 2;
    if slots as usize > slots_max {
        return Err(RunError::Payload {
            slots,
            slots_max,
            payload_max,
        });
    }
    Ok(())
}

/// Runs kinds of tasks
#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[cfg(test)]
mod tests;
