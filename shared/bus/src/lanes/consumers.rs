//! Lanes and their consumers: which there are, opening, closing, and how their inputs come.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Info, pull};
use rota_wire::{Kind, Lane, Priority, Span};
use serde::de::IgnoredAny;

use super::{Closed, LaneError, LaneInputs, Opened};
use crate::connect::Bus;
use crate::limit::{Cause, within};
use crate::streams::StreamName;
use crate::subjects::Subject;

/// A delivery that no leader answers comes again after this. Nobody counts on it: a new leader resets the lane,
/// and a leader gives back what a worker lost. It is long, so that no healthy task's message comes again
/// while it runs, with all its input.
const ACK_WAIT: Duration = Duration::from_secs(24 * 3_600);
/// The consumer's own note of the last sequence that it was ever given, kept across resets.
const DELIVERED_TO: &str = "rota_delivered_to";
/// The most messages that may be delivered and not acked in one lane. The scheduler takes far fewer, so the
/// server never holds back what is left because of it.
const IN_FLIGHT_MAX: i64 = 1_000_000;
/// How long a lane hands out nothing while it is seen whether it can be closed. Should its closer die, it goes
/// on by itself.
const CLOSING: Span = Span::from_secs(5);

impl Bus {
    /// The lanes that have messages now, in order.
    ///
    /// # Errors
    /// [`LaneError::List`] when the server does not tell.
    pub async fn lanes(&self) -> Result<Vec<Lane>, LaneError> {
        self.lanes_on(self.subjects().all_ready()).await
    }

    /// The lanes of a kind that have messages now, in order.
    ///
    /// # Errors
    /// [`LaneError::List`] when the server does not tell.
    pub async fn lanes_of(&self, kind: &Kind) -> Result<Vec<Lane>, LaneError> {
        self.lanes_on(self.subjects().ready_of(kind)).await
    }

    async fn lanes_on(&self, filter: Subject) -> Result<Vec<Lane>, LaneError> {
        let found = within(self.subjects_with_messages(filter)).await;
        let found = found.map_err(|source| LaneError::List { source })?;
        let lane = |(name, _): (String, u64)| self.subjects().parse_lane(&name);
        Ok(found.into_iter().filter_map(lane).collect())
    }

    /// The lanes that have a consumer, in order: those that some leader has opened and none has closed.
    ///
    /// # Errors
    /// [`LaneError::List`] when the server does not tell.
    pub async fn existing_lanes(&self) -> Result<Vec<Lane>, LaneError> {
        let ready = self.ready();
        let names = within(self.consumer_names(&ready)).await;
        let names = names.map_err(|source| LaneError::List { source })?;
        let mut lanes: Vec<Lane> = names.iter().filter_map(|n| lane_of_consumer(n)).collect();
        lanes.sort();
        Ok(lanes)
    }

    /// Opens a lane: makes its consumer, or resets the one that earlier terms have left, so that all
    /// that is not acked comes again.
    ///
    /// # Errors
    /// [`LaneError::Open`] when the server refuses or does not answer.
    pub async fn open_lane(&self, lane: &Lane) -> Result<Opened, LaneError> {
        let opened = within(self.reset_consumer(lane)).await;
        opened.map_err(|source| LaneError::Open {
            lane: lane.clone(),
            source,
        })
    }

    /// A reset makes the consumer forget how far it had come. If the one who reset it dies before all has
    /// come again, the next would take the rest for new. So the mark is kept beside it, and written first.
    async fn reset_consumer(&self, lane: &Lane) -> Result<Opened, Cause> {
        let name = consumer_name(lane);
        let ready = self.ready();
        let mut config = self.consumer_config(lane);
        let Some(found) = self.consumer_info(&ready, &name).await? else {
            self.make_consumer(&ready, config).await?;
            return Ok(Opened {
                unacked: 0,
                delivered_to: 0,
                inputs: LaneInputs::Along,
            });
        };
        let progress = Progress::of(&found);
        let (key, mark) = (DELIVERED_TO.to_owned(), progress.delivered_to().to_string());
        config.metadata.insert(key, mark);
        config.headers_only = found.config.headers_only;
        self.make_consumer(&ready, config).await?;
        if progress.came > 0 {
            self.reset_consumer_of(&ready, &name).await?;
        }
        Ok(Opened {
            unacked: u32::try_from(progress.unacked()).unwrap_or(u32::MAX),
            delivered_to: progress.delivered_to(),
            inputs: if found.config.headers_only {
                LaneInputs::Apart
            } else {
                LaneInputs::Along
            },
        })
    }

    /// Closes a lane that nothing is read from: deletes its consumer, unless something that it delivered is
    /// not acked. Its messages stay, and whoever opens it again gets them. To be asked only for lanes that
    /// [`LaneReader::remove`](super::LaneReader::remove) was told of.
    ///
    /// # Errors
    /// [`LaneError::Close`] when the server refuses or does not answer; it is as it was, or hands out nothing
    /// for some seconds.
    pub async fn close_lane(&self, lane: &Lane) -> Result<Closed, LaneError> {
        let closed = within(self.delete_consumer(lane)).await;
        closed.map_err(|source| LaneError::Close {
            lane: lane.clone(),
            source,
        })
    }

    /// Pauses it first: a pull that is still under way would take a message between the look and the end.
    async fn delete_consumer(&self, lane: &Lane) -> Result<Closed, Cause> {
        let name = consumer_name(lane);
        let ready = self.ready();
        match self.consumer_info(&ready, &name).await? {
            None => return Ok(Closed::Yes),
            Some(found) if Progress::of(&found).unacked() > 0 => return Ok(Closed::InUse),
            Some(_) => {}
        }
        let until = self.server_now().await.plus(CLOSING);
        self.pause_consumer(&name, format!(r#"{{"pause_until":"{until}"}}"#))
            .await?;
        match self.consumer_info(&ready, &name).await? {
            None => return Ok(Closed::Yes),
            Some(found) if Progress::of(&found).unacked() > 0 => {
                self.pause_consumer(&name, String::new()).await?;
                return Ok(Closed::InUse);
            }
            Some(_) => {}
        }
        self.delete_consumer_of(&ready, &name).await?;
        Ok(Closed::Yes)
    }

    async fn pause_consumer(&self, name: &str, body: String) -> Result<(), Cause> {
        let stream = self.subjects().stream(StreamName::Ready.part());
        let call = format!("CONSUMER.PAUSE.{stream}.{name}");
        self.api::<IgnoredAny>(&call, body).await?;
        Ok(())
    }

    /// How many messages of a lane are delivered and not acked, as its consumer has it; nothing when it has
    /// no consumer. More than are held, for longer than an ack is under way, are deliveries or acks that were
    /// lost between servers: opening the lane anew brings them again.
    ///
    /// # Errors
    /// [`LaneError::Inspect`] when the server does not tell.
    pub async fn lane_unacked(&self, lane: &Lane) -> Result<Option<u64>, LaneError> {
        let name = consumer_name(lane);
        let ready = self.ready();
        let looking = self.consumer_info(&ready, &name);
        let found = within(looking).await.map_err(|source| LaneError::Inspect {
            lane: lane.clone(),
            source,
        })?;
        Ok(found.map(|found| Progress::of(&found).unacked()))
    }

    /// Changes how the inputs of a lane come, from the next message on; false when it has no consumer.
    pub(super) async fn set_lane_inputs(
        &self,
        lane: &Lane,
        inputs: LaneInputs,
    ) -> Result<bool, Cause> {
        let setting = async {
            let ready = self.ready();
            let name = consumer_name(lane);
            let Some(found) = self.consumer_info(&ready, &name).await? else {
                return Ok(false);
            };
            let mut config = self.consumer_config(lane);
            config.metadata = found.config.metadata;
            config.metadata.retain(|name, _| name == DELIVERED_TO);
            config.headers_only = inputs == LaneInputs::Apart;
            self.make_consumer(&ready, config).await?;
            Ok::<_, Cause>(true)
        };
        within(setting).await
    }

    /// Whether a lane has a consumer.
    pub(super) async fn has_consumer(&self, lane: &Lane) -> Result<bool, Cause> {
        let name = consumer_name(lane);
        let ready = self.ready();
        Ok(within(self.consumer_info(&ready, &name)).await?.is_some())
    }

    fn ready(&self) -> String {
        self.subjects().stream(StreamName::Ready.part())
    }

    fn consumer_config(&self, lane: &Lane) -> pull::Config {
        pull::Config {
            durable_name: Some(consumer_name(lane)),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: IN_FLIGHT_MAX,
            max_waiting: 4_096,
            filter_subject: self.subjects().ready(lane).to_string(),
            ..pull::Config::default()
        }
    }
}

/// How far a consumer has come.
struct Progress {
    /// The last sequence that it delivered since it was last reset.
    came: u64,
    /// The last that it had delivered before.
    mark: u64,
    pending: u64,
    not_acked: u64,
}

impl Progress {
    fn of(info: &Info) -> Self {
        let mark = info.config.metadata.get(DELIVERED_TO);
        Self {
            came: info.delivered.stream_sequence,
            mark: mark.and_then(|mark| mark.parse().ok()).unwrap_or(0),
            pending: info.num_pending,
            not_acked: u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX),
        }
    }

    fn delivered_to(&self) -> u64 {
        self.came.max(self.mark)
    }

    /// At most so many were delivered and are not acked: below the mark nothing tells which of those that
    /// have not come yet are acked or new.
    fn unacked(&self) -> u64 {
        let not_come = if self.came < self.mark {
            self.pending
        } else {
            0
        };
        self.not_acked.saturating_add(not_come)
    }
}

/// The name of a lane's consumer.
pub(super) fn consumer_name(lane: &Lane) -> String {
    format!("lane_{}_{}", lane.kind, lane.priority)
}

/// The lane of a consumer; nothing when it is not one of ours.
pub(crate) fn lane_of_consumer(name: &str) -> Option<Lane> {
    let (kind, priority) = name.strip_prefix("lane_")?.rsplit_once('_')?;
    let priority = priority.parse().ok().and_then(Priority::new)?;
    Some(Lane {
        kind: Kind::parse(kind).ok()?,
        priority,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_named_for_its_lane_and_read_back() {
        let kind = Kind::parse("send_mail-2").expect("good");
        let lane = Lane {
            kind,
            priority: Priority::MAX,
        };
        assert_eq!(lane_of_consumer(&consumer_name(&lane)), Some(lane));
        for foreign in ["submitter", "lane_a", "lane_a_10", "lane__1", "lane_A_1"] {
            assert_eq!(lane_of_consumer(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn below_its_mark_a_consumer_may_owe_all_that_has_not_come() {
        let progress = |came, mark| Progress {
            came,
            mark,
            pending: 7,
            not_acked: 2,
        };
        assert_eq!(progress(9, 8).unacked(), 2);
        assert_eq!(progress(3, 8).unacked(), 9);
        assert_eq!(progress(3, 8).delivered_to(), 8);
    }
}
