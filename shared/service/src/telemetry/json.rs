//! A log line for machines: one flat JSON object.
//!
//! `timestamp` (RFC 3339, UTC), `level`, `target`, `service` and `message` come first and are
//! always there; the fields of the event and of the spans around it follow at the same depth. No
//! key is written twice: a field of the event wins over one of a span, an inner span over an outer
//! one, and a field that would hide one of the five gets an underscore at its end.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::repeats::{Repeats, Verdict};
use super::values::Values;

const RESERVED: [&str; 5] = ["timestamp", "level", "target", "service", "message"];

pub(super) struct JsonLines {
    pub(super) service: &'static str,
    pub(super) now: fn() -> Timestamp,
    pub(super) repeats: Arc<Repeats>,
}

/// Writes the fields of a span as an object; fields that are recorded later follow as another one.
pub(super) struct JsonFields;

impl<S, N> FormatEvent<S, N> for JsonLines
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
        let metadata = event.metadata();
        let mut line = Map::new();
        for fields in span_fields(context) {
            line.extend(fields);
        }
        line.extend(
            values
                .fields
                .into_iter()
                .map(|(name, value)| (free_name(name), value)),
        );
        let head = [
            format!("{:.3}", (self.now)()),
            metadata.level().to_string(),
            values
                .log_target
                .unwrap_or_else(|| metadata.target().to_owned()),
            self.service.to_owned(),
            values.message,
        ];
        writeln!(writer, "{}", object(&head, &line).map_err(|_| fmt::Error)?)
    }
}

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut values = Values::default();
        fields.record(&mut values);
        let fields = values
            .fields
            .into_iter()
            .map(|(name, value)| (free_name(name), value));
        write!(writer, "{}", Value::Object(fields.collect()))
    }
}

/// The fields of the spans around an event, from the outermost in.
fn span_fields<S, N>(context: &FmtContext<'_, S, N>) -> Vec<Map<String, Value>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut objects = Vec::new();
    for span in context
        .event_scope()
        .into_iter()
        .flat_map(|scope| scope.from_root())
    {
        if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
            objects.extend(
                serde_json::Deserializer::from_str(fields)
                    .into_iter()
                    .flatten(),
            );
        }
    }
    objects
}

fn free_name(name: &str) -> String {
    if RESERVED.contains(&name) {
        format!("{name}_")
    } else {
        name.to_owned()
    }
}

/// The five keys of `head` in their order, then the others.
fn object(head: &[String; 5], line: &Map<String, Value>) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    let mut map = serializer.serialize_map(None)?;
    for (key, value) in RESERVED.iter().zip(head) {
        map.serialize_entry(key, value)?;
    }
    for (key, value) in line {
        map.serialize_entry(key, value)?;
    }
    map.end()?;
    Ok(String::from_utf8(bytes).expect("serde_json writes UTF-8"))
}
