//! From `main` to the exit code: the part of a binary that is the same for all services.
//!
//! flags → logs → runtime → signals → the service → its last error, once → exit code
//!
//! What must hold: an error that ends the process is logged once, with its sources; the process is
//! gone soon after the service returns or a second signal comes, whatever still runs and whoever does not
//! read the log; and the exit code tells a supervisor whether a restart can help.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use futures_util::FutureExt;
use tokio::runtime::Builder;
use tracing::error;

use crate::chain::chain;
use crate::config::ConfigError;
use crate::installation::InstallationError;
use crate::lifecycle::panic_message;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, LogOptions};

/// How long blocking calls may hold up the exit once the service has returned.
const RUNTIME_STOP_MAX: Duration = Duration::from_secs(1);

/// Why a process ends with an error, by the codes of `sysexits.h`. Success is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: anything else, also a drain that did not finish.
    Failure = 1,
    /// 64: flags or configuration are wrong. A restart does not help.
    Usage = 64,
    /// 69: a service that this one needs is not there. A restart may help.
    Unavailable = 69,
}

/// The error that ends a process, and its exit code.
///
/// Made from any error by `?`: one with a [`ConfigError`] in its chain is `Usage`, one with an
/// [`InstallationError`] what that says, every other one `Failure`. Where that is not meant, say it:
/// `.map_err(Failure::unavailable)?`.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

/// The whole of a service's `main`: [`parse_args`], then [`run_main`] with what `log_of` finds in
/// the flags.
pub fn main_with<A, F, Fut>(
    service: &'static str,
    log_of: fn(&A) -> &LogOptions,
    run: F,
) -> ExitCode
where
    A: Parser,
    F: FnOnce(A, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    match parse_args::<A>() {
        Ok(args) => {
            let log = log_of(&args).clone();
            run_main(service, &log, |shutdown| run(args, shutdown))
        }
        Err(exit) => exit,
    }
}

/// Parses the flags of the process.
///
/// # Errors
/// The exit code to end with, after help or version (0) or what was wrong (64) was printed.
pub fn parse_args<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        let error = without_password(error);
        // Nobody is left to tell when the terminal is gone.
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => Exit::Usage.into(),
        }
    })
}

/// Runs a service to its end, with logs, a tokio runtime and signal handlers in place.
///
/// `run` returns when the service has drained; a second signal drops it at once. Parts left behind
/// are dropped with the runtime, blocking calls are given one second.
pub fn run_main<F, Fut>(service: &'static str, log: &LogOptions, run: F) -> ExitCode
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let logs = telemetry::init(log, service);
    let result = run_to_end(service, run);
    drop(logs);
    result.map_or_else(|failure| failure.exit().into(), |()| ExitCode::SUCCESS)
}

fn run_to_end<F, Fut>(service: &'static str, run: F) -> Result<(), Failure>
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let built = Builder::new_multi_thread()
        .enable_all()
        .thread_name(service)
        .build();
    let runtime = built
        .context("cannot start the runtime")
        .map_err(Failure::internal)
        .inspect_err(Failure::report)?;
    let result = runtime.block_on(AssertUnwindSafe(until_ended(run)).catch_unwind());
    let result = result.unwrap_or_else(|payload| {
        let message = panic_message(&*payload);
        Err(Failure::internal(anyhow!(
            "the service panicked: {message}"
        )))
    });
    // Before the runtime stops, so that a part that hangs cannot keep the reason back.
    let result = result.inspect_err(Failure::report);
    runtime.shutdown_timeout(RUNTIME_STOP_MAX);
    result
}

async fn until_ended<F, Fut>(run: F) -> Result<(), Failure>
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let shutdown = Shutdown::listen().context("cannot install the signal handlers")?;
    tokio::select! {
        biased;
        () = shutdown.ended().cancelled() => {
            Err(Failure::internal(anyhow!("ended by a second signal before the drain was over")))
        }
        result = run(shutdown.clone()) => result,
    }
}

/// clap shows the value that it refuses, and a NATS address from the environment may hold a
/// password.
fn without_password(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && let Some((_, host)) = value.rsplit_once('@')
    {
        let shown = ContextValue::String(format!("...@{host}"));
        error.insert(ContextKind::InvalidValue, shown);
    }
    error
}

impl Failure {
    /// Flags or configuration are wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// What the service needs is not there.
    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Unavailable,
            error: error.into(),
        }
    }

    /// Anything else.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Failure,
            error: error.into(),
        }
    }

    /// What the process will end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What went wrong, to tell kinds of it apart.
    #[must_use]
    pub fn error(&self) -> &anyhow::Error {
        &self.error
    }

    fn report(&self) {
        let logged = telemetry::errors_are_logged();
        if logged {
            error!(error = %self, exit = self.exit as u8, "stopped by an error");
        }
        // What hinders a start is for whoever has just started it, and not everybody looks into the log.
        let hinders_start = matches!(self.exit, Exit::Usage | Exit::Unavailable);
        if hinders_start || !logged {
            // Nobody is left to tell when that is gone too.
            let _ = writeln!(io::stderr(), "error: {self}");
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = error.chain().find_map(exit_of).unwrap_or(Exit::Failure);
        Self { exit, error }
    }
}

/// What an error of our own says about the end of the process.
fn exit_of(cause: &(dyn Error + 'static)) -> Option<Exit> {
    if cause.is::<ConfigError>() {
        return Some(Exit::Usage);
    }
    cause
        .downcast_ref::<InstallationError>()
        .map(InstallationError::exit)
}

/// The error with its sources, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain(self.error.as_ref()).fmt(f)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{ConnectOptions, Faults};

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        connect: ConnectOptions,
    }

    fn faulty() -> Result<(), ConfigError> {
        let mut faults = Faults::new();
        faults.push("slots", 0, "must be at least 1");
        faults.into_result()
    }

    fn failure(run: impl FnOnce() -> Result<(), Failure>) -> Failure {
        run().unwrap_err()
    }

    #[test]
    fn a_wrong_configuration_is_wrong_use_wherever_it_lies_in_the_chain() {
        assert_eq!(failure(|| Ok(faulty()?)).exit(), Exit::Usage);
        assert_eq!(
            failure(|| Ok(faulty().context("cannot start")?)).exit(),
            Exit::Usage
        );
    }

    #[test]
    fn any_other_error_is_a_plain_failure_unless_said_otherwise() {
        let gone = || Err::<(), _>(io::Error::other("gone"));
        assert_eq!(failure(|| Ok(gone()?)).exit(), Exit::Failure);
        assert_eq!(
            failure(|| gone().map_err(Failure::unavailable)).exit(),
            Exit::Unavailable
        );
    }

    #[test]
    fn a_failure_reads_as_its_chain() {
        let failure = failure(|| Ok(Err(io::Error::other("gone")).context("cannot connect")?));
        assert_eq!(failure.to_string(), "cannot connect: gone");
    }

    #[test]
    fn a_refused_address_is_told_without_its_password() {
        let refused = Args::try_parse_from(["rota-test", "--nats", "http://me:secret@host"]);
        let told = without_password(refused.unwrap_err()).to_string();
        assert!(
            told.contains("...@host") && told.contains("nats://"),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
    }
}
