//! Runs Rota on one machine: gets a nats-server, starts it, and keeps child processes alive.
//!
//! It exists so that a fresh clone needs nothing installed but Rust: `rota up`, `rota demo`, the
//! benchmarks and the end-to-end tests all stand on it. Three parts, in reading order:
//!
//! - [`nats_server`] gives the path of a nats-server new enough for Rota, or says why it cannot.
//! - [`NatsServer`] is one running server on 127.0.0.1 with its store, while the value lives.
//! - [`Supervisor`] runs named child processes, hands out their lines, restarts and stops them.
//!
//! What must hold: nothing outlives the value that started it (but for a parent killed by SIGKILL,
//! which can clean up nothing); nothing of the system is changed; nothing listens beyond
//! 127.0.0.1; every wait ends. The crate knows processes and files, and of NATS only the line that
//! a server greets with.

mod command;
mod fetch;
mod server;
mod signal;
mod supervise;

pub use command::CommandError;
pub use fetch::{
    BinaryError, FailedStep, FetchError, StepError, VERSION_MIN, Version, nats_server,
};
pub use server::{JetStream, NatsServer, Orphaned, ServerError, ServerOptions, TerminalSignals};
pub use signal::Signal;
pub use supervise::{
    Backoff, Colour, Force, LINE_BYTES_MAX, LogLine, PrefixPrinter, ProcessHandle, ProcessSpec,
    Restart, Status, Stdin, Stopped, SuperviseError, Supervisor,
};
