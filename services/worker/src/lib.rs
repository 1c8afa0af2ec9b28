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

mod attempt;
mod builtin;
mod command;
mod config;
mod ended;
mod handler;
mod machine;
mod span;

pub use attempt::control::AttemptControl;
pub use attempt::run;
pub use builtin::builtins;
pub use command::CommandHandler;
pub use config::{ConfigError, Fault, load};
pub use ended::{Ended, Exit, Retry, Verdict};
pub use handler::failure::Failure;
pub use handler::registry::{Entry, HandlerKind, KindName, Limits, Registry, RegistryError};
pub use handler::task::{Task, TaskParts};
pub use handler::{Handler, HandlerFuture};
pub use machine::{MachineLoad, MachineSampler};
