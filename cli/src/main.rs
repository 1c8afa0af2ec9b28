//! `rota`: everything of Rota in one executable.
//!
//! It exists so that one build is enough to try Rota, and so that a person without the `nats` CLI can
//! submit tasks and read results. It adds no rule of its own: the services are those of their own
//! binaries, and the client commands use the same public subjects as everybody else.
//!
//! ```text
//! services   submitter, scheduler, worker, monitor as subcommands
//! up         all of them on this machine, each a process, until Ctrl-C
//! demo       up for a few seconds, with real work and a worker that is killed
//! submit     one task in, perhaps its result out;  result  one result out
//! explain    why a task waits, or went where it is
//! bench      measures an installation, alone or against the simulator
//! simulate   what a strategy gives, on a virtual clock
//! children   what up and demo share: this executable as a supervised process
//! ```

mod bench;
mod children;
mod client;
mod demo;
mod explain;
mod result;
mod say;
mod services;
mod simulate;
mod submit;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use rota_service::{Failure, LogFormat, LogOptions, Shutdown, parse_args, run_main};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What a command that is no service logs by itself: only that it fetches a nats-server, which takes a
/// while. All else it tells in its own words.
const COMMAND_LOG: &str = "off,async_nats=off,rota_local::fetch=info";

/// A distributed task scheduler on NATS
///
/// Start with `rota demo`, which shows what it does, or with `rota up --builtin`, which runs all of it
/// on this machine.
#[derive(Debug, Parser)]
#[command(name = "rota", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(Box<up::Args>),
    Demo(demo::Args),
    Submit(Box<submit::Args>),
    Result(Box<result::Args>),
    Explain(Box<explain::Args>),
    Bench(Box<bench::Args>),
    Simulate(Box<simulate::Args>),
    Submitter(Box<services::Submitter>),
    Scheduler(Box<services::Scheduler>),
    Worker(Box<services::Worker>),
    Monitor(Box<services::Monitor>),
    #[command(hide = true)]
    DemoWorker(Box<services::Worker>),
}

fn main() -> ExitCode {
    // A worker of `rota worker` starts this program once more.
    rota_worker::guardian_entry();
    match parse_args::<Cli>() {
        Ok(cli) => cli.command.run(),
        Err(exit) => exit,
    }
}

impl Command {
    fn run(self) -> ExitCode {
        match self {
            Self::Up(args) => {
                let format = args.log.log_format;
                run_command("up", format, |shutdown| up::run(*args, shutdown))
            }
            Self::Demo(args) => run_command("demo", LogFormat::Pretty, |shutdown| {
                demo::run(args, shutdown)
            }),
            Self::Bench(args) => run_command("bench", LogFormat::Pretty, |shutdown| {
                bench::run(*args, shutdown)
            }),
            Self::Simulate(args) => simulate::run(&args),
            Self::Submit(args) => client::run(submit::run(*args)),
            Self::Result(args) => client::run(result::run(*args)),
            Self::Explain(args) => client::run(explain::run(*args)),
            Self::Submitter(flags) => flags.run(),
            Self::Scheduler(flags) => flags.run(),
            Self::Worker(flags) => flags.run(),
            Self::Monitor(flags) => flags.run(),
            Self::DemoWorker(flags) => demo::worker(*flags),
        }
    }
}

/// A command that lives until it is done or told to stop, and speaks for itself instead of logging.
fn run_command<F, Fut>(name: &'static str, log_format: LogFormat, run: F) -> ExitCode
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let log_level = COMMAND_LOG.parse().expect("the filter is well formed");
    let log = LogOptions {
        log_format,
        log_level,
    };
    run_main(name, &log, run)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_of_all_commands_make_sense_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_commands_log_is_a_filter() {
        assert!(COMMAND_LOG.parse::<rota_service::LogFilter>().is_ok());
    }
}
