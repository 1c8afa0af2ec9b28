//! What each binary of Rota needs to live: flags, configuration, logs, signals, drain,
//! exit codes.
//!
//! It exists so that the four services start, stop and fail in the same way, and an operator learns
//! it once. Nothing here knows a task or a subject.
//!
//! A service in full:
//!
//! ```no_run
//! use std::{process::ExitCode, time::Duration};
//! use rota_service::{Failure, Installation, Lifecycle, LogOptions, Shutdown, main_with};
//!
//! #[derive(clap::Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     installation: Installation,
//!     #[command(flatten)]
//!     log: LogOptions,
//! }
//!
//! fn main() -> ExitCode {
//!     main_with("example", |args: &Args| &args.log, run)
//! }
//!
//! async fn run(_args: Args, shutdown: Shutdown) -> Result<(), Failure> {
//!     let lifecycle = Lifecycle::new(shutdown);
//!     let draining = lifecycle.draining().clone();
//!     lifecycle.spawn_vital("clock", async move {
//!         draining.cancelled().await;
//!         Ok::<(), std::io::Error>(())
//!     });
//!     lifecycle.wait_drained(Duration::from_secs(30)).await.into_result()?;
//!     Ok(())
//! }
//! ```

mod chain;
mod config;
mod connect_options;
mod installation;
mod lifecycle;
mod run;
mod shutdown;
mod telemetry;

pub use chain::chain;
pub use config::{ConfigError, Fault, Faults, load_optional_toml, load_toml};
pub use connect_options::{ConnectOptions, ServerUrl, ServerUrlError};
pub use installation::{Installation, InstallationError, InvalidReplicas, Replicas};
pub use lifecycle::{Lifecycle, Outcome, PartFailed, Unfinished};
pub use run::{Exit, Failure, main_with, parse_args, run_main};
pub use shutdown::{LIFELINE, Shutdown};
pub use telemetry::{LogFilter, LogFilterError, LogFormat, LogOptions, Logs, init};
