//! What can be wrong with a worker, before and after it has begun.

use std::io;
use std::time::Duration;

use rota_bus::{InvalidPrefix, SendError};
use rota_service::{InstallationError, InvalidReplicas, ServerUrlError};
use rota_wire::fleet::{KINDS_MAX, LABELS_MAX};
use rota_wire::resources::{InvalidCpu, InvalidLabel, InvalidMemory};
use tokio::task::JoinError;

use crate::config::ConfigError;
use crate::handler::registry::RegistryError;
use crate::identity::InvalidName;

/// Why a worker cannot be made of what it was told.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It would have nothing to do.
    #[error(
        "this worker handles no kinds: name a handlers file with --handlers FILE, or try the \
         built-in kinds with --builtin; in Rust, add a .handler(kind, function)"
    )]
    NoKinds,
    /// Its heartbeat has no room for so many.
    #[error("{0} kinds: must be at most {KINDS_MAX} on one worker")]
    Kinds(usize),
    /// Its heartbeat has no room for so many.
    #[error("{0} labels: must be at most {LABELS_MAX} on one worker")]
    Labels(usize),
    /// A kind is misspelt or handled twice.
    #[error(transparent)]
    Kind(#[from] RegistryError),
    /// The handlers file is not taken.
    #[error(transparent)]
    Handlers(#[from] ConfigError),
    /// Commands that were given in Rust cannot be started.
    #[error("{} command(s) cannot be started{}", .0.len(), listed(.0))]
    CannotStart(Vec<String>),
    /// The name is against the rule.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A label is against the rule.
    #[error("a label {0}")]
    Label(InvalidLabel),
    /// The declared cores are against the rule.
    #[error("cpu {0}")]
    Cpu(InvalidCpu),
    /// The declared memory is against the rule.
    #[error("memory {0}")]
    Memory(InvalidMemory),
    /// The prefix is against the rule.
    #[error(transparent)]
    Prefix(#[from] InvalidPrefix),
    /// A server's address cannot be one.
    #[error(transparent)]
    Server(ServerUrlError),
    /// The number of slots is out of bounds.
    #[error("slots {0}: must be 1 to 4096")]
    Slots(u32),
    /// The interval is out of bounds.
    #[error("heartbeat {0:?}: must be between 50ms and 10s")]
    Heartbeat(Duration),
    /// No number of servers that can vote.
    #[error("replicas {0}: {InvalidReplicas}")]
    Replicas(usize),
}

fn listed(faults: &[String]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// Why a worker does not work any more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The installation is not there, or its streams are not as they must be.
    #[error(transparent)]
    Installation(#[from] InstallationError),
    /// It cannot hear the scheduler.
    #[error("cannot subscribe")]
    Subscribe(#[from] SendError),
    /// A heartbeat could not name all that it holds.
    #[error(
        "{slots} slots: with messages of {payload_max} bytes, the server's max_payload, a heartbeat has \
         room for what at most {slots_max} slots hold; give this worker fewer slots, kinds or labels, or \
         raise max_payload"
    )]
    Payload {
        /// How many it was to have.
        slots: u32,
        /// How many there is room for.
        slots_max: usize,
        /// The server's limit.
        payload_max: usize,
    },
    /// The operating system refuses signal handlers.
    #[error("cannot install the signal handlers")]
    Signals(#[source] io::Error),
    /// The connection is closed for good.
    #[error("the connection to NATS is closed for good")]
    Closed,
    /// A part of the worker panicked; a handler's panic is a failed attempt and ends nothing.
    #[error("a part of the worker panicked")]
    AttemptLost(#[source] JoinError),
    /// A second signal came.
    #[error("ended at once before the drain was over")]
    EndedAtOnce,
}
