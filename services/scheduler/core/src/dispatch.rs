//! Who gets what: the turn in which waiting tasks are placed, frames closed and lanes pulled.

use std::collections::BTreeSet;

use rota_wire::{Holding, Kind, Micros, WorkerId};

use crate::action::{Action, AssignFrame, Placed};
use crate::fleet::{Outbox, WorkerKey};
use crate::queue::Place;
use crate::scheduler::Scheduler;
use crate::tasks::{Hold, TaskState};

impl Scheduler {
    /// Decides on all that is known: to be called once after the events of a turn.
    pub fn dispatch(&mut self, _now: Micros, actions: &mut Vec<Action>) {
        self.complete_recovery(actions);
        if self.recovery.listening_until.is_none() {
            self.place_suspects(actions);
            self.place_ready(actions);
        }
        for (worker, outbox) in self.fleet.take_outgoing() {
            actions.push(assign(worker, outbox));
        }
        self.pull(actions);
    }

    /// Places waiting tasks, the most urgent of all kinds first, until none has a worker with a free slot.
    fn place_ready(&mut self, actions: &mut Vec<Action>) {
        let mut heads: BTreeSet<(Place, Kind)> = self
            .queue
            .heads()
            .map(|(place, kind)| (place, kind.clone()))
            .collect();
        while let Some(((_, seq), kind)) = heads.pop_first() {
            let Some(worker) = self.fleet.least_loaded(&kind) else {
                continue;
            };
            self.place(seq, worker, actions);
            if let Some(next) = self.queue.head(&kind) {
                heads.insert((next, kind));
            }
        }
    }

    /// Tasks under suspicion run one at a time on a worker, so that one of them cannot make another
    /// look guilty.
    fn place_suspects(&mut self, actions: &mut Vec<Action>) {
        let waiting: Vec<u64> = self.suspects.iter().copied().collect();
        for seq in waiting {
            let Some(task) = self.tasks.get(seq) else {
                continue;
            };
            let kind = task.spec.kind.clone();
            let found = self
                .fleet
                .least_loaded_where(&kind, |worker| !worker.has_suspect());
            if let Some(worker) = found {
                self.place(seq, worker, actions);
            }
        }
    }

    fn place(&mut self, seq: u64, worker: WorkerKey, actions: &mut Vec<Action>) {
        let suspect = self.suspects.contains(&seq);
        self.leave_waiting(seq);
        let frame = self.frame_with_room(seq, worker, actions);
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        let holding = Holding {
            term: self.term,
            delivery: task.delivery,
        };
        task.state = TaskState::Held(Hold {
            worker,
            holding,
            frame,
        });
        self.counts.assigned += 1;
        let (kind, input_bytes) = (task.spec.kind.clone(), task.input_bytes);
        let placed = Placed {
            holding,
            task: task.spec.clone(),
            estimate: None,
        };
        self.fleet.hold(worker, seq, &kind, suspect);
        if let Some(outbox) = self.fleet.outbox(worker) {
            outbox.input_bytes = outbox.input_bytes.saturating_add(input_bytes);
            outbox.tasks.push(placed);
        }
    }

    /// The number of the worker's open frame; a frame that is full is sent first.
    fn frame_with_room(&mut self, seq: u64, worker: WorkerKey, actions: &mut Vec<Action>) -> u64 {
        let adding = self.tasks.get(seq).map_or(0, |task| task.input_bytes);
        let (tasks_max, bytes_max) = (self.options.frame_tasks_max, self.options.frame_bytes_max);
        let full = self.fleet.outbox(worker).is_some_and(|outbox| {
            let bytes = outbox.input_bytes.saturating_add(adding);
            let over = bytes > bytes_max && !outbox.tasks.is_empty();
            over || outbox.tasks.len() >= tasks_max
        });
        if full && let Some((id, outbox)) = self.fleet.take_outbox(worker) {
            actions.push(assign(id, outbox));
        }
        self.fleet.outbox(worker).map_or(0, |outbox| outbox.frame)
    }

    fn pull(&mut self, actions: &mut Vec<Action>) {
        let spoken_for = self.tasks.len().saturating_add(self.lanes.owed());
        let room = self.options.tasks_max.saturating_sub(spoken_for);
        let look_ahead = self.options.look_ahead;
        let wants = self
            .lanes
            .iter()
            .filter_map(|(lane, book)| {
                let free_slots = self.fleet.free_slots(&lane.kind);
                book.want(lane, free_slots, look_ahead)
            })
            .collect();
        for (lane, count) in self.lanes.ask(wants, room) {
            actions.push(Action::Pull { lane, count });
        }
    }
}

fn assign(worker: WorkerId, outbox: Outbox) -> Action {
    let Outbox {
        frame,
        settled,
        revoked,
        tasks,
        input_bytes: _,
    } = outbox;
    Action::Assign(AssignFrame {
        worker,
        number: frame,
        settled,
        revoked,
        suspended: Vec::new(),
        resumed: Vec::new(),
        tasks,
    })
}

#[cfg(test)]
mod tests;
