//! Sizes and ages of streams and lanes, for those who watch. Read-only, and not for every second.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use rota_wire::{Kind, Lane, Micros, Span};

use crate::connect::Bus;
use crate::lanes::lane_of_consumer;
use crate::limit::{Cause, within};
use crate::streams::{LANES_MAX, StreamName};
use crate::subjects::Subject;

/// Lanes whose oldest task is looked at at a time.
const READS_MAX: usize = 16;

/// Why something cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("inspecting {what}")]
pub struct InspectError {
    /// What was looked at.
    pub what: String,
    /// Why.
    pub source: Cause,
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
    /// When the oldest message in it was stored; nothing when it is empty.
    pub oldest: Option<Micros>,
    /// How many messages and bytes it takes; nothing where there is no limit.
    pub messages_max: Option<u64>,
    /// See there.
    pub bytes_max: Option<u64>,
    /// How long it keeps a message; nothing where that is for ever.
    pub age_max: Option<Span>,
    /// Servers that keep it.
    pub replicas: usize,
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

/// How far a lane's consumer has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    waiting: u64,
    delivered_to: u64,
}

impl Bus {
    /// The state of a stream.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn stream_state(&self, name: StreamName) -> Result<StreamState, InspectError> {
        let stream = self.subjects().stream(name.part());
        let reading = async {
            let handle = self.jetstream()?.get_stream_no_info(&stream).await?;
            let info = handle.get_info().await?;
            let oldest = micros(info.state.first_timestamp.unix_timestamp_nanos());
            Ok::<_, Cause>(StreamState {
                messages: info.state.messages,
                bytes: info.state.bytes,
                last_sequence: info.state.last_sequence,
                oldest: Some(oldest).filter(|_| info.state.messages > 0),
                messages_max: limit(info.config.max_messages),
                bytes_max: limit(info.config.max_bytes),
                age_max: Some(info.config.max_age)
                    .filter(|age| !age.is_zero())
                    .map(|age| Span::from_ms(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))),
                replicas: info.config.num_replicas,
            })
        };
        let state = within(reading).await;
        state.map_err(|source| InspectError {
            what: stream,
            source,
        })
    }

    /// All lanes with tasks in them, the age of the oldest told for each; at most as many as there may be
    /// consumers.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn lane_states(&self) -> Result<Vec<LaneState>, InspectError> {
        let failed = |source| InspectError {
            what: self.subjects().stream(StreamName::Ready.part()),
            source,
        };
        let subjects = self.subjects_with_messages(self.subjects().all_ready());
        let subjects = within(subjects).await.map_err(failed)?;
        let progress = within(self.progress()).await.map_err(failed)?;
        let lanes = subjects.into_iter().take(LANES_MAX as usize);
        let lanes = lanes.filter_map(|(subject, stored)| {
            let lane = self.subjects().parse_lane(&subject)?;
            // A lane that no scheduler has opened yet has no consumer: all of it waits.
            let progress = progress.get(&lane).copied().unwrap_or(Progress {
                waiting: stored,
                delivered_to: 0,
            });
            Some(self.lane_state(lane, progress))
        });
        stream::iter(lanes)
            .buffered(READS_MAX)
            .try_collect()
            .await
            .map_err(failed)
    }

    /// The kinds that have tasks in ROTA_READY, in order: waiting or in a worker's hands.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn waiting_kinds(&self) -> Result<Vec<Kind>, InspectError> {
        let failed = |source| InspectError {
            what: self.subjects().stream(StreamName::Ready.part()),
            source,
        };
        let subjects = self.subjects_with_messages(self.subjects().all_ready());
        let subjects = within(subjects).await.map_err(failed)?;
        let lane = |(subject, _): (String, u64)| self.subjects().parse_lane(&subject);
        let mut kinds: Vec<Kind> = subjects
            .into_iter()
            .filter_map(lane)
            .map(|lane| lane.kind)
            .collect();
        kinds.dedup();
        Ok(kinds)
    }

    /// The subjects of ROTA_READY that have messages, with their number, in order.
    pub(crate) async fn subjects_with_messages(
        &self,
        filter: Subject,
    ) -> Result<Vec<(String, u64)>, Cause> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let found = self.subjects_of(&stream, filter.as_str()).await?;
        Ok(found.into_iter().collect())
    }

    async fn progress(&self) -> Result<BTreeMap<Lane, Progress>, Cause> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let stream = self.jetstream()?.get_stream_no_info(stream).await?;
        let mut consumers = stream.consumers();
        let mut progress = BTreeMap::new();
        while let Some(info) = consumers.try_next().await? {
            if let Some(lane) = lane_of_consumer(&info.name) {
                let (waiting, delivered_to) = (info.num_pending, info.delivered.stream_sequence);
                progress.insert(
                    lane,
                    Progress {
                        waiting,
                        delivered_to,
                    },
                );
            }
        }
        Ok(progress)
    }

    async fn lane_state(&self, lane: Lane, progress: Progress) -> Result<LaneState, Cause> {
        let waiting = progress.waiting;
        let oldest = if waiting == 0 {
            None
        } else {
            let stream = self.subjects().stream(StreamName::Ready.part());
            let stream = self.jetstream()?.get_stream_no_info(stream).await?;
            let subject = self.subjects().ready(&lane).to_string();
            let next = stream.direct_get_next_for_subject(subject, Some(progress.delivered_to + 1));
            let next = within(next).await.ok();
            next.map(|message| micros(message.time.unix_timestamp_nanos()))
        };
        Ok(LaneState {
            lane,
            waiting,
            oldest,
        })
    }
}

/// The server writes -1, or nothing, where there is none.
fn limit(configured: i64) -> Option<u64> {
    u64::try_from(configured).ok().filter(|limit| *limit > 0)
}

fn micros(nanos: i128) -> Micros {
    Micros(u64::try_from(nanos / 1_000).unwrap_or(0))
}
