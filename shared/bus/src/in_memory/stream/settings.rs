//! What a stream is told to do, read from the request that makes it.

use serde_json::Value;

use super::super::packet::Fault;

/// When a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Retention {
    /// When it is too old or there is no room.
    Limits,
    /// When it is acked.
    WorkQueue,
}

/// The settings that the model heeds, and all of them as they came.
#[derive(Debug, Clone)]
pub(in super::super) struct StreamSettings {
    pub(in super::super) name: String,
    pub(in super::super) subjects: Vec<String>,
    pub(in super::super) retention: Retention,
    pub(in super::super) discards_new: bool,
    pub(in super::super) max_msgs: Option<u64>,
    pub(in super::super) max_msgs_per_subject: Option<u64>,
    pub(in super::super) max_bytes: Option<u64>,
    pub(in super::super) max_msg_size: Option<u64>,
    /// In microseconds.
    pub(in super::super) max_age: Option<u64>,
    /// In microseconds.
    pub(in super::super) duplicate_window: u64,
    pub(in super::super) schedules: bool,
    pub(in super::super) first_seq: u64,
    pub(in super::super) told: Value,
}

/// The window when none is set: two minutes.
const DUPLICATE_WINDOW: u64 = 120_000_000;

impl StreamSettings {
    pub(in super::super) fn read(name: &str, told: Value) -> Result<Self, Fault> {
        let number = |field: &str| told[field].as_i64().filter(|n| *n > 0);
        let limit = |field: &str| number(field).and_then(|n| u64::try_from(n).ok());
        let subjects = told["subjects"].as_array().into_iter().flatten();
        let discards_new = told["discard"] == "new";
        let schedules = told["allow_msg_schedules"] == true;
        if schedules && discards_new {
            let text = "message scheduling cannot use discard new";
            return Err(Fault::new(400, 10_052, text));
        }
        Ok(Self {
            name: name.to_owned(),
            subjects: subjects
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            retention: match told["retention"].as_str() {
                Some("workqueue") => Retention::WorkQueue,
                _ => Retention::Limits,
            },
            discards_new,
            max_msgs: limit("max_msgs"),
            max_msgs_per_subject: limit("max_msgs_per_subject"),
            max_bytes: limit("max_bytes"),
            max_msg_size: limit("max_msg_size"),
            max_age: limit("max_age").map(|nanos| nanos / 1_000),
            duplicate_window: limit("duplicate_window").map_or(DUPLICATE_WINDOW, |n| n / 1_000),
            schedules,
            first_seq: limit("first_seq").unwrap_or(1),
            told,
        })
    }
}
