//! Reads all lanes of one leader through one subscription.
//!
//! ```text
//! pull(lane, n) ──► wanted ──budget──► pull at the server ──► Delivered
//!                                        └──► PullEnded: nothing was left, or it was cut off
//! ```
//!
//! The owner says what it wants; when the server is asked, and for how many bytes at a time, is the reader's to
//! know. Lanes with large inputs are read without them, if whoever runs the tasks can fetch them.
//!
//! What must hold: every message asked for is either delivered or told to be unused. Only the server's word
//! that there is nothing is told as [`PullEnd::Nothing`].

mod asking;
mod statuses;
mod switching;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use async_nats::Message as ClientMessage;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rota_wire::{Input, Lane};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use self::switching::ErrandEnd;
use super::budget::{Budget, Pace};
use super::consumers::consumer_name;
use super::messages::{AckSubject, NAK, parse_ack};
use super::pulls::PullBook;
use super::sizes::Mean;
use super::{AckHandle, Delivered, LaneInputs, Opened};
use crate::client::Subscriber;
use crate::connect::Bus;
use crate::lease::LeaseValidity;
use crate::send::{SendError, arrived};
use crate::streams::StreamName;

/// How long the server keeps a pull. A leader that died leaves no longer-lived ones behind, and one that a
/// server took with it is not missed for longer.
pub const PULL_LIFETIME: Duration = Duration::from_secs(5);
/// What a message is beside its headers and body: subjects.
const SUBJECTS_BYTES_MAX: usize = 1024;
/// The size of a message's body, when the body stays in the stream.
const MESSAGE_SIZE: &str = "Nats-Msg-Size";

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
        /// Why.
        end: PullEnd,
    },
    /// The lane must be opened again: its consumer is gone, or another server answers for it, and what was on
    /// its way there and from there may be lost.
    Gone {
        /// Which lane.
        lane: Lane,
    },
}

/// Why messages that were asked for are not coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEnd {
    /// There was nothing left in the lane.
    Nothing,
    /// The server cannot serve the lane now, or was not heard of: there may be more.
    Cut,
}

/// Whether inputs may be left in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputPolicy {
    /// They come with their messages: somebody who runs tasks cannot fetch them.
    WithMessages,
    /// Large ones may be left.
    MayBeLeft,
}

/// Reads all lanes of one leader.
pub struct LaneReader {
    bus: Bus,
    inbox: String,
    messages: Subscriber,
    elections: Subscriber,
    lanes: BTreeMap<Lane, usize>,
    by_subject: HashMap<String, usize>,
    open: BTreeMap<usize, OpenLane>,
    next_index: usize,
    next_pull: u64,
    budget: Budget,
    /// The largest message that the server takes, subjects included.
    message_max: usize,
    policy: InputPolicy,
    validity: Option<LeaseValidity>,
    errands: FuturesUnordered<BoxFuture<'static, ErrandEnd>>,
    told: VecDeque<LaneEvent>,
    /// Whether a lane found no bytes left since none waits.
    short: bool,
    /// When the first of the lanes that rest may be asked again.
    rested: Option<Instant>,
}

struct OpenLane {
    lane: Lane,
    request_subject: String,
    subject: String,
    pulls: PullBook,
    pace: Pace,
    inputs: LaneInputs,
    /// Of what comes over the connection.
    messages: Mean,
    /// Of what tasks are given.
    input_sizes: Mean,
    /// A grant below this has brought nothing.
    least: usize,
    /// Whether it stands in the budget's queue.
    queued: bool,
    /// It is not asked before: it is being changed, or the server was not in order.
    rests_until: Option<Instant>,
    switched: Option<Instant>,
    switching: bool,
    checking: bool,
}

impl Bus {
    /// A reader without lanes.
    ///
    /// # Errors
    /// [`SendError`] when the connection is closed.
    pub async fn lane_reader(&self) -> Result<LaneReader, SendError> {
        let inbox = self.client().new_inbox();
        let messages = self.subscribe_raw(&format!("{inbox}.*.*")).await?;
        let stream = self.subjects().stream(StreamName::Ready.part());
        let elections = statuses::elections(&stream);
        let elections = self.subscribe_raw(&elections).await?;
        let message_max = self.payload_max() + SUBJECTS_BYTES_MAX;
        Ok(LaneReader {
            bus: self.clone(),
            inbox,
            messages,
            elections,
            lanes: BTreeMap::new(),
            by_subject: HashMap::new(),
            open: BTreeMap::new(),
            next_index: 0,
            next_pull: 0,
            budget: Budget::new(message_max),
            message_max,
            policy: InputPolicy::WithMessages,
            validity: None,
            errands: FuturesUnordered::new(),
            told: VecDeque::new(),
            short: false,
            rested: None,
        })
    }
}

impl LaneReader {
    /// Adds a lane that is open; from now on it may be pulled.
    pub fn add(&mut self, lane: Lane, opened: &Opened) {
        if self.lanes.contains_key(&lane) {
            return;
        }
        let index = self.next_index;
        self.next_index += 1;
        let stream = self.bus.subjects().stream(StreamName::Ready.part());
        let consumer = consumer_name(&lane);
        let subject = self.bus.subjects().ready(&lane).to_string();
        self.by_subject.insert(subject.clone(), index);
        self.lanes.insert(lane.clone(), index);
        let open = OpenLane {
            lane,
            request_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            subject,
            pulls: PullBook::default(),
            pace: Pace::Idle,
            inputs: opened.inputs,
            messages: Mean::default(),
            input_sizes: Mean::default(),
            least: 0,
            queued: false,
            rests_until: None,
            switched: None,
            switching: false,
            checking: false,
        };
        self.open.insert(index, open);
        self.reconsider_inputs(index);
    }

    /// Takes a lane off, so that it may be closed. What still comes of it is given back.
    pub fn remove(&mut self, lane: &Lane) {
        let Some(index) = self.lanes.remove(lane) else {
            return;
        };
        if let Some(open) = self.open.remove(&index) {
            self.by_subject.remove(&open.subject);
            self.budget.adjust(open.pulls.held(), 0);
        }
    }

    /// From now on no pull outlives a lease. The next holder's reset leaves pulls waiting, and one of ours would
    /// take what is delivered anew.
    pub fn set_lease(&mut self, validity: LeaseValidity) {
        self.validity = Some(validity);
    }

    /// Says whether inputs may be left in the stream. Until it is said, they may not.
    pub fn set_inputs(&mut self, policy: InputPolicy) {
        if std::mem::replace(&mut self.policy, policy) != policy {
            let lanes: Vec<usize> = self.open.keys().copied().collect();
            for index in lanes {
                self.reconsider_inputs(index);
            }
        }
    }

    /// Bytes that may be on their way to this reader.
    #[must_use]
    pub const fn outstanding_bytes(&self) -> usize {
        self.budget.held()
    }

    /// Asks for more messages of a lane.
    ///
    /// # Errors
    /// [`SendError`] when the connection takes no more.
    pub async fn pull(&mut self, lane: &Lane, count: u32) -> Result<(), SendError> {
        let Some(&index) = self.lanes.get(lane) else {
            debug!(%lane, "asked to pull a lane that is not open");
            return Ok(());
        };
        if let Some(open) = self.open.get_mut(&index) {
            open.pulls.want(count);
        }
        self.enqueue(index);
        self.ask_waiting().await
    }

    /// The next event; nothing once the connection is closed for good. Safe to cancel.
    pub async fn next(&mut self) -> Option<LaneEvent> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Some(event);
            }
            if let Err(error) = self.ask_waiting().await {
                debug!(%error, "a pull is not sent");
            }
            let rested = self.rested;
            tokio::select! {
                biased;
                Some(end) = self.errands.next() => self.errand_done(end),
                Some(election) = self.elections.next() => self.elected(&election),
                message = self.messages.next() => {
                    if let Some(event) = self.read(message?) {
                        return Some(event);
                    }
                }
                () = sleep_until(rested.unwrap_or_else(Instant::now)), if rested.is_some() => {
                    self.wake_rested();
                }
            }
        }
    }

    /// The next event if its message has arrived already.
    pub fn try_next(&mut self) -> Option<LaneEvent> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Some(event);
            }
            if let Some(message) = arrived(&mut self.messages) {
                if let Some(event) = self.read(message) {
                    return Some(event);
                }
            } else if let Some(election) = arrived(&mut self.elections) {
                self.elected(&election);
            } else if let Some(end) = self.errands.next().now_or_never().flatten() {
                self.errand_done(end);
            } else {
                // What has no room in the connection now is sent by `next`.
                tokio::task::unconstrained(self.ask_waiting()).now_or_never();
                return None;
            }
        }
    }

    /// Ends the pulls whose end was never heard of. To be called now and then.
    pub fn write_off(&mut self) -> Vec<LaneEvent> {
        let now = Instant::now();
        let overdue =
            |(index, open): (&usize, &OpenLane)| open.pulls.is_overdue(now).then_some(*index);
        let overdue: Vec<usize> = self.open.iter().filter_map(overdue).collect();
        for index in overdue {
            self.cut(index);
        }
        self.told.drain(..).collect()
    }

    fn read(&mut self, mut message: ClientMessage) -> Option<LaneEvent> {
        if message.status.is_some_and(|status| status.as_u16() != 200) {
            self.read_status(&message);
            return self.told.pop_front();
        }
        let Some(&index) = self.by_subject.get(message.subject.as_str()) else {
            self.give_back(&message);
            return None;
        };
        let open = self.open.get_mut(&index)?;
        let reply = message.reply.take()?;
        let Some(AckSubject {
            delivery, pending, ..
        }) = parse_ack(&reply)
        else {
            warn!(subject = %message.subject, "a message of a lane has no ack subject");
            return None;
        };
        let held = open.pulls.held();
        open.pulls.message(message.length);
        self.budget.adjust(held, open.pulls.held());
        let headers = crate::headers::from_map(message.headers.as_ref());
        let input = match size_apart(&message) {
            Some(bytes) => Input::InStream { bytes },
            None => Input::Inline(message.payload),
        };
        open.messages.note(message.length);
        let bytes = usize::try_from(input.bytes()).unwrap_or(usize::MAX);
        open.input_sizes.note(bytes);
        open.least = 0;
        open.pace = Pace::Flowing;
        let lane = open.lane.clone();
        self.reconsider_inputs(index);
        self.enqueue(index);
        Some(LaneEvent::Delivered(Box::new(Delivered {
            lane,
            delivery,
            pending,
            headers,
            input,
            ack: AckHandle(reply),
        })))
    }

    /// A message of a lane that was taken off, by a pull that was under way.
    fn give_back(&self, message: &ClientMessage) {
        let Some(reply) = message.reply.clone().filter(|r| parse_ack(r).is_some()) else {
            return;
        };
        debug!(subject = %message.subject, "giving back a message of a lane that is not open");
        let publishing = self.bus.client().publish(reply, NAK);
        let sent = tokio::task::unconstrained(publishing).now_or_never();
        if !matches!(sent, Some(Ok(()))) {
            debug!("it comes again when its lane is opened");
        }
    }
}

/// Where a message that has come without its input tells how large that is.
fn size_apart(message: &ClientMessage) -> Option<u64> {
    let size = message.headers.as_ref()?.get(MESSAGE_SIZE)?;
    size.as_str().parse().ok()
}
