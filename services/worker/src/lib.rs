//! The Rota worker: runs attempts of tasks, as commands or as Rust functions.
//!
//! This crate is the library behind the `rota-worker` binary, and the library to write handlers in
//! Rust with. A worker in full:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use rota_worker::{Failure, Task, Worker};
//!
//! fn main() -> ExitCode {
//!     Worker::from_args() // the flags of `rota-worker`: --nats, --slots, --help
//!         .handler("word_count", |task: Task| async move {
//!             let text = std::str::from_utf8(task.input())
//!                 .map_err(|_| Failure::fatal("the input must be UTF-8"))?; // never retried
//!             Ok(text.split_whitespace().count().to_string())
//!         })
//!         .main() // until SIGTERM or Ctrl-C, then drained
//! }
//! ```
//!
//! [`Worker::builder`] in place of [`Worker::from_args`] is for a program with settings of its own;
//! [`WorkerBuilder::build`] and [`Worker::run`] in place of [`WorkerBuilder::main`] for one that has a
//! tokio runtime already. Try the handler with `nats pub rota.submit.word_count 'how many words'`.
//!
//! # What a handler is promised
//!
//! - **At least once.** Each task that was accepted is run until it has a result or its attempts are
//!   used up. It may be run more than once: when a worker dies, is cut off, or its report comes too
//!   late, another one runs the task again, perhaps while the first is still at it. So a handler
//!   that changes something outside must be fit to be repeated; [`Task::id`] is the same for all
//!   attempts and makes a good key.
//! - **One result.** The output is stored once, before the task counts as done. If two attempts come
//!   to their end, the first one's output stands, and the other's is dropped.
//! - **A failure is an attempt.** An error is retried after a pause, as the task's options say; with
//!   [`Failure::fatal`] the handler says that no attempt can ever succeed. A panic is a failed
//!   attempt, and the worker goes on. Running longer than the time limit is one, too.
//! - **A word before the end.** An attempt that must end, because of its time limit, because the
//!   worker stops or because the task is another worker's now, is told through [`Task::cancelled`].
//!   After the grace period of its kind its future is dropped. What it still returns is not used.
//! - **A drain costs no attempt.** A worker that is told to stop takes no more, lets attempts end
//!   for the grace period, and hands the rest back. A second signal ends it at once.
//! - **A command does not outlive its worker**, however that ends: a [guardian](guardian_entry), a second
//!   process of the same program, ends what a killed worker leaves and tells the scheduler at once.
//!
//! # What is asked of a handler
//!
//! Each attempt runs on a tokio task of its own. A handler that computes for long without an await
//! blocks its thread, and can neither be stopped nor timed out meanwhile: use
//! `tokio::task::spawn_blocking` for that. What a handler spawns is not ended with it. The output
//! travels in one message: what is longer than [`Limits::output_bytes_max`] or than the server takes
//! (1 MiB, less 64 KiB, unless configured otherwise) fails for good.
//!
//! # How it is made
//!
//! ```text
//!  handlers.toml ──► config ──┐
//!  Rust functions ────────────┼──► Registry ──► Entry ─┐
//!  builtin kinds ─────────────┘                        ├──► run_attempt ──► Ended
//!                                    Task, control ────┘         ▲            │
//!                                                                │            ▼ result stored
//!  NATS ◄──► shell: assign, report, heartbeat ◄──► Agent: what is held, runs, is not settled
//! ```
//!
//! The lower half knows nothing of NATS: [`run_attempt`] takes an [`Entry`] of the [`Registry`], a
//! [`Task`] and an [`AttemptControl`], and always comes back with an [`Ended`]; handlers are tested
//! with it. The rules of delivery are in `agent`, a state machine without I/O; its shell talks to NATS for
//! it. `guardian` watches over the whole process from outside.

mod agent;
mod args;
mod attempt;
mod builtin;
mod command;
mod config;
mod ended;
mod guardian;
mod handler;
mod identity;
mod machine;
mod service;
mod span;
mod worker;

/// Compiles the example in README.md, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub use args::Args;
pub use attempt::control::AttemptControl;
pub use attempt::run as run_attempt;
pub use builtin::builtins;
pub use command::CommandHandler;
pub use config::{ConfigError, Fault, load};
pub use ended::{Blame, Ended, Exit, Retry, Verdict};
pub use guardian::guardian_entry;
pub use handler::failure::Failure;
pub use handler::registry::{Entry, HandlerKind, Limits, Registry, RegistryError};
pub use handler::task::{Task, TaskParts};
pub use handler::{Handler, HandlerFuture};
pub use identity::{InvalidName, WorkerName};
pub use rota_service::{InstallationError, Shutdown};
pub use rota_wire::Kind;
pub use service::run;
pub use worker::{BuildError, RunError, Worker, WorkerBuilder};
