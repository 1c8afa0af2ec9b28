//! Sizes and ages of streams and lanes, for those who watch. Read-only, and not for every second.

use async_nats::jetstream::context::ConsumerInfoErrorKind;
use futures_util::TryStreamExt;
use rota_wire::{Lane, Micros};

use crate::connect::{Bus, NETWORK_LIMIT};
use crate::streams::StreamName;

/// The most lanes that are looked at.
const LANES_MAX: usize = 1_000;

/// Why something cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("inspecting {what}")]
pub struct InspectError {
    /// What was looked at.
    pub what: String,
    /// Why.
    pub source: async_nats::Error,
}

/// The state of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// Messages in it.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last sequence given out: messages that ever came.
    pub last_sequence: u64,
}

/// The state of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// Which.
    pub lane: Lane,
    /// Tasks that no scheduler has been given yet.
    pub waiting: u64,
    /// When the oldest of them reached its lane.
    pub oldest: Option<Micros>,
}

impl Bus {
    /// The state of a stream.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn stream_state(&self, name: StreamName) -> Result<StreamState, InspectError> {
        let stream = self.subjects().stream(name.part());
        let reading = async {
            let info = self
                .jetstream
                .get_stream_no_info(&stream)
                .await?
                .get_info()
                .await?;
            Ok(StreamState {
                messages: info.state.messages,
                bytes: info.state.bytes,
                last_sequence: info.state.last_sequence,
            })
        };
        limited(stream.clone(), reading).await
    }

    /// All lanes with tasks in them, the age of the oldest told for each.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn lane_states(&self) -> Result<Vec<LaneState>, InspectError> {
        let what = self.subjects().stream(StreamName::Ready.part());
        let subjects = limited(what, self.ready_subjects()).await?;
        let mut states = Vec::new();
        for (subject, stored) in subjects.into_iter().take(LANES_MAX) {
            if let Some(lane) = self.subjects().parse_lane(&subject) {
                states.push(limited(subject, self.lane_state(lane, stored)).await?);
            }
        }
        Ok(states)
    }

    /// The subjects of ROTA_READY that have messages, with their number.
    pub(crate) async fn ready_subjects(&self) -> Result<Vec<(String, u64)>, async_nats::Error> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let stream = self.jetstream.get_stream_no_info(stream).await?;
        let all = self.subjects().all_ready().to_string();
        let pages = stream.info_with_subjects(all).await?;
        let mut found: Vec<(String, u64)> = pages
            .map_ok(|(subject, count)| (subject, count as u64))
            .try_collect()
            .await?;
        found.sort();
        Ok(found)
    }

    async fn lane_state(&self, lane: Lane, stored: u64) -> Result<LaneState, async_nats::Error> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let stream = self.jetstream.get_stream_no_info(stream).await?;
        let consumer = crate::lanes::consumer_name(&lane);
        let (waiting, after) = match stream.consumer_info(consumer).await {
            Ok(info) => (info.num_pending, info.delivered.stream_sequence),
            // A lane that no scheduler has opened yet has no consumer: all of it waits.
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => (stored, 0),
            Err(error) => return Err(error.into()),
        };
        let oldest = if waiting == 0 {
            None
        } else {
            let subject = self.subjects().ready(&lane).to_string();
            let next = stream
                .direct_get_next_for_subject(subject, Some(after + 1))
                .await;
            next.ok().map(|message| {
                let micros = message.time.unix_timestamp_nanos() / 1_000;
                Micros(u64::try_from(micros).unwrap_or(0))
            })
        };
        Ok(LaneState {
            lane,
            waiting,
            oldest,
        })
    }
}

async fn limited<T>(
    what: String,
    reading: impl Future<Output = Result<T, async_nats::Error>>,
) -> Result<T, InspectError> {
    match tokio::time::timeout(NETWORK_LIMIT, reading).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(InspectError { what, source }),
        Err(elapsed) => Err(InspectError {
            what,
            source: elapsed.into(),
        }),
    }
}
