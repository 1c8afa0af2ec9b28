//! Reads all lanes of one leader through one subscription.
//!
//! A pull asks for so many messages and lives ten seconds at most. The reader keeps count of what is
//! still owed, so that its owner knows exactly how much may yet arrive:
//!
//! ```text
//! pull(lane, n) ──► n owed ──► Delivered: one less
//!                         └──► PullEnded { unused }: the server or the clock ended it
//! ```
//!
//! What must hold: every message asked for is either delivered or told to be unused.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use async_nats::{Message as ClientMessage, Subscriber};
use futures_util::StreamExt;
use rota_wire::{Delivery, Lane};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{AckHandle, Delivered, consumer_name};
use crate::connect::{Bus, NETWORK_LIMIT, SendError, arrived};
use crate::streams::StreamName;
use crate::subjects::Subject;

/// How long the server keeps a pull. A leader that died leaves no longer-lived ones behind.
pub const PULL_LIFETIME: Duration = Duration::from_secs(10);
/// A pull whose end was never heard of is written off so long after its lifetime.
const PULL_GRACE: Duration = Duration::from_secs(2);
/// The most bytes that one pull may bring, unless the server takes larger messages.
const PULL_BYTES: usize = 16 * 1024 * 1024;

/// What the reader tells.
#[derive(Debug)]
pub enum LaneEvent {
    /// A message.
    Delivered(Box<Delivered>),
    /// Asked for and not coming.
    PullEnded {
        /// Which lane.
        lane: Lane,
        /// How many.
        unused: u32,
    },
    /// The lane's consumer is gone; it must be opened again.
    Gone {
        /// Which lane.
        lane: Lane,
    },
}

/// Reads all lanes of one leader.
pub struct LaneReader {
    bus: Bus,
    inbox: String,
    messages: Subscriber,
    lanes: BTreeMap<Lane, OpenLane>,
    by_index: Vec<Lane>,
    next_pull: u64,
}

struct OpenLane {
    index: usize,
    request_subject: String,
    pulls: VecDeque<Pull>,
}

struct Pull {
    number: u64,
    owed: u32,
    ends: Instant,
}

impl Bus {
    /// A reader without lanes.
    ///
    /// # Errors
    /// [`SendError`] when the connection is closed.
    pub async fn lane_reader(&self) -> Result<LaneReader, SendError> {
        let inbox = self.client.new_inbox();
        let subject = Subject::raw(format!("{inbox}.*.*"));
        let subscribing = self.client.subscribe(subject.to_string());
        let messages = match tokio::time::timeout(NETWORK_LIMIT, subscribing).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(source)) => {
                return Err(SendError::Refused {
                    subject,
                    source: source.into(),
                });
            }
            Err(_) => return Err(SendError::TimedOut { subject }),
        };
        let (lanes, by_index) = (BTreeMap::new(), Vec::new());
        Ok(LaneReader {
            bus: self.clone(),
            inbox,
            messages,
            lanes,
            by_index,
            next_pull: 0,
        })
    }
}

impl LaneReader {
    /// Adds a lane that is open; from now on it may be pulled.
    pub fn add(&mut self, lane: Lane) {
        if self.lanes.contains_key(&lane) {
            return;
        }
        let stream = self.bus.subjects().stream(StreamName::Ready.part());
        let request_subject = format!(
            "$JS.API.CONSUMER.MSG.NEXT.{stream}.{}",
            consumer_name(&lane)
        );
        let open = OpenLane {
            index: self.by_index.len(),
            request_subject,
            pulls: VecDeque::new(),
        };
        self.by_index.push(lane.clone());
        self.lanes.insert(lane, open);
    }

    /// Asks for more messages of a lane.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn pull(&mut self, lane: &Lane, count: u32) -> Result<(), SendError> {
        let Some(open) = self.lanes.get_mut(lane) else {
            debug!(%lane, "asked to pull a lane that is not open");
            return Ok(());
        };
        self.next_pull += 1;
        let number = self.next_pull;
        let reply = format!("{}.{}.{number}", self.inbox, open.index);
        let mut body = String::new();
        let expires = PULL_LIFETIME.as_nanos();
        let max_bytes = PULL_BYTES.max(2 * self.bus.client.max_payload());
        let written = write!(
            body,
            r#"{{"batch":{count},"expires":{expires},"max_bytes":{max_bytes}}}"#
        );
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        let ends = Instant::now() + PULL_LIFETIME + PULL_GRACE;
        open.pulls.push_back(Pull {
            number,
            owed: count,
            ends,
        });
        let subject = open.request_subject.clone();
        let sending = self
            .bus
            .client
            .publish_with_reply(subject.clone(), reply, body.into());
        match tokio::time::timeout(NETWORK_LIMIT, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SendError::Refused {
                subject: Subject::raw(subject),
                source: source.into(),
            }),
            Err(_) => Err(SendError::TimedOut {
                subject: Subject::raw(subject),
            }),
        }
    }

    /// The next event; nothing once the connection is closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<LaneEvent> {
        loop {
            let message = self.messages.next().await?;
            if let Some(event) = self.read(message) {
                return Some(event);
            }
        }
    }

    /// The next event if its message has arrived already.
    pub fn try_next(&mut self) -> Option<LaneEvent> {
        while let Some(message) = arrived(&mut self.messages) {
            if let Some(event) = self.read(message) {
                return Some(event);
            }
        }
        None
    }

    /// Ends the pulls whose end was never heard of. To be called now and then.
    pub fn write_off(&mut self) -> Vec<LaneEvent> {
        let now = Instant::now();
        let mut events = Vec::new();
        for (lane, open) in &mut self.lanes {
            let unused: u32 = open
                .pulls
                .iter()
                .filter(|pull| pull.ends <= now)
                .map(|p| p.owed)
                .sum();
            open.pulls.retain(|pull| pull.ends > now);
            if unused > 0 {
                events.push(LaneEvent::PullEnded {
                    lane: lane.clone(),
                    unused,
                });
            }
        }
        events
    }

    fn read(&mut self, message: ClientMessage) -> Option<LaneEvent> {
        if message.status.is_some_and(|status| status.as_u16() != 200) {
            return self.read_status(&message);
        }
        let lane = self.bus.subjects().parse_lane(&message.subject)?;
        let open = self.lanes.get_mut(&lane)?;
        let reply = message.reply?;
        let Some((delivery, pending)) = parse_ack(&reply) else {
            warn!(subject = %message.subject, "a message of a lane has no ack subject");
            return None;
        };
        if let Some(pull) = open.pulls.front_mut() {
            pull.owed -= 1;
            if pull.owed == 0 {
                open.pulls.pop_front();
            }
        }
        let headers = crate::headers::from_map(message.headers.as_ref());
        let ack = AckHandle(reply);
        let payload = message.payload;
        Some(LaneEvent::Delivered(Box::new(Delivered {
            lane,
            delivery,
            pending,
            headers,
            payload,
            ack,
        })))
    }

    /// A status ends a pull: it expired (408), was served no further (409), or found nobody (503).
    fn read_status(&mut self, message: &ClientMessage) -> Option<LaneEvent> {
        let mut tokens = message.subject.rsplit('.');
        let number: u64 = tokens.next()?.parse().ok()?;
        let index: usize = tokens.next()?.parse().ok()?;
        let lane = self.by_index.get(index)?.clone();
        let open = self.lanes.get_mut(&lane)?;
        let description = message.description.as_deref().unwrap_or_default();
        debug!(%lane, status = ?message.status, description, "a pull ended");
        let position = open.pulls.iter().position(|pull| pull.number == number);
        let unused = position
            .and_then(|at| open.pulls.remove(at))
            .map_or(0, |pull| pull.owed);
        if message.status.is_some_and(|status| status.as_u16() == 503)
            || description.contains("Consumer Deleted")
        {
            self.lanes.remove(&lane);
            return Some(LaneEvent::Gone { lane });
        }
        (unused > 0).then_some(LaneEvent::PullEnded { lane, unused })
    }
}

/// Reads `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>`, also in the
/// newer form that has a domain and an account before the stream.
fn parse_ack(reply: &str) -> Option<(Delivery, u64)> {
    let tokens: Vec<&str> = reply.split('.').collect();
    let after_consumer = match tokens.len() {
        9 => 4,
        11.. => 6,
        _ => return None,
    };
    let number = |offset: usize| tokens.get(after_consumer + offset)?.parse::<u64>().ok();
    let count = u32::try_from(number(0)?).ok()?;
    Some((
        Delivery {
            seq: number(1)?,
            count,
        },
        number(4)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_ack_subjects_are_read() {
        let expected = Some((Delivery { seq: 77, count: 2 }, 5));
        assert_eq!(
            parse_ack("$JS.ACK.ROTA_READY.lane_a_5.2.77.12.1795000000000000000.5"),
            expected
        );
        let newer = "$JS.ACK.hub.szMpdrwD.ROTA_READY.lane_a_5.2.77.12.1795000000000000000.5";
        assert_eq!(parse_ack(newer), expected);
        assert_eq!(parse_ack("_INBOX.a.b"), None);
        assert_eq!(parse_ack("$JS.ACK.a.b.c.d.e.f.g"), None);
    }
}
