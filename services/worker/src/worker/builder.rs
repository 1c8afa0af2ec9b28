//! Gathers what a worker needs, from code or from flags, and checks it.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rota_bus::Prefix;
use rota_service::{Installation, LogOptions, Replicas, ServerUrl, run_main};
use rota_wire::fleet::{KINDS_MAX, LABELS_MAX};
use rota_wire::{Cpu, Label, Memory, Resources, Span};

use super::{BuildError, Worker};
use crate::args::{Args, GRACE, HEARTBEAT, HEARTBEAT_MAX, HEARTBEAT_MIN, SLOTS_MAX};
use crate::handler::Handler;
use crate::handler::registry::{Entry, Registry, RegistryError};
use crate::identity::WorkerName;
use crate::machine::MachineSampler;
use crate::service::run_built;

/// Gathers what a worker needs. Faults are told by [`build`](Self::build).
#[derive(Debug)]
#[must_use = "nothing runs before build and run"]
pub struct WorkerBuilder {
    /// Names no server until one was named.
    installation: Installation,
    name: Option<String>,
    slots: Option<u32>,
    heartbeat: Duration,
    grace: Duration,
    cpu: Option<String>,
    memory: Option<String>,
    labels: Vec<String>,
    registry: Registry,
    guarded: bool,
    log: Option<LogOptions>,
    fault: Option<BuildError>,
}

impl WorkerBuilder {
    pub(super) fn new() -> Self {
        let mut installation = Installation::default();
        installation.connect.nats.clear();
        Self {
            installation,
            name: None,
            slots: None,
            heartbeat: HEARTBEAT.duration(),
            grace: GRACE.duration(),
            cpu: None,
            memory: None,
            labels: Vec::new(),
            registry: Registry::new(),
            guarded: true,
            log: None,
            fault: None,
        }
    }

    /// A builder with what flags say; kinds can be added to it.
    pub fn from_args(args: Args) -> Self {
        let mut builder = Self {
            installation: args.installation,
            name: args.name.map(|name| name.to_string()),
            slots: args.slots,
            heartbeat: args.heartbeat.duration(),
            grace: args.grace.duration(),
            cpu: args.cpu.map(|cpu| cpu.to_string()),
            memory: args.memory.map(|memory| memory.to_string()),
            labels: args.labels.iter().map(Label::to_string).collect(),
            log: Some(args.log),
            ..Self::new()
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
        match address.parse() {
            Ok(server) => self.installation.connect.nats.push(server),
            Err(error) => self.keep_fault(Err(BuildError::Server(error))),
        }
        self
    }

    /// A NATS credentials file.
    pub fn credentials(mut self, file: impl Into<PathBuf>) -> Self {
        self.installation.connect.creds = Some(file.into());
        self
    }

    /// The first token of all subjects, which tells installations apart. Default: `rota`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.installation.connect.prefix = prefix.into();
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

    /// Cores that the worker may give to attempts that ask for some: `4`, `0.5`, `500m`. Default: all
    /// of the machine's.
    pub fn cpu(mut self, cores: impl Into<String>) -> Self {
        self.cpu = Some(cores.into());
        self
    }

    /// Memory that the worker may give to attempts that ask for some: `8GiB`. Default: all of the
    /// machine's, or of the limit that the worker runs under.
    pub fn memory(mut self, bytes: impl Into<String>) -> Self {
        self.memory = Some(bytes.into());
        self
    }

    /// What the worker carries: `gpu`, `zone=eu`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.labels.push(label.into());
        self
    }

    /// How many servers keep each stream: 1, 3 or 5. Default: 1.
    pub fn replicas(mut self, count: usize) -> Self {
        match Replicas::try_from(count) {
            Ok(replicas) => self.installation.replicas = replicas,
            Err(_) => self.keep_fault(Err(BuildError::Replicas(count))),
        }
        self
    }

    /// Starts no guardian for the worker. It has one otherwise if the program's `main` begins with
    /// [`Worker::from_args`] or [`guardian_entry`](crate::guardian_entry).
    pub fn without_guardian(mut self) -> Self {
        self.guarded = false;
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
        let unfit = unfit(&self.registry);
        if !unfit.is_empty() {
            return Err(BuildError::CannotStart(unfit));
        }
        let (kinds, labels) = (self.registry.iter().count(), self.labels.len());
        if kinds > KINDS_MAX {
            return Err(BuildError::Kinds(kinds));
        }
        if labels > LABELS_MAX {
            return Err(BuildError::Labels(labels));
        }
        let mut installation = self.installation;
        if installation.connect.nats.is_empty() {
            installation.connect.nats.push(ServerUrl::default());
        }
        Prefix::parse(&installation.connect.prefix)?;
        let name = self.name.map(|name| name.parse()).transpose()?;
        let labels = self.labels.iter().map(|label| label.parse());
        Ok(Worker {
            installation,
            name: name.unwrap_or_else(WorkerName::of_machine),
            slots: checked_slots(self.slots.unwrap_or_else(cores))?,
            heartbeat: checked_heartbeat(self.heartbeat)?,
            grace: self.grace.min(Span::MAX.duration()),
            resources: declared(self.cpu.as_deref(), self.memory.as_deref())?,
            labels: labels
                .collect::<Result<_, _>>()
                .map_err(BuildError::Label)?,
            registry: self.registry,
            guarded: self.guarded,
            log: self.log,
        })
    }

    /// The whole of a program's `main`: starts logs and a runtime, builds, works until SIGTERM or
    /// Ctrl-C, drains. What goes wrong is logged once.
    ///
    /// Exit codes: 0 stopped as told, 64 flags, handlers or streams are wrong (a restart does not
    /// help), 69 there is no server that is fit, 1 anything else. A program that has a runtime of its
    /// own uses [`build`](Self::build) and [`Worker::run`] instead; inside one, this panics.
    pub fn main(self) -> ExitCode {
        let log = self.log.clone().unwrap_or_default();
        run_main("worker", &log, |shutdown| run_built(self, shutdown))
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

pub(super) fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).map_or(SLOTS_MAX, |cores| cores.min(SLOTS_MAX))
}

/// Each kind that cannot be started, and why.
fn unfit(registry: &Registry) -> Vec<String> {
    let told = registry.iter().flat_map(|(kind, entry)| {
        let unfit = entry.look().into_iter();
        unfit.map(move |why| format!("kind {kind}: {why}"))
    });
    told.collect()
}

/// What was said, and for the rest what the machine has.
fn declared(cpu: Option<&str>, memory: Option<&str>) -> Result<Resources, BuildError> {
    let machine = MachineSampler::new().sample();
    let cpu = cpu.map(str::parse).transpose().map_err(BuildError::Cpu)?;
    let memory = memory.map(str::parse).transpose();
    let memory = memory.map_err(BuildError::Memory)?;
    Ok(Resources {
        cpu: cpu.unwrap_or(Cpu(machine.cpu_milli)),
        memory: memory.unwrap_or(Memory(machine.memory_bytes)),
    })
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
