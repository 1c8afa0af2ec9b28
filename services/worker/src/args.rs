//! The worker's flags, the same for `rota-worker` and for programs with handlers of their own.

use std::path::PathBuf;

use rota_service::{Installation, LogOptions};
use rota_wire::{Cpu, Label, Memory, Span};

use crate::identity::WorkerName;

/// The most slots of one worker.
pub(crate) const SLOTS_MAX: u32 = 4_096;
/// How often a worker may be heard.
pub(crate) const HEARTBEAT_MIN: Span = Span::from_ms(50);
pub(crate) const HEARTBEAT_MAX: Span = Span::from_secs(10);
/// Unless something else is said.
pub(crate) const HEARTBEAT: Span = Span::from_ms(500);
pub(crate) const GRACE: Span = Span::from_secs(10);

/// What a worker is told at its start.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the installation is.
    #[command(flatten)]
    pub installation: Installation,

    /// How it logs.
    #[command(flatten)]
    pub log: LogOptions,

    /// Name of this worker; its id is the name and six characters drawn at each start
    ///
    /// By default the name of the machine.
    #[arg(long, env = "ROTA_WORKER_NAME", value_name = "NAME")]
    pub name: Option<WorkerName>,

    /// How many attempts run at once, 1 to 4096; by default as many as there are cores
    #[arg(long, env = "ROTA_WORKER_SLOTS", value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_MAX)))]
    pub slots: Option<u32>,

    /// File that declares which commands run for which kinds
    #[arg(long, env = "ROTA_WORKER_HANDLERS", value_name = "FILE")]
    pub handlers: Option<PathBuf>,

    /// Also run the built-in kinds: echo, fail, noop, sha256 and sleep
    #[arg(long)]
    pub builtin: bool,

    /// How often it tells its load and what it holds, 50ms to 10s
    ///
    /// A worker that misses three heartbeats counts as lost.
    #[arg(long, env = "ROTA_WORKER_HEARTBEAT", value_name = "SPAN",
        default_value_t = HEARTBEAT, value_parser = parse_heartbeat)]
    pub heartbeat: Span,

    /// How long attempts may go on when it is told to stop; then they are handed back
    #[arg(long, env = "ROTA_WORKER_GRACE", value_name = "SPAN",
        default_value_t = GRACE, value_parser = Span::parse)]
    pub grace: Span,

    /// Cores that it may give to attempts that ask for some, such as `4` or `500m`; by default all
    ///
    /// Of several workers on one machine each has its share only if it is told so.
    #[arg(long, env = "ROTA_CPU", value_name = "CORES")]
    pub cpu: Option<Cpu>,

    /// Memory that it may give to attempts that ask for some, such as `8GiB`; by default all
    #[arg(long, env = "ROTA_MEMORY", value_name = "BYTES")]
    pub memory: Option<Memory>,

    /// What this worker carries, such as `gpu` or `zone=eu`; repeatable
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    pub labels: Vec<Label>,
}

fn parse_heartbeat(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    if (HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&span) {
        Ok(span)
    } else {
        Err("must be between 50ms and 10s".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &[&str]) -> Result<Args, String> {
        let args = std::iter::once("rota-worker").chain(flags.iter().copied());
        let parsed = Cli::try_parse_from(args);
        parsed
            .map(|cli| cli.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_make_sense_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_flags_a_worker_is_heard_twice_a_second_and_has_ten_seconds_to_end() {
        let args = parse(&[]).expect("the defaults are good");
        assert_eq!(args.heartbeat, Span::from_ms(500));
        assert_eq!(args.grace, Span::from_secs(10));
        assert_eq!((args.slots, args.builtin), (None, false));
        assert_eq!((args.cpu, args.memory), (None, None));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_with_the_rule() {
        for (flag, bad, rule) in [
            ("--slots", "0", "1..=4096"),
            ("--slots", "4097", "1..=4096"),
            ("--heartbeat", "49ms", "between 50ms and 10s"),
            ("--heartbeat", "11s", "between 50ms and 10s"),
            ("--grace", "soon", "span"),
            ("--replicas", "2", "1, 3 or 5"),
            ("--name", "a b", "1 to 57"),
            ("--label", "zone=", "key or key=value"),
            ("--cpu", "two", "cores such as 2, 0.5 or 500m"),
            ("--memory", "1.5GiB", "bytes, with a unit"),
        ] {
            let told = parse(&[flag, bad]).expect_err("out of bounds");
            assert!(told.contains(rule), "{flag} {bad}: {told}");
        }
    }

    #[test]
    fn labels_may_be_given_several_times() {
        let args = parse(&["--label", "gpu", "--label", "zone=eu"]).expect("good");
        let labels: Vec<_> = args.labels.iter().map(Label::as_str).collect();
        assert_eq!(labels, ["gpu", "zone=eu"]);
    }
}
