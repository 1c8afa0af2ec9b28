//! The monitor's flags.

use rota_service::ConnectOptions;
use rota_wire::Span;

const EVERY_MIN: Span = Span::from_ms(100);
const EVERY_MAX: Span = Span::from_secs(3_600);

/// What the monitor is told at its start.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the servers are and which installation is meant.
    #[command(flatten)]
    pub connect: ConnectOptions,

    /// How often to sum up: rates, what runs and waits, how busy the workers are
    ///
    /// When nothing happens at all, only every twelfth summary is written.
    #[arg(long, env = "ROTA_MONITOR_EVERY", value_name = "SPAN", default_value = "5s", value_parser = parse_every)]
    pub every: Span,

    /// Servers that keep each stream, where the streams are not there yet: 1, 3 or 5
    #[arg(long, env = "ROTA_REPLICAS", value_name = "COUNT", default_value = "1", value_parser = parse_replicas)]
    pub replicas: usize,
}

fn parse_every(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    if (EVERY_MIN..=EVERY_MAX).contains(&span) {
        Ok(span)
    } else {
        Err("must be between 100ms and 1h".to_owned())
    }
}

fn parse_replicas(text: &str) -> Result<usize, &'static str> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("must be 1, 3 or 5"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &[&str]) -> Result<Args, String> {
        let args = std::iter::once("rota-monitor").chain(flags.iter().copied());
        let parsed = Cli::try_parse_from(args);
        parsed
            .map(|cli| cli.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_it_sums_up_every_five_seconds() {
        let args = parse(&[]).expect("the defaults are good");
        assert_eq!((args.every, args.replicas), (Span::from_secs(5), 1));
    }

    #[test]
    fn a_pace_that_nobody_could_read_or_would_wait_for_is_refused() {
        for bad in ["0s", "99ms", "2h", "5"] {
            assert!(parse(&["--every", bad]).is_err(), "{bad}");
        }
        assert!(parse(&["--every", "2h"]).is_err_and(|text| text.contains("between 100ms and 1h")));
        assert!(parse(&["--every", "100ms"]).is_ok());
    }

    #[test]
    fn replicas_are_a_number_that_can_vote() {
        assert!(parse(&["--replicas", "3"]).is_ok());
        assert!(parse(&["--replicas", "2"]).is_err_and(|text| text.contains("1, 3 or 5")));
    }
}
