//! The fields of an event or a span, collected before they are written.
//!
//! Both formats need to know all fields before the first byte: the pretty one puts the message
//! first, the JSON one must not write a key twice.

use std::error::Error;
use std::fmt::Debug;

use serde_json::Value;
use tracing::field::{Field, Visit};

use crate::chain::chain;

const LOG_TARGET: &str = "log.target";

#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) message: String,
    /// Of a record that came through the `log` crate: where it came from. Its event names the
    /// bridge.
    pub(crate) log_target: Option<String>,
    pub(crate) fields: Vec<(&'static str, Value)>,
}

impl Values {
    /// Lines like this one that were left out before it.
    pub(super) fn push_suppressed(&mut self, suppressed: u64) {
        if suppressed > 0 {
            self.fields.push(("suppressed", suppressed.into()));
        }
    }

    fn push(&mut self, field: &Field, value: Value) {
        let name = field.name();
        match name {
            "message" => self.message = text_of(value),
            LOG_TARGET => self.log_target = Some(text_of(value)),
            _ if name.starts_with("log.") => {}
            // A raw identifier (`r#type`) is a matter of Rust's grammar.
            _ => self.fields.push((name.trim_start_matches("r#"), value)),
        }
    }
}

impl Visit for Values {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.push(field, chain(value).to_string().into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, format!("{value:?}").into());
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
