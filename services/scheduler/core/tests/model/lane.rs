//! One lane of ROTA_READY as JetStream keeps it: a work queue behind one pull consumer.
//!
//! Modelled on what was seen on a server: what was nak'ed is handed out before anything new; a reset
//! makes everything un-acked new to the consumer, with its count begun anew, and until a message is
//! handed out again its acks and naks are not heard.

use std::collections::{BTreeMap, VecDeque};

use rota_wire::{Delivery, TaskSpec};

#[derive(Debug, Default)]
pub(crate) struct LaneStream {
    messages: BTreeMap<u64, Message>,
    /// To be handed out again, before anything new.
    again: VecDeque<u64>,
    /// The last message that was ever handed out.
    delivered_to: u64,
    /// Messages that were asked for.
    pub(crate) credits: u32,
    /// Messages that were asked for, handed out, and lost on their way.
    pub(crate) lost: u32,
    /// Whether the scheduler was told that the lane is open.
    pub(crate) open: bool,
    /// Whether anything was handed out since the lane was opened or a pull ended.
    pub(crate) came: bool,
    /// Its consumer was deleted, and with it the memory of what was handed out.
    pub(crate) forgotten: bool,
}

#[derive(Debug)]
struct Message {
    spec: TaskSpec,
    count: u32,
    place: Place,
    /// The scheduler cannot know of it, or the server of its answer: only the ack wait helps.
    owed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    New,
    Out,
    Again,
}

/// A message on its way to the scheduler.
#[derive(Debug)]
pub(crate) struct HandedOut {
    pub(crate) delivery: Delivery,
    pub(crate) pending: u64,
    pub(crate) spec: TaskSpec,
}

impl LaneStream {
    pub(crate) fn store(&mut self, seq: u64, spec: TaskSpec) {
        let message = Message {
            spec,
            count: 0,
            place: Place::New,
            owed: false,
        };
        self.messages.insert(seq, message);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn spec(&self, seq: u64) -> Option<&TaskSpec> {
        self.messages.get(&seq).map(|message| &message.spec)
    }

    /// The next message, if there is one and it was asked for.
    pub(crate) fn hand_out(&mut self) -> Option<HandedOut> {
        if self.credits == 0 {
            return None;
        }
        let new = |message: &Message| message.place == Place::New;
        let seq = match self.again.pop_front() {
            Some(seq) => seq,
            None => *self.messages.iter().find(|(_, message)| new(message))?.0,
        };
        self.credits -= 1;
        self.came = true;
        self.delivered_to = self.delivered_to.max(seq);
        let message = self.messages.get_mut(&seq)?;
        (message.place, message.owed) = (Place::Out, false);
        message.count += 1;
        let (count, spec) = (message.count, message.spec.clone());
        let pending = self
            .messages
            .values()
            .filter(|message| new(message))
            .count() as u64;
        Some(HandedOut {
            delivery: Delivery { seq, count },
            pending,
            spec,
        })
    }

    pub(crate) fn has_out(&self) -> bool {
        !self.out(|_| true).is_empty()
    }

    /// Whether a pull would bring anything now.
    pub(crate) fn has_more(&self) -> bool {
        let mut messages = self.messages.values();
        messages.any(|message| message.place != Place::Out)
    }

    pub(crate) fn ack(&mut self, seq: u64) {
        if self.hears_of(seq) {
            self.messages.remove(&seq);
            self.again.retain(|other| *other != seq);
        }
    }

    pub(crate) fn nak(&mut self, seq: u64) {
        if self.hears_of(seq) {
            self.hand_out_again(seq);
        }
    }

    /// The message comes again only by the ack wait.
    pub(crate) fn lose_track(&mut self, seq: u64) {
        if let Some(message) = self.messages.get_mut(&seq) {
            message.owed = true;
        }
    }

    /// The ack wait of everything that is out is over.
    pub(crate) fn ack_wait(&mut self) {
        for seq in self.out(|_| true) {
            self.hand_out_again(seq);
        }
    }

    /// The ack wait of what comes again by nothing else is over.
    pub(crate) fn ack_wait_of_owed(&mut self) {
        for seq in self.out(|message| message.owed) {
            self.hand_out_again(seq);
        }
    }

    /// What was handed out and is neither known to the scheduler nor owed to come again.
    pub(crate) fn forgotten(&self, known: impl Fn(u64) -> bool) -> Option<u64> {
        self.out(|message| !message.owed)
            .into_iter()
            .find(|seq| !known(*seq))
    }

    /// Makes the consumer anew or resets it, and tells what its opener is told.
    pub(crate) fn reset(&mut self) -> (u32, u64) {
        self.again.clear();
        (self.credits, self.lost, self.came, self.open) = (0, 0, false, true);
        let mut unacked = 0;
        for (seq, message) in &mut self.messages {
            (message.place, message.count, message.owed) = (Place::New, 0, false);
            unacked += u32::from(*seq <= self.delivered_to);
        }
        if std::mem::take(&mut self.forgotten) {
            (0, 0)
        } else {
            (unacked, self.delivered_to)
        }
    }

    fn hears_of(&self, seq: u64) -> bool {
        let message = self.messages.get(&seq);
        message.is_some_and(|message| message.place != Place::New)
    }

    fn out(&self, which: impl Fn(&Message) -> bool) -> Vec<u64> {
        self.messages
            .iter()
            .filter(|(_, message)| message.place == Place::Out && which(message))
            .map(|(seq, _)| *seq)
            .collect()
    }

    fn hand_out_again(&mut self, seq: u64) {
        if let Some(message) = self.messages.get_mut(&seq)
            && message.place == Place::Out
        {
            (message.place, message.owed) = (Place::Again, false);
            self.again.push_back(seq);
        }
    }
}
