//! Upkeep: what a session does once a second, beside its turns.

use std::collections::BTreeMap;
use std::time::Duration;

use rota_bus::InputPolicy;
use rota_scheduler_core::Event;
use rota_wire::{Lane, Span};
use tokio::time::Instant;
use tracing::warn;

use super::Session;
use crate::executor::ActError;
use crate::flow::{Custody, Reading, Remedy};
use crate::inputs::Inputs;
use crate::requests::{LostDelivery, Request};

/// How often what was learned is stored, and what was lost.
const MEMORY_EVERY: Duration = Duration::from_secs(30);
const LOSSES_EVERY: Duration = Duration::from_secs(2);
/// Nothing has come of a lane for so long before what is un-acked in it is counted.
const QUIET: Span = Span::from_secs(3);
/// So long after a worker was heard that reads no inputs from the stream, there may be one.
const OLD_WORKER_MEMORY: Duration = Duration::from_secs(10);

impl Session {
    /// Writes pulls off, says how inputs come, stores what was learned, counts lanes at rest and reads those that flow.
    pub(super) fn look(&mut self, inputs: &mut Inputs) {
        for event in inputs.lanes.write_off() {
            self.lane_event(event);
        }
        let old = self
            .old_worker
            .is_some_and(|heard| heard.elapsed() < OLD_WORKER_MEMORY);
        let policy = if old {
            InputPolicy::WithMessages
        } else {
            InputPolicy::MayBeLeft
        };
        inputs.lanes.set_inputs(policy);
        self.executor.messages.set_policy(policy);
        self.store_memory();
        if self.audit.is_due() {
            let lanes = self.audit.take_turn(&self.quiet_lanes());
            self.executor.requests.start(Request::CountUnacked(lanes));
        }
        self.watch_flow();
    }

    fn quiet_lanes(&self) -> BTreeMap<Lane, u64> {
        let mut lanes = self.core.unacked(self.clock.now(), QUIET);
        lanes.retain(|lane, _| !self.uncounted.contains(lane));
        lanes
    }

    /// Opens lanes anew in which more is un-acked than we know of, and looks through those that are at rest.
    pub(super) fn counted(&mut self, counts: Vec<(Lane, u64, u64)>, inputs: &mut Inputs) {
        let quiet = self.quiet_lanes();
        for (lane, known, counted) in counts {
            let Some(known_now) = quiet.get(&lane) else {
                continue;
            };
            if self.audit.note(&lane, counted, known.max(*known_now)) {
                warn!(%lane, counted, known, "more is un-acked than is known: opening the lane anew");
                inputs.lanes.remove(&lane);
                self.flow.closed(&lane);
                self.decide(Event::LaneGone { lane });
            } else if counted == 0 && *known_now == 0 {
                self.executor.requests.start(Request::FindStrays(lane));
            }
        }
    }

    /// Reads the lanes that flow, and sees to what nobody has in them.
    fn watch_flow(&mut self) {
        let now = Instant::now();
        if let Some(stretches) = self.flow.begin_reading(&self.uncounted, now) {
            self.executor.requests.start(Request::ReadLanes(stretches));
        }
        let messages = &self.executor.messages;
        for (lane, seq, remedy) in self.flow.take_due(|seq| messages.custody(seq), now) {
            match remedy {
                Remedy::CallBack => {
                    let request = Request::FindDelivery { lane, seq };
                    self.executor.requests.start(request);
                }
                Remedy::SettleStray => self.settle_stray(lane, seq),
            }
        }
    }

    pub(super) fn lanes_read(&mut self, readings: Vec<Reading>) {
        let messages = &self.executor.messages;
        let custody = |seq| messages.custody(seq);
        self.flow.read(readings, custody, Instant::now());
    }

    /// Calls a message back that nobody has, if it is still so.
    pub(super) async fn delivery_found(
        &mut self,
        lane: &Lane,
        seq: u64,
        found: LostDelivery,
    ) -> Result<(), ActError> {
        match found {
            LostDelivery::Gone => {
                self.flow.clear(seq);
                self.executor.messages.forget(seq);
            }
            LostDelivery::There(ack) => {
                let custody = self.executor.messages.custody(seq);
                if self.flow.is_suspect(lane, seq, custody) {
                    warn!(%lane, seq, "a message is un-acked that nobody has: calling it back");
                    self.flow.called(seq, Instant::now());
                    self.executor.call_back(seq, &ack).await?;
                }
            }
            LostDelivery::Unanswered => {}
        }
        Ok(())
    }

    /// The core is told first, so that it does not wait for what is deleted.
    pub(super) fn settle_stray(&mut self, lane: Lane, seq: u64) {
        if self.executor.messages.custody(seq) == Custody::Held {
            return;
        }
        self.flow.clear(seq);
        self.executor.messages.forget(seq);
        self.decide(Event::Gone { seq });
        let request = Request::SettleStray { lane, seq };
        self.executor.requests.start(request);
    }

    fn store_memory(&mut self) {
        let (version, at) = self.stored;
        let due = if self.core.memory_version() == version {
            MEMORY_EVERY
        } else {
            LOSSES_EVERY
        };
        if at.elapsed() >= due {
            self.stored = (self.core.memory_version(), Instant::now());
            let memory = Box::new(self.core.memory());
            self.executor.requests.start(Request::StoreMemory(memory));
        }
    }
}
