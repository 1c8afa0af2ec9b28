//! The streams and the lease bucket with their exact settings: created by whoever starts first, compared
//! ever after.
//!
//! A stream that differs is an error that names the field. Nothing is changed silently: an operator who
//! meant it changes the setting of Rota, one who did not finds out before a task is lost. Only the limits
//! of size and age may be wider than ours: they are an operator's to raise with `nats stream edit`.
//!
//! The server sets the space of a stream aside when it is made. So a full queue never takes the space of
//! results, without which it could not be emptied.

mod ensure;

#[cfg(feature = "memory")]
pub(crate) use self::ensure::{lease_bucket, memory_bucket};

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::limit::Cause;
use crate::subjects::Subjects;

const MIB: i64 = 1024 * 1024;
const GIB: i64 = 1024 * MIB;
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a submitter's `Nats-Msg-Id` is remembered by the door itself.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The most results kept; each takes about 250 bytes of the server's memory beside its bytes on disk.
const RESULTS_MAX: i64 = 2_000_000;
/// The most lanes: each is a consumer of ROTA_READY.
pub(crate) const LANES_MAX: i32 = 10_000;
/// A lease that is not renewed for so long is free.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(5);

/// What an installation chooses for its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOptions {
    /// Servers that keep each stream: 1, 3 or 5.
    pub replicas: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { replicas: 1 }
    }
}

/// The streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamName {
    /// The door.
    Intake,
    /// What waits for its time.
    Schedule,
    /// The task queue.
    Ready,
    /// Results.
    Results,
    /// Dead letters.
    Dead,
    /// What happened.
    Events,
}

impl StreamName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Intake,
        Self::Schedule,
        Self::Ready,
        Self::Results,
        Self::Dead,
        Self::Events,
    ];

    /// The stream's own part of its name.
    #[must_use]
    pub const fn part(self) -> &'static str {
        match self {
            Self::Intake => "INTAKE",
            Self::Schedule => "SCHEDULE",
            Self::Ready => "READY",
            Self::Results => "RESULTS",
            Self::Dead => "DEAD",
            Self::Events => "EVENTS",
        }
    }

    pub(crate) fn config(self, subjects: &Subjects, options: StreamOptions) -> Config {
        let base = Config {
            name: subjects.stream(self.part()),
            storage: StorageType::File,
            num_replicas: options.replicas,
            allow_direct: true,
            duplicate_window: DUPLICATE_WINDOW,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_bytes: -1,
            max_message_size: -1,
            max_consumers: -1,
            ..Config::default()
        };
        let over = |names: &[crate::Subject]| names.iter().map(ToString::to_string).collect();
        match self {
            Self::Intake => Config {
                subjects: over(&[subjects.submissions()]),
                retention: RetentionPolicy::WorkQueue,
                discard: DiscardPolicy::New,
                max_bytes: GIB,
                ..base
            },
            Self::Schedule => Config {
                subjects: over(&[subjects.scheduled(), subjects.all_due()]),
                retention: RetentionPolicy::WorkQueue,
                allow_message_schedules: true,
                allow_rollup: true,
                ..base
            },
            Self::Ready => Config {
                subjects: over(&[subjects.all_ready()]),
                retention: RetentionPolicy::WorkQueue,
                discard: DiscardPolicy::New,
                max_bytes: 2 * GIB,
                max_consumers: LANES_MAX,
                ..base
            },
            Self::Results => Config {
                subjects: over(&[subjects.results()]),
                max_messages_per_subject: 1,
                max_messages: RESULTS_MAX,
                max_bytes: 2 * GIB,
                max_age: 24 * HOUR,
                ..base
            },
            Self::Dead => Config {
                subjects: over(&[subjects.all_dead()]),
                max_bytes: GIB,
                max_age: 30 * 24 * HOUR,
                ..base
            },
            Self::Events => Config {
                subjects: over(&[subjects.all_events()]),
                max_bytes: 256 * MIB,
                max_age: HOUR,
                ..base
            },
        }
    }
}

/// Why the streams are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A stream or bucket is there with another setting.
    #[error(
        "stream {stream} exists with {field} = {found}, but Rota needs {wanted}: change it with \
         `nats stream edit`, or give this installation a --prefix of its own"
    )]
    Differs {
        /// Which.
        stream: String,
        /// The setting.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// It cannot be created.
    #[error("creating stream {stream}")]
    Create {
        /// Which.
        stream: String,
        /// Why.
        source: Cause,
    },
    /// The server has no room left for it.
    #[error(
        "creating stream {stream}, which sets {mib} MiB of storage aside: raise the server's \
         jetstream max_file_store, or free disk space"
    )]
    NoRoom {
        /// Which.
        stream: String,
        /// The space that it needs.
        mib: i64,
        /// Why.
        source: Cause,
    },
    /// It cannot be read.
    #[error("reading stream {stream}")]
    Read {
        /// Which.
        stream: String,
        /// Why.
        source: Cause,
    },
    /// A bucket cannot be created.
    #[error("creating bucket {bucket}")]
    Bucket {
        /// Which.
        bucket: String,
        /// Why.
        source: Cause,
    },
}

/// The settings that decide what is kept, refused or lost, by the server's own names.
const COMPARED: [&str; 11] = [
    "subjects",
    "retention",
    "discard",
    "storage",
    "num_replicas",
    "max_msgs_per_subject",
    "max_msg_size",
    "max_consumers",
    "duplicate_window",
    "allow_direct",
    "allow_msg_schedules",
];

/// The settings that say when something is full or too old: they may be wider, and none of these numbers
/// above zero is as wide as it gets.
const LIMITS: [&str; 3] = ["max_age", "max_bytes", "max_msgs"];

fn compare(found: &Config, wanted: &Config) -> Result<(), StreamError> {
    let plain = |config| serde_json::to_value(config).expect("a stream's settings are plain data");
    let (found, plain_wanted) = (plain(found), plain(wanted));
    let same = COMPARED.map(|field| (field, found[field] == plain_wanted[field]));
    let wide = LIMITS.map(|field| (field, is_as_wide(&found[field], &plain_wanted[field])));
    for (field, good) in same.into_iter().chain(wide) {
        if !good {
            let (is, must_be) = (&found[field], &plain_wanted[field]);
            let stream = wanted.name.clone();
            let (found, wanted) = (is.to_string(), must_be.to_string());
            return Err(StreamError::Differs {
                stream,
                field,
                found,
                wanted,
            });
        }
    }
    Ok(())
}

fn is_as_wide(found: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    let limit = |value: &serde_json::Value| match value.as_i64() {
        Some(limit) if limit > 0 => limit,
        Some(_) | None => i64::MAX,
    };
    limit(found) >= limit(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prefix;

    #[test]
    fn a_stream_that_differs_is_named_with_its_field() {
        let subjects = Subjects::new(Prefix::default());
        let wanted = StreamName::Ready.config(&subjects, StreamOptions::default());
        assert!(compare(&wanted, &wanted).is_ok());
        let found = Config {
            retention: RetentionPolicy::Limits,
            ..wanted.clone()
        };
        let error = compare(&found, &wanted).expect_err("another retention");
        let text = error.to_string();
        assert!(
            text.contains("ROTA_READY") && text.contains("retention"),
            "{text}"
        );
    }

    #[test]
    fn a_limit_may_be_wider_and_not_narrower() {
        let subjects = Subjects::new(Prefix::default());
        let wanted = StreamName::Results.config(&subjects, StreamOptions::default());
        let with = |max_bytes, max_age| Config {
            max_bytes,
            max_age,
            ..wanted.clone()
        };
        for wider in [
            with(wanted.max_bytes + 1, wanted.max_age),
            with(-1, Duration::ZERO),
        ] {
            assert!(compare(&wider, &wanted).is_ok(), "{wider:?}");
        }
        let narrower = with(wanted.max_bytes - 1, wanted.max_age);
        let error = compare(&narrower, &wanted).expect_err("less room");
        assert!(error.to_string().contains("max_bytes"), "{error}");
    }
}
