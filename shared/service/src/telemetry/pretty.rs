//! A log line for people: `09:12:13.456 INFO  redelivered task=17 attempt=2 worker=w1`.
//!
//! Time of day in UTC, level, message, fields, then the fields of the spans around it from the
//! outermost in. No module and no span names: what a person asks for at night is in the fields.
//! Everything that is not plain is quoted, control characters are escaped.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;
use tracing::span::Record;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::repeats::{Repeats, Verdict};
use super::values::Values;

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

pub(super) struct PrettyLines {
    pub(super) now: fn() -> Timestamp,
    pub(super) repeats: Arc<Repeats>,
}

/// Writes ` key=value` for each field of a span.
pub(super) struct PrettyFields;

impl<S, N> FormatEvent<S, N> for PrettyLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut values = Values::default();
        event.record(&mut values);
        match self
            .repeats
            .admit(event.metadata(), &values, Instant::now())
        {
            // A line without a byte is none.
            Verdict::LeftOut => return Ok(()),
            Verdict::Said { suppressed } => values.push_suppressed(suppressed),
        }
        let time = (self.now)().strftime("%H:%M:%S%.3f");
        let level = *event.metadata().level();
        if writer.has_ansi_escapes() {
            write!(
                writer,
                "{DIM}{time}{RESET} {}{level:<5}{RESET} ",
                colour_of(level)
            )?;
        } else {
            write!(writer, "{time} {level:<5} ")?;
        }
        write_escaped(&mut writer, &values.message)?;
        write_fields(&mut writer, &values)?;
        write_spans(&mut writer, context)?;
        writeln!(writer)
    }
}

impl<'writer> FormatFields<'writer> for PrettyFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut values = Values::default();
        fields.record(&mut values);
        write_fields(&mut writer, &values)
    }

    // The provided one separates with a space, which each field brings along already.
    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

fn write_spans<S, N>(writer: &mut Writer<'_>, context: &FmtContext<'_, S, N>) -> fmt::Result
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    for span in context
        .event_scope()
        .into_iter()
        .flat_map(|scope| scope.from_root())
    {
        if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
            writer.write_str(fields)?;
        }
    }
    Ok(())
}

fn write_fields(writer: &mut Writer<'_>, values: &Values) -> fmt::Result {
    for (name, value) in &values.fields {
        if writer.has_ansi_escapes() {
            write!(writer, " {DIM}{name}={RESET}")?;
        } else {
            write!(writer, " {name}=")?;
        }
        match value {
            Value::String(text) => write_text(writer, text)?,
            other => write!(writer, "{other}")?,
        }
    }
    Ok(())
}

/// Bare where that leaves no doubt where the value ends, else in quotes.
fn write_text(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        return writer.write_str(text);
    }
    if is_quoted(text) {
        return write_escaped(writer, text);
    }
    writer.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(writer, "\\{c}")?,
            c => write_escaped(writer, c.encode_utf8(&mut [0; 4]))?,
        }
    }
    writer.write_char('"')
}

/// A text that `Debug` has put in quotes already, as it does with strings and paths.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return false;
    };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let closes = c == '"' || (c == '\\' && chars.next().is_none());
        if closes {
            return false;
        }
    }
    true
}

fn write_escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(writer, "{}", c.escape_default())?;
        } else {
            writer.write_char(c)?;
        }
    }
    Ok(())
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[1;31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}
