//! What comes from the lanes: new tasks, tasks that come again, and the ends of pulls.

use std::sync::Arc;

use rota_wire::event::Event as Told;
use rota_wire::fleet::Stage;
use rota_wire::task::Recheck;
use rota_wire::{Delivery, Lane, Micros, TaskSpec};

use crate::action::{Action, Freshness};
use crate::event::{Looked, PullEnd};
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, Settling, SettlingStep, Task, TaskState};

impl Scheduler {
    pub(crate) fn lane_opened(&mut self, lane: Lane, unacked: u32, delivered_to: u64) {
        let book = self.lanes.entry(lane);
        book.open = true;
        book.owed = 0;
        book.redeliveries_due = unacked;
        book.came = false;
        // A consumer that was made anew knows nothing of what its predecessor delivered to us.
        book.delivered_to = book.delivered_to.max(delivered_to).max(book.newest);
    }

    /// The consumer is gone and with it all pulls. What it had delivered comes again from the next one,
    /// and is recognised.
    pub(crate) fn lane_gone(&mut self, lane: Lane, actions: &mut Vec<Action>) {
        let book = self.lanes.entry(lane.clone());
        book.open = false;
        book.owed = 0;
        actions.push(Action::OpenLane { lane });
    }

    pub(crate) fn lane_found(&mut self, lane: Lane, actions: &mut Vec<Action>) {
        if self.lanes.get_mut(&lane).is_none() {
            actions.push(Action::OpenLane { lane });
        }
    }

    pub(crate) fn lanes_listed(&mut self, lanes: Vec<Lane>, actions: &mut Vec<Action>) {
        for lane in lanes {
            self.lane_found(lane, actions);
        }
        self.recovery.lanes_listed = true;
    }

    pub(crate) fn pull_ended(&mut self, lane: &Lane, unused: u32, end: PullEnd) {
        if let Some(book) = self.lanes.get_mut(lane) {
            book.owed = book.owed.saturating_sub(unused);
            // The server had nothing to give, so nothing of earlier terms is left either. A pull that
            // brought something may have ended for its size.
            if !book.came && end == PullEnd::Nothing {
                book.redeliveries_due = 0;
            }
            book.came = false;
        }
    }

    pub(crate) fn delivered(
        &mut self,
        lane: Lane,
        delivery: Delivery,
        pending: u64,
        spec: TaskSpec,
        input_bytes: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(book) = self.lanes.get_mut(&lane) else {
            return;
        };
        let left_by_earlier_terms = book.came(delivery, pending);
        if self.tasks.get(delivery.seq).is_some() {
            self.delivered_again(delivery, input_bytes, actions);
            return;
        }
        if let Some(known) = self.tasks.message_of(&spec.id) {
            if !self.is_retry_of(known, &spec) {
                actions.push(Action::Tell(Told::Duplicate { task: spec.id }));
                actions.push(Action::Ack { seq: delivery.seq });
                return;
            }
            // It is here, so it is stored, although nobody has told us yet.
            self.stored(known, actions);
        }
        let may_have_run = spec.recheck != Recheck::Fresh
            || spec.attempt > 1
            || delivery.count > 1
            || left_by_earlier_terms;
        let task = Task {
            spec: Arc::new(spec),
            lane,
            delivery,
            input_bytes,
            losses: 0,
            last_worker: None,
            expected: None,
            ran: 0,
            came: 0,
            place: None,
            bound: None,
            note: None,
            state: TaskState::Returning,
        };
        self.tasks.insert(task);
        self.admit(delivery.seq, may_have_run, actions);
    }

    /// Whether a message is the retry that is being stored for the one that we know.
    fn is_retry_of(&self, known: u64, spec: &TaskSpec) -> bool {
        let state = self.tasks.get(known).map(|task| &task.state);
        let Some(TaskState::Settling(Settling { step, .. })) = state else {
            return false;
        };
        match step {
            SettlingStep::Retry { spec: next, .. } => next.attempt == spec.attempt,
            SettlingStep::Bury { .. } => false,
        }
    }

    /// A message that we know: either we gave it back, or JetStream's patience ran out while it is in
    /// good hands.
    fn delivered_again(&mut self, delivery: Delivery, input_bytes: u64, actions: &mut Vec<Action>) {
        let seq = delivery.seq;
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        task.delivery = delivery;
        task.input_bytes = input_bytes;
        if matches!(task.state, TaskState::Returning) {
            if let Some(book) = self.lanes.get_mut(&task.lane) {
                book.returning = book.returning.saturating_sub(1);
            }
            self.admit(seq, true, actions);
        }
    }

    /// Finds the place of a task that has just come: with the worker that claims it, in the look-up, or
    /// in the queue.
    fn admit(&mut self, seq: u64, may_have_run: bool, actions: &mut Vec<Action>) {
        if let Some(claim) = self.recovery.claims.remove(&seq)
            && let Some(worker) = self.fleet.get(claim.worker)
        {
            if claim.stage == Stage::Running {
                // It counted as foreign until now.
                let foreign = worker.foreign.saturating_sub(1);
                self.fleet.set_foreign(claim.worker, foreign);
            }
            self.adopt(seq, claim, actions);
            return;
        }
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        if let Some(book) = self.lanes.get_mut(&task.lane) {
            book.waiting += 1;
        }
        if may_have_run {
            task.state = TaskState::LookingUp;
            actions.push(Action::LookUp {
                seq,
                task: task.spec.clone(),
                freshness: Freshness::Latest,
            });
        } else {
            self.make_ready(seq);
        }
    }

    /// Puts a task that is counted as waiting into the queue.
    fn make_ready(&mut self, seq: u64) {
        let suspect_from = self.suspect_from();
        let expected = self.tasks.get(seq).and_then(|task| self.expected(task));
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        task.state = TaskState::Ready;
        task.expected = expected;
        if !task.spec.options.demand.is_none() {
            self.fleet.want_rooms();
        }
        if task.losses >= suspect_from {
            self.suspects.insert(seq);
        } else {
            self.enqueue(seq);
        }
    }

    /// With so many losses a task is under suspicion.
    pub(crate) fn suspect_from(&self) -> u32 {
        self.options.losses_max.saturating_sub(1).max(1)
    }

    pub(crate) fn looked(
        &mut self,
        now: Micros,
        seq: u64,
        found: Looked,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        if !matches!(task.state, TaskState::LookingUp) {
            return;
        }
        match found {
            Looked::Unanswered => self.try_again_later(now, seq),
            Looked::Result => {
                actions.push(Action::Tell(Told::Duplicate {
                    task: task.spec.id.clone(),
                }));
                self.forget(seq);
                actions.push(Action::Ack { seq });
            }
            Looked::Nothing if task.losses >= self.options.losses_max => {
                let reason = format!(
                    "poison: {} workers were lost while they held it",
                    task.losses
                );
                self.leave_waiting(seq);
                self.begin_settling(
                    seq,
                    SettlingStep::Bury {
                        reason,
                        failure: None,
                    },
                    None,
                    actions,
                );
            }
            Looked::Scheduled { .. } | Looked::Nothing => self.make_ready(seq),
        }
    }

    /// Takes a waiting task out of the look-up or the queue.
    pub(crate) fn leave_waiting(&mut self, seq: u64) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        match task.state {
            TaskState::Ready => {
                self.dequeue(seq);
                self.unbind(seq);
                self.suspects.remove(&seq);
            }
            TaskState::LookingUp => {}
            TaskState::Held(_) | TaskState::Settling(_) | TaskState::Returning => return,
        }
        let lane = self.tasks.get(seq).map(|task| &task.lane);
        if let Some(book) = lane.and_then(|lane| self.lanes.get_mut(lane)) {
            book.waiting = book.waiting.saturating_sub(1);
        }
    }

    /// Gives a message back to JetStream; it comes again at once, as soon as its lane is pulled.
    pub(crate) fn give_back(&mut self, seq: u64, actions: &mut Vec<Action>) {
        self.leave_holder(seq);
        self.leave_waiting(seq);
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        task.state = TaskState::Returning;
        // Whoever has it next begins from nothing.
        task.ran = 0;
        task.note = None;
        if let Some(book) = self.lanes.get_mut(&task.lane) {
            book.returning += 1;
        }
        actions.push(Action::Nak { seq });
    }

    /// Takes a task from whoever holds it.
    pub(crate) fn leave_holder(&mut self, seq: u64) -> Option<Hold> {
        let task = self.tasks.get(seq)?;
        let TaskState::Held(hold) = task.state else {
            return None;
        };
        match hold.course {
            Course::Running { .. } => self.end_run(seq),
            Course::Suspended => self.dequeue(seq),
        }
        self.fleet.release(hold.worker, self.tasks.get(seq)?.part());
        Some(hold)
    }

    /// Removes a task from all books: it is acked.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.leave_holder(seq);
        self.leave_waiting(seq);
        let Some(task) = self.tasks.remove(seq) else {
            return;
        };
        if matches!(task.state, TaskState::Returning)
            && let Some(book) = self.lanes.get_mut(&task.lane)
        {
            book.returning = book.returning.saturating_sub(1);
        }
    }

    /// Does the step of a task once more that failed before.
    pub(crate) fn repeat_step(&mut self, seq: u64, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        match &task.state {
            TaskState::LookingUp => {
                actions.push(Action::LookUp {
                    seq,
                    task: task.spec.clone(),
                    freshness: Freshness::Latest,
                });
            }
            TaskState::Settling(Settling { step, .. }) => {
                let action = settling_action(seq, task, step);
                actions.push(action);
            }
            TaskState::Ready | TaskState::Held(_) | TaskState::Returning => {}
        }
    }
}

/// The action that stores what settles a task.
pub(crate) fn settling_action(seq: u64, task: &Task, step: &SettlingStep) -> Action {
    match step {
        SettlingStep::Retry { spec, wait } => Action::StoreRetry {
            seq,
            task: spec.clone(),
            wait: *wait,
        },
        SettlingStep::Bury { reason, failure } => Action::Bury {
            seq,
            task: task.spec.clone(),
            reason: reason.clone(),
            worker: task.last_worker.clone(),
            failure: failure.clone(),
        },
    }
}

#[cfg(test)]
mod tests;
