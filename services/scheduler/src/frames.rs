//! Assign frames on their way: written in the dialect of their worker, and those noticed that found nobody.
//!
//! A frame is sent so that the server answers when nobody listens on the worker's subject. Its tag then names the
//! worker and the frame, and what it carried goes elsewhere at once.

use std::collections::BTreeMap;

use rota_bus::{AckHandle, Bus, Message, SendError};
use rota_scheduler_core::{AssignFrame, Event};
use rota_wire::dispatch::{Assign, Assignment};
use rota_wire::fleet::FrameMark;
use rota_wire::{Dialect, Input, Term, WorkerId};
use tracing::debug;

use crate::messages::Messages;

/// Workers that tags can name; those beyond are sent to without a watch.
const WORKERS_MAX: usize = 65_536;
/// The bits of a tag that hold the number of a frame.
const NUMBER_BITS: u32 = 40;

pub(crate) struct Frames {
    bus: Bus,
    term: Term,
    workers: Vec<WorkerId>,
    indexes: BTreeMap<WorkerId, u64>,
    /// The most input bytes that an assignment has inline, if its worker can read it elsewhere.
    inline_bytes_max: u64,
}

impl Frames {
    pub(crate) fn new(bus: Bus, term: Term) -> Self {
        let inline_bytes_max = inline_bytes_max(bus.payload_max());
        Self {
            bus,
            term,
            workers: Vec::new(),
            indexes: BTreeMap::new(),
            inline_bytes_max,
        }
    }

    pub(crate) async fn send(
        &mut self,
        frame: AssignFrame,
        messages: &mut Messages<AckHandle>,
    ) -> Result<(), SendError> {
        let (worker, dialect, number) = (frame.worker.clone(), frame.dialect, frame.number);
        let assign = self.write(frame, messages);
        let body = match dialect {
            Dialect::V1 => assign.encode_v1(),
            Dialect::V2 => rota_wire::frame::encode(&assign),
        };
        let message = Message::new(self.bus.subjects().assign(&worker), body);
        match self.tag(&worker, number) {
            Some(tag) => self.bus.send_watched(message, tag).await,
            None => self.bus.send(message).await,
        }
    }

    /// What the core is told of a frame that found nobody.
    pub(crate) fn unreachable(&self, tag: u64) -> Option<Event> {
        let index = usize::try_from(tag >> NUMBER_BITS).ok()?;
        let worker = self.workers.get(index)?.clone();
        let frame = tag & ((1 << NUMBER_BITS) - 1);
        Some(Event::Unreachable { worker, frame })
    }

    fn tag(&mut self, worker: &WorkerId, number: u64) -> Option<u64> {
        let index = match self.indexes.get(worker) {
            Some(index) => *index,
            None if self.workers.len() < WORKERS_MAX => {
                let index = self.workers.len() as u64;
                self.workers.push(worker.clone());
                self.indexes.insert(worker.clone(), index);
                index
            }
            None => return None,
        };
        (number >> NUMBER_BITS == 0).then_some(index << NUMBER_BITS | number)
    }

    fn write(&self, frame: AssignFrame, messages: &mut Messages<AckHandle>) -> Assign {
        let AssignFrame {
            worker,
            dialect,
            number,
            settled,
            revoked,
            suspended,
            resumed,
            tasks,
        } = frame;
        let mut assignments = Vec::with_capacity(tasks.len());
        for placed in tasks {
            let seq = placed.holding.delivery.seq;
            let task = placed.task;
            let Some(input) = messages.assign(seq, placed.estimate) else {
                // The worker will not list it, and the core has it delivered again.
                debug!(seq, "an assigned task has no message here");
                continue;
            };
            debug!(task = %task.id, kind = %task.kind, attempt = task.attempt, %worker, "assigned");
            assignments.push(Assignment {
                holding: placed.holding,
                id: task.id.clone(),
                kind: task.kind.clone(),
                attempt: task.attempt,
                timeout: task.options.timeout,
                estimate: placed.estimate,
                submitted: task.submitted,
                traceparent: task.options.traceparent.clone(),
                priority: Some(task.options.priority),
                input: self.fitting(input, dialect),
            });
        }
        Assign {
            mark: FrameMark {
                term: self.term,
                number,
            },
            settled,
            revoked,
            suspended,
            resumed,
            tasks: assignments,
        }
    }

    fn fitting(&self, input: Input, dialect: Dialect) -> Input {
        let bytes = input.bytes();
        match dialect {
            Dialect::V2 if bytes > self.inline_bytes_max => Input::InStream { bytes },
            Dialect::V1 | Dialect::V2 => input,
        }
    }
}

/// A frame of one such input, and what the core adds to it, fits into a message.
const fn inline_bytes_max(payload_max: usize) -> u64 {
    payload_max as u64 / 4
}
