//! Logs: the flags, the start, and the panic hook.
//!
//! A service logs to its standard output, one line for each event: for people (`pretty`) or for
//! machines (`json`). What must hold: an event is exactly one line whatever its fields contain, so
//! nobody who can name a task can forge a line or reach the terminal; no panic and no last error is
//! silent, not even with the logs off; a reader that does not read stops nothing; and nothing repeats
//! faster than once in ten seconds, whatever is wrong.

mod json;
mod pretty;
mod repeats;
mod values;
mod writer;

use std::env;
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use self::json::{JsonFields, JsonLines};
use self::pretty::{PrettyFields, PrettyLines};
use self::repeats::Repeats;
use self::writer::LogWriter;
use crate::lifecycle::panic_message;

const HEADING: &str = "Logs";

/// Holds unless the filter names async_nats itself: at `info` the client tells each reconnect, as
/// our bus does.
const QUIET_CLIENT: &str = "async_nats=warn";

/// Where lines come from that tell what is missing in the log.
const LEFT_OUT_TARGET: &str = "rota_service::left_out";

/// The flags by which every service logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct LogOptions {
    /// Log lines for people or for machines
    #[arg(
        long,
        help_heading = HEADING,
        env = "ROTA_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub log_format: LogFormat,

    /// What to log: off, error, warn, info, debug, trace, or levels by module
    ///
    /// By module as in `info,rota_bus=debug`. The NATS client is kept at warn unless it is named,
    /// as in `debug,async_nats=debug`.
    #[arg(
        long,
        help_heading = HEADING,
        visible_alias = "log-filter",
        env = "ROTA_LOG",
        value_name = "FILTER",
        default_value_t
    )]
    pub log_level: LogFilter,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `09:12:13.456 INFO  redelivered task=17 attempt=2`, in colour on a terminal unless
    /// `NO_COLOR` is set
    #[default]
    Pretty,
    /// One JSON object a line: timestamp, level, target, service, message and the fields of the
    /// event
    Json,
}

/// Which events are logged, in the syntax of tracing's `EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Why a filter was refused.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// `EnvFilter` would take the word for a module and log nothing else: a misspelt level would
    /// silence a service.
    #[error("`{word}` is not a level, use off, error, warn, info, debug, trace or module=level")]
    NotALevel { word: String },
    #[error("not a log filter")]
    Syntax(#[from] tracing_subscriber::filter::ParseError),
}

/// What a line depends on besides the flags and the event.
#[derive(Debug, Clone, Copy)]
struct Style {
    service: &'static str,
    colour: Colour,
    now: fn() -> Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    On,
    Off,
}

/// The logs of a process. When this goes, the lines that are left are written, or given up after a second
/// when nobody reads them; logging itself goes on.
#[derive(Debug)]
#[must_use = "lines that are not written yet when the process ends are lost"]
pub struct Logs {
    repeats: Arc<Repeats>,
    writer: Option<LogWriter>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            writer::say_left_out(self.repeats.take_all_left_out());
            writer.flush(writer::FLUSH_MAX);
        }
    }
}

/// Starts logging to the standard output, and has panics logged as errors. To be held until the end.
///
/// Does nothing when the process already logs, so that a service can also run inside another one.
pub fn init(options: &LogOptions, service: &'static str) -> Logs {
    let style = Style {
        service,
        colour: colour_of_stdout(),
        now: Timestamp::now,
    };
    let repeats = Arc::<Repeats>::default();
    // A process without a thread to spare still says why it does not start.
    let writer = LogWriter::to_stdout(repeats.clone()).ok();
    let dispatch = match writer.clone() {
        Some(writer) => dispatch(options, style, repeats.clone(), writer),
        None => dispatch(options, style, repeats.clone(), io::stdout),
    };
    if dispatch.try_init().is_ok() {
        log_panics();
    }
    Logs { repeats, writer }
}

/// False when the filter drops even errors: what must not be lost then goes to the standard error
/// instead.
pub(crate) fn errors_are_logged() -> bool {
    tracing::enabled!(Level::ERROR)
}

fn colour_of_stdout() -> Colour {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !plain {
        Colour::On
    } else {
        Colour::Off
    }
}

fn dispatch<W>(options: &LogOptions, style: Style, repeats: Arc<Repeats>, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let Style {
        service,
        colour,
        now,
    } = style;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(options.log_level.to_env_filter())
        .with_ansi(colour == Colour::On)
        .with_writer(writer)
        // A reader that went away is no reason to fill the standard error as well.
        .log_internal_errors(false);
    match options.log_format {
        LogFormat::Pretty => builder
            .fmt_fields(PrettyFields)
            .event_format(PrettyLines { now, repeats })
            .finish()
            .into(),
        LogFormat::Json => builder
            .fmt_fields(JsonFields)
            .event_format(JsonLines {
                service,
                now,
                repeats,
            })
            .finish()
            .into(),
    }
}

fn log_panics() {
    let standard = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let wants_backtrace = env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
        if errors_are_logged() {
            log_panic(panic);
        }
        // The standard hook writes to the standard error: a backtrace does not fit into a line of
        // log.
        if wants_backtrace || !errors_are_logged() {
            standard(panic);
        }
    }));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let error = panic_message(panic.payload());
    error!(%location, thread = thread.name().unwrap_or("unnamed"), %error, "panicked");
}

impl LogFilter {
    fn to_env_filter(&self) -> EnvFilter {
        // Of two directives for the same module the later one wins, so the filter can overrule
        // ours.
        EnvFilter::builder().parse_lossy(format!("{QUIET_CLIENT},{}", self.0))
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What names a span, as `rota[lane]`, may stand without a level.
        let not_a_level = |word: &&str| {
            !word.is_empty() && !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err()
        };
        if let Some(word) = text.split(',').map(str::trim).find(not_a_level) {
            return Err(LogFilterError::NotALevel {
                word: word.to_owned(),
            });
        }
        EnvFilter::builder().parse(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
