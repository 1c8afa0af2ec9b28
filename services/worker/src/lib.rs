//! The Rota worker: runs attempts of tasks, as commands or as Rust functions.
//!
//! This crate is the library behind the `rota-worker` binary, and the library to write handlers
//! in Rust with. What lives here knows nothing of NATS: [`run`] takes an [`Entry`] of the
//! [`Registry`], a [`Task`] and an [`AttemptControl`], and always comes back with an [`Ended`].
//!
//! ```text
//!  handlers.toml ──► config ──┐
//!  Rust functions ────────────┼──► Registry ──► Entry ─┐
//!  builtin kinds ─────────────┘                        ├──► run ──► Ended
//!                                    Task, control ────┘
//! ```

mod agent;
mod args;
mod attempt;
mod builtin;
mod command;
mod config;
mod ended;
mod handler;
mod identity;
mod machine;
mod service;
mod span;
mod worker;

pub use args::Args;
pub use attempt::control::AttemptControl;
pub use attempt::run as run_attempt;
pub use builtin::builtins;
pub use command::CommandHandler;
pub use config::{ConfigError, Fault, load};
pub use ended::{Ended, Exit, Retry, Verdict};
pub use handler::failure::Failure;
pub use handler::registry::{Entry, HandlerKind, KindName, Limits, Registry, RegistryError};
pub use handler::task::{Task, TaskParts};
pub use handler::{Handler, HandlerFuture};
pub use identity::{InvalidLabel, InvalidName, Label, WorkerName};
pub use rota_service::Shutdown;
pub use service::run;
pub use worker::{BuildError, RunError, Worker, WorkerBuilder};
