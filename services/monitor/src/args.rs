//! The monitor's flags.

use rota_service::Installation;
use rota_wire::Span;

const EVERY_MIN: Span = Span::from_ms(100);
const EVERY_MAX: Span = Span::from_secs(3_600);

/// What the monitor is told at its start.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the installation is.
    #[command(flatten)]
    pub installation: Installation,

    /// How often to sum up: rates, what runs and waits, how busy the workers are
    ///
    /// When nothing happens at all, only every twelfth summary is written.
    #[arg(long, env = "ROTA_MONITOR_EVERY", value_name = "SPAN", default_value = "5s", value_parser = parse_every)]
    pub every: Span,
}

fn parse_every(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    if (EVERY_MIN..=EVERY_MAX).contains(&span) {
        Ok(span)
    } else {
        Err("must be between 100ms and 1h".to_owned())
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
        assert_eq!(args.every, Span::from_secs(5));
    }

    #[test]
    fn a_pace_that_nobody_could_read_or_would_wait_for_is_refused() {
        for bad in ["0s", "99ms", "2h", "5"] {
            assert!(parse(&["--every", bad]).is_err(), "{bad}");
        }
        assert!(parse(&["--every", "2h"]).is_err_and(|text| text.contains("between 100ms and 1h")));
        assert!(parse(&["--every", "100ms"]).is_ok());
    }
}
