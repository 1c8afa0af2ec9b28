//! What comes of the lanes: tasks, and what is none.

use rota_bus::{AckHandle, Delivered, LaneEvent, PullEnd};
use rota_scheduler_core::Event;
use rota_wire::{Input, Lane, TaskSpec, Unreadable};
use tokio::time::Instant;
use tracing::warn;

use super::Session;
use crate::requests::Request;

impl Session {
    pub(super) fn lane_event(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Delivered(delivered) => self.delivered(*delivered),
            LaneEvent::PullEnded { lane, unused, end } => {
                let end = match end {
                    PullEnd::Nothing => rota_scheduler_core::PullEnd::Nothing,
                    PullEnd::Cut => rota_scheduler_core::PullEnd::Cut,
                };
                self.decide(Event::PullEnded { lane, unused, end });
            }
            LaneEvent::Gone { lane } => {
                warn!(%lane, "the lane's consumer is gone, making it again");
                self.flow.closed(&lane);
                self.decide(Event::LaneGone { lane });
            }
        }
    }

    fn delivered(&mut self, delivered: Delivered) {
        let Delivered {
            lane,
            delivery,
            pending,
            headers,
            input,
            ack,
        } = delivered;
        self.flow.came(&lane, delivery.seq, Instant::now());
        match TaskSpec::from_ready(&lane.kind, &headers) {
            Ok(task) => {
                let input_bytes = input.bytes();
                self.executor.messages.keep(delivery.seq, ack, input);
                self.decide(Event::Delivered {
                    lane,
                    delivery,
                    pending,
                    task,
                    input_bytes,
                });
            }
            Err(unreadable) => {
                self.unreadable(&lane, delivery.seq, ack, &unreadable);
                self.decide(Event::Unreadable {
                    lane,
                    delivery,
                    pending,
                });
            }
        }
    }

    /// What a newer Rota wrote stays un-acked: a newer leader is given it. What nobody of ours wrote is put away
    /// among the dead letters.
    fn unreadable(&mut self, lane: &Lane, seq: u64, ack: AckHandle, unreadable: &Unreadable) {
        match unreadable {
            Unreadable::Newer { .. } => {
                warn!(%lane, seq, reason = %unreadable, "left in its lane for a newer scheduler");
                self.uncounted.insert(lane.clone());
            }
            Unreadable::Malformed(_) => {
                warn!(%lane, seq, reason = %unreadable, "not a task: put away as a dead letter");
                let nothing = Input::InStream { bytes: 0 };
                self.executor.messages.keep(seq, ack, nothing);
                self.executor.requests.start(Request::StoreMalformed {
                    seq,
                    lane: lane.clone(),
                    reason: unreadable.to_string(),
                });
            }
        }
    }
}
