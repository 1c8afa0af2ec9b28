//! A worker from its options to its end: what programs with handlers of their own begin with.
//!
//! [`WorkerBuilder`] gathers and checks, [`Worker`] connects and works. `rota-worker` itself is
//! nothing more than this with its flags.

mod error;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rota_bus::{Bus, BusOptions, Prefix, StreamOptions};
use rota_service::{LogOptions, ServerUrl, Shutdown, parse_args};
use rota_wire::fleet::KindCapacity;
use rota_wire::{Kind, Micros, Span, WorkerId};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::agent::running::Runner;
use crate::agent::shell::{Inputs, Shell};
use crate::agent::{Agent, Profile};
use crate::args::{Args, GRACE, HEARTBEAT, HEARTBEAT_MAX, HEARTBEAT_MIN, SLOTS_MAX};
use crate::attempt::KILLED_WAIT_MAX;
use crate::handler::Handler;
use crate::handler::registry::{Entry, Registry, RegistryError};
use crate::identity::{Label, WorkerName};
pub use error::{BuildError, RunError};

/// Beside the grace periods, what an attempt may need to be over once it was told to end.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// A worker that is ready to run.
#[derive(Debug)]
pub struct Worker {
    bus: BusOptions,
    streams: StreamOptions,
    name: WorkerName,
    slots: u32,
    heartbeat: Span,
    grace: Duration,
    labels: Vec<Label>,
    registry: Registry,
    log: Option<LogOptions>,
}

/// Gathers what a worker needs. Faults are told by [`build`](Self::build).
#[derive(Debug)]
#[must_use = "nothing runs before build and run"]
pub struct WorkerBuilder {
    servers: Vec<Result<ServerUrl, BuildError>>,
    credentials: Option<PathBuf>,
    prefix: String,
    name: Option<String>,
    slots: Option<u32>,
    heartbeat: Duration,
    grace: Duration,
    labels: Vec<String>,
    replicas: usize,
    registry: Registry,
    log: Option<LogOptions>,
    fault: Option<BuildError>,
}

impl Worker {
    /// Begins a worker with the defaults: the server on this machine, as many slots as there are
    /// cores, no kinds.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder {
            servers: Vec::new(),
            credentials: None,
            prefix: Prefix::default().as_str().to_owned(),
            name: None,
            slots: None,
            heartbeat: HEARTBEAT.duration(),
            grace: GRACE.duration(),
            labels: Vec::new(),
            replicas: StreamOptions::default().replicas,
            registry: Registry::new(),
            log: None,
            fault: None,
        }
    }

    /// Begins a worker with the flags and the environment of this process, the same that
    /// `rota-worker` takes; [`run`](Self::run) then also starts the logs.
    ///
    /// Ends the process after `--help` (0), or after it has said which flag is wrong (64).
    pub fn from_args() -> WorkerBuilder {
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
        if let Some(log) = &self.log {
            rota_service::init(log, "worker");
        }
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

    async fn work(self, shutdown: Shutdown) -> Result<(), RunError> {
        let worker = self.name.draw_id();
        let options = BusOptions {
            name: format!("rota-worker {worker}"),
            ..self.bus.clone()
        };
        let bus = Bus::connect(options).await?;
        bus.ensure_streams(self.streams).await?;
        let inputs = Inputs {
            assigns: bus.subscribe(&bus.subjects().assign(&worker)).await?,
            roll_calls: bus.subscribe(&bus.subjects().roll_call()).await?,
            link: bus.link(),
            shutdown,
            grace: self.grace,
        };
        let profile = self.profile(&worker);
        self.announce(&bus, &profile);
        let agent = Agent::new(profile, self.stop_wait());
        let runner = Runner::new(bus.clone(), worker.clone(), &self.registry);
        let shell = Shell::new(bus, worker, agent, runner);
        // On a thread of the runtime, near the attempts, wherever this future itself is polled.
        let working = AbortOnDropHandle::new(tokio::spawn(shell.run(inputs)));
        working.await.map_err(RunError::AttemptLost)?
    }

    fn profile(&self, worker: &WorkerId) -> Profile {
        let kinds = self.registry.iter().map(|(kind, entry)| KindCapacity {
            kind: Kind::parse(kind.as_str()).expect("a registry checks its kinds"),
            concurrency: entry.concurrency,
        });
        Profile {
            worker: worker.clone(),
            started: Micros::now(),
            interval: self.heartbeat,
            slots: self.slots,
            kinds: kinds.collect(),
            labels: self.labels.iter().map(Label::to_string).collect(),
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

impl WorkerBuilder {
    /// A builder with what flags say; kinds can be added to it.
    pub fn from_args(args: Args) -> Self {
        let mut builder = Self {
            servers: args.connect.nats.into_iter().map(Ok).collect(),
            credentials: args.connect.creds,
            prefix: args.connect.prefix,
            name: args.name.map(|name| name.to_string()),
            slots: args.slots,
            heartbeat: args.heartbeat.duration(),
            grace: args.grace.duration(),
            labels: args.labels.iter().map(Label::to_string).collect(),
            replicas: args.replicas,
            log: Some(args.log),
            ..Worker::builder()
        };
        if let Some(file) = args.handlers {
            builder = builder.handlers_file(file);
        }
        if args.builtin {
            builder = builder.builtins();
        }
        builder
    }

    /// A NATS server, such as `nats://127.0.0.1:4222`; several calls name several servers of a
    /// cluster. Default: the one on this machine.
    pub fn nats(mut self, address: &str) -> Self {
        self.servers
            .push(address.parse().map_err(BuildError::Server));
        self
    }

    /// A NATS credentials file.
    pub fn credentials(mut self, file: impl Into<PathBuf>) -> Self {
        self.credentials = Some(file.into());
        self
    }

    /// The first token of all subjects, which tells installations apart. Default: `rota`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// What the worker is called: 1 to 57 of `A-Z a-z 0-9 _ -`. Default: as the machine.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many attempts run at once, 1 to 4096. Default: as many as there are cores.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// How often the worker tells its load and what it holds, 50 ms to 10 s; after three missed
    /// heartbeats it counts as lost. Default: 500 ms.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// How long attempts may go on when the worker is told to stop. Default: 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What the worker carries: `gpu`, `zone=eu`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.labels.push(label.into());
        self
    }

    /// How many servers keep each stream, where the streams are not there yet. Default: 1.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Handles a kind with a Rust function.
    pub fn handler(self, kind: &str, handler: impl Handler) -> Self {
        self.entry(kind, Entry::function(handler))
    }

    /// Handles a kind, with limits of its own.
    pub fn entry(mut self, kind: &str, entry: Entry) -> Self {
        let inserted = self.registry.insert(kind, entry);
        self.keep_fault(inserted);
        self
    }

    /// Handles the kinds that a handlers file declares.
    pub fn handlers_file(mut self, path: impl AsRef<Path>) -> Self {
        match crate::config::load(path) {
            Ok(registry) => self.merge(registry),
            Err(error) => self.keep_fault(Err::<(), _>(error)),
        }
        self
    }

    /// Handles the built-in kinds `echo`, `fail`, `noop`, `sha256` and `sleep`.
    pub fn builtins(mut self) -> Self {
        self.merge(crate::builtin::builtins());
        self
    }

    /// Checks all that was gathered.
    ///
    /// # Errors
    /// The first thing that is wrong; a handlers file tells all its faults at once.
    pub fn build(self) -> Result<Worker, BuildError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.registry.is_empty() {
            return Err(BuildError::NoKinds);
        }
        let servers = self.servers.into_iter().collect::<Result<Vec<_>, _>>()?;
        let bus = BusOptions {
            servers: servers_text(&servers),
            credentials: self.credentials,
            name: String::new(),
            prefix: Prefix::parse(&self.prefix)?,
        };
        let name = self.name.map(|name| name.parse()).transpose()?;
        let labels = self.labels.iter().map(|label| label.parse());
        Ok(Worker {
            bus,
            streams: StreamOptions {
                replicas: checked_replicas(self.replicas)?,
            },
            name: name.unwrap_or_else(WorkerName::of_machine),
            slots: checked_slots(self.slots.unwrap_or_else(cores))?,
            heartbeat: checked_heartbeat(self.heartbeat)?,
            grace: self.grace.min(Span::MAX.duration()),
            labels: labels.collect::<Result<_, _>>()?,
            registry: self.registry,
            log: self.log,
        })
    }

    fn merge(&mut self, registry: Registry) {
        let merged: Result<(), RegistryError> = self.registry.merge(registry);
        self.keep_fault(merged);
    }

    /// The first fault is told.
    fn keep_fault<E: Into<BuildError>>(&mut self, result: Result<(), E>) {
        if let Err(error) = result {
            self.fault.get_or_insert(error.into());
        }
    }
}

/// Runs kinds of tasks
#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn servers_text(servers: &[ServerUrl]) -> String {
    if servers.is_empty() {
        return "nats://127.0.0.1:4222".to_owned();
    }
    let texts: Vec<_> = servers.iter().map(ServerUrl::expose).collect();
    texts.join(",")
}

fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).map_or(SLOTS_MAX, |cores| cores.min(SLOTS_MAX))
}

fn checked_slots(slots: u32) -> Result<u32, BuildError> {
    if (1..=SLOTS_MAX).contains(&slots) {
        Ok(slots)
    } else {
        Err(BuildError::Slots(slots))
    }
}

fn checked_heartbeat(interval: Duration) -> Result<Span, BuildError> {
    let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let span = Span::from_ms(ms);
    if (HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&span) {
        Ok(span)
    } else {
        Err(BuildError::Heartbeat(interval))
    }
}

fn checked_replicas(replicas: usize) -> Result<usize, BuildError> {
    match replicas {
        1 | 3 | 5 => Ok(replicas),
        other => Err(BuildError::Replicas(other)),
    }
}

#[cfg(test)]
mod tests;
