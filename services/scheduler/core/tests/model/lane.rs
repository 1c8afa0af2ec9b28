//! One lane of ROTA_READY as JetStream keeps it: a work queue behind one pull consumer.
//!
//! Modelled on what was seen on a server: what was nak'ed is handed out before anything new; a reset
//! makes everything un-acked new to the consumer, with its count begun anew, and until a message is
//! handed out again its acks and naks are not heard.

use std::collections::{BTreeMap, VecDeque};

use rota_wire::{Delivery, TaskId, TaskSpec};

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
    /// Whether it has a consumer.
    pub(crate) consumer: bool,
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
        (self.credits, self.lost, self.open) = (0, 0, true);
        self.consumer = true;
        let unacked = self.make_all_new();
        if std::mem::take(&mut self.forgotten) {
            (0, 0)
        } else {
            (unacked, self.delivered_to)
        }
    }

    /// Makes everything un-acked new to the consumer, and tells how many that are.
    pub(crate) fn make_all_new(&mut self) -> u32 {
        self.again.clear();
        let mut unacked = 0;
        for (seq, message) in &mut self.messages {
            (message.place, message.count, message.owed) = (Place::New, 0, false);
            unacked += u32::from(*seq <= self.delivered_to);
        }
        unacked
    }

    /// Deletes the consumer, unless something is un-acked.
    pub(crate) fn close(&mut self) -> bool {
        // After a reset by somebody else the server does not know what it had handed out before, and nobody could
        // tell a leader that comes later. That is not asked for here.
        let mut messages = self.messages.iter();
        if messages.any(|(seq, message)| message.place != Place::New || *seq <= self.delivered_to) {
            return false;
        }
        (self.credits, self.lost, self.open) = (0, 0, false);
        (self.consumer, self.forgotten) = (false, true);
        true
    }

    /// The tasks of which there is a message.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &TaskId> {
        self.messages.values().map(|message| &message.spec.id)
    }

    /// What may be taken out by hand and is missed by nobody for ever.
    pub(crate) fn to_purge(&self) -> Vec<u64> {
        let those = self.messages.iter();
        let those = those.filter(|(_, message)| message.place != Place::Again && !message.owed);
        those.map(|(seq, _)| *seq).collect()
    }

    /// Whether anything was ever handed out.
    pub(crate) const fn was_pulled(&self) -> bool {
        self.delivered_to > 0
    }

    pub(crate) fn remove(&mut self, seq: u64) {
        self.messages.remove(&seq);
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
