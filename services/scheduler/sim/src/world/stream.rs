//! The lanes and the results: what JetStream keeps.
//!
//! A message waits in its lane until the scheduler has pulled for it; one that was given back comes first.
//! It stays here until it is acked. Of several results of a task the first counts.

use std::collections::{BTreeMap, VecDeque};

use rota_scheduler_core::Event;
use rota_wire::task::Recheck;
use rota_wire::{Delivery, Lane, Micros, Span, TaskId, TaskOptions, TaskSpec};

use crate::arrivals::Arrival;

/// No attempt is stopped by its time limit here: durations are what is asked about.
const NO_TIMEOUT: Span = Span::MAX;

#[derive(Debug)]
pub(crate) struct Stream {
    lanes: Vec<LaneStream>,
    by_lane: BTreeMap<Lane, usize>,
    messages: BTreeMap<u64, Message>,
    last_seq: u64,
}

#[derive(Debug)]
struct LaneStream {
    lane: Lane,
    options: TaskOptions,
    fresh: VecDeque<u64>,
    given_back: VecDeque<u64>,
    /// Messages that were pulled and have not gone out.
    credits: u64,
}

#[derive(Debug)]
struct Message {
    arrival: Arrival,
    deliveries: u32,
    result: bool,
}

/// A task that has just got its first result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FirstResult {
    pub(crate) arrived: u64,
    pub(crate) duration: u64,
    pub(crate) priority: u8,
}

impl Stream {
    pub(crate) fn new(lanes: Vec<Lane>) -> Self {
        let by_lane = lanes.iter().cloned().zip(0..).collect();
        Self {
            lanes: lanes.into_iter().map(LaneStream::new).collect(),
            by_lane,
            messages: BTreeMap::new(),
            last_seq: 0,
        }
    }

    pub(crate) fn lane(&self, index: usize) -> &Lane {
        &self.lanes[index].lane
    }

    /// Messages that are not acked.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Tasks that have no result.
    pub(crate) fn without_result(&self) -> u64 {
        self.messages
            .values()
            .filter(|message| !message.result)
            .count() as u64
    }

    pub(crate) fn publish(&mut self, arrival: Arrival) {
        self.last_seq += 1;
        self.lanes[arrival.lane].fresh.push_back(self.last_seq);
        self.messages.insert(
            self.last_seq,
            Message {
                arrival,
                deliveries: 0,
                result: false,
            },
        );
    }

    /// More messages of a lane are wanted. Returns which lane that is.
    pub(crate) fn pull(&mut self, lane: &Lane, count: u32) -> Option<usize> {
        let index = *self.by_lane.get(lane)?;
        self.lanes[index].credits += u64::from(count);
        Some(index)
    }

    /// The next message of a lane that is wanted and there.
    pub(crate) fn deliver(&mut self, index: usize) -> Option<Event> {
        let lane = &mut self.lanes[index];
        if lane.credits == 0 {
            return None;
        }
        let seq = lane
            .given_back
            .pop_front()
            .or_else(|| lane.fresh.pop_front())?;
        lane.credits -= 1;
        let message = self.messages.get_mut(&seq)?;
        message.deliveries += 1;
        let pending = (lane.fresh.len() + lane.given_back.len()) as u64;
        Some(Event::Delivered {
            lane: lane.lane.clone(),
            delivery: Delivery {
                seq,
                count: message.deliveries,
            },
            pending,
            task: lane.spec(seq, message.arrival),
            input_bytes: 0,
        })
    }

    /// The work in a task.
    pub(crate) fn work(&self, seq: u64) -> Option<u64> {
        self.messages
            .get(&seq)
            .map(|message| message.arrival.duration)
    }

    /// Keeps a task's result, unless it has one or is settled.
    pub(crate) fn store_result(&mut self, seq: u64) -> Option<FirstResult> {
        let message = self.messages.get_mut(&seq)?;
        if message.result {
            return None;
        }
        message.result = true;
        Some(FirstResult {
            arrived: message.arrival.at,
            duration: message.arrival.duration,
            priority: self.lanes[message.arrival.lane].lane.priority.level(),
        })
    }

    pub(crate) fn has_result(&self, seq: u64) -> bool {
        self.messages.get(&seq).is_none_or(|message| message.result)
    }

    pub(crate) fn ack(&mut self, seq: u64) {
        let message = self.messages.remove(&seq);
        assert!(
            message.is_none_or(|message| message.result),
            "message {seq} was acked and its task has no result"
        );
    }

    /// A message is given back. Returns its lane.
    pub(crate) fn give_back(&mut self, seq: u64) -> Option<usize> {
        let index = self.messages.get(&seq)?.arrival.lane;
        self.lanes[index].given_back.push_back(seq);
        Some(index)
    }
}

impl LaneStream {
    fn new(lane: Lane) -> Self {
        let options = TaskOptions {
            priority: lane.priority,
            timeout: NO_TIMEOUT,
            ..TaskOptions::default()
        };
        Self {
            lane,
            options,
            fresh: VecDeque::new(),
            given_back: VecDeque::new(),
            credits: 0,
        }
    }

    fn spec(&self, seq: u64, arrival: Arrival) -> TaskSpec {
        TaskSpec {
            id: TaskId::from_sequence(seq),
            kind: self.lane.kind.clone(),
            submitted: Micros(arrival.at),
            attempt: 1,
            recheck: Recheck::Fresh,
            options: TaskOptions {
                demand: arrival.demand,
                duration: arrival.estimate,
                ..self.options.clone()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rota_wire::{Kind, Priority, Resources};

    use super::*;

    fn stream_with(count: u64) -> (Stream, Lane) {
        let kind = Kind::parse("task").expect("good");
        let lane = Lane {
            kind,
            priority: Priority::default(),
        };
        let mut stream = Stream::new(vec![lane.clone()]);
        for at in 0..count {
            stream.publish(Arrival {
                at,
                duration: 7,
                lane: 0,
                estimate: None,
                demand: Resources::NONE,
            });
        }
        (stream, lane)
    }

    fn seq_and_count(event: Option<Event>) -> Option<(u64, u32)> {
        match event {
            Some(Event::Delivered { delivery, .. }) => Some((delivery.seq, delivery.count)),
            _ => None,
        }
    }

    #[test]
    fn nothing_is_delivered_that_was_not_pulled() {
        let (mut stream, lane) = stream_with(3);
        assert_eq!(seq_and_count(stream.deliver(0)), None);
        stream.pull(&lane, 2);
        assert_eq!(seq_and_count(stream.deliver(0)), Some((1, 1)));
        assert_eq!(seq_and_count(stream.deliver(0)), Some((2, 1)));
        assert_eq!(seq_and_count(stream.deliver(0)), None);
    }

    #[test]
    fn what_was_given_back_comes_first_and_its_deliveries_are_counted() {
        let (mut stream, lane) = stream_with(2);
        stream.pull(&lane, 2);
        assert_eq!(seq_and_count(stream.deliver(0)), Some((1, 1)));
        stream.give_back(1);
        assert_eq!(seq_and_count(stream.deliver(0)), Some((1, 2)));
    }

    #[test]
    fn the_first_result_counts_and_the_second_does_not() {
        let (mut stream, _) = stream_with(1);
        assert!(stream.store_result(1).is_some());
        assert!(stream.store_result(1).is_none());
        assert_eq!(stream.without_result(), 0);
        stream.ack(1);
        assert!(stream.store_result(1).is_none(), "it is settled");
    }

    #[test]
    #[should_panic(expected = "no result")]
    fn an_ack_without_a_result_is_noticed() {
        let (mut stream, _) = stream_with(1);
        stream.ack(1);
    }
}
