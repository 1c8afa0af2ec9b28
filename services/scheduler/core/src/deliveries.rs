//! What comes from the lanes: new tasks, tasks that come again, and what their look-ups find.

use std::sync::Arc;

use rota_wire::event::Event as Told;
use rota_wire::fleet::{HeldTask, Stage};
use rota_wire::{Delivery, Lane, Micros, Recheck, TaskSpec};

use crate::action::{Action, Freshness};
use crate::event::{Looked, PullEnd};
use crate::lanes::{Known, Past};
use crate::lineage::Standing;
use crate::recovery::Claim;
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, Settling, SettlingStep, Task, TaskState};

impl Scheduler {
    pub(crate) fn delivered(
        &mut self,
        lane: Lane,
        delivery: Delivery,
        pending: u64,
        spec: TaskSpec,
        input_bytes: u64,
        actions: &mut Vec<Action>,
    ) {
        let known = match self.tasks.get(delivery.seq) {
            Some(_) => Known::Yes,
            None => Known::No,
        };
        let Some(past) = self.lanes.came(&lane, delivery, pending, known, self.now) else {
            return;
        };
        if known == Known::Yes {
            self.delivered_again(delivery, input_bytes, actions);
            return;
        }
        let again = past.is_again();
        let past = match self.make_way(delivery.seq, &spec, past, actions) {
            Standing::Duplicate => {
                actions.push(Action::Tell(Told::Duplicate { task: spec.id }));
                actions.push(Action::Ack { seq: delivery.seq });
                return;
            }
            Standing::Heir if past == Past::None => Past::Ours,
            Standing::Heir | Standing::Only => past,
        };
        let task = Task {
            spec: Arc::new(spec),
            lane,
            delivery,
            input_bytes,
            past,
            came_at: self.now,
            last_worker: None,
            expected: None,
            ran: 0,
            came: 0,
            again,
            copied: false,
            undisturbed: false,
            place: None,
            bound: None,
            note: None,
            state: TaskState::Returning,
        };
        self.tasks.insert(task);
        self.admit(delivery.seq, actions);
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
        task.came_at = self.now;
        if matches!(task.state, TaskState::Returning) {
            // It has been ours, whatever it was before: we know who had it.
            task.past = Past::Ours;
            if let Some(book) = self.lanes.get_mut(&task.lane) {
                book.returning = book.returning.saturating_sub(1);
            }
            self.admit(seq, actions);
        }
    }

    /// Finds the place of a task that has just come: with the worker that claims it, in the look-up, or
    /// in the queue.
    fn admit(&mut self, seq: u64, actions: &mut Vec<Action>) {
        if let Some(claim) = self.take_claim(seq) {
            self.adopt(seq, claim, actions);
            return;
        }
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        let mut served = true;
        if let Some(book) = self.lanes.get_mut(&task.lane) {
            book.waiting += 1;
            served = book.unserved_since.is_none();
        }
        if task.may_have_run() {
            task.state = TaskState::LookingUp;
            self.look_up(seq, actions);
        } else {
            self.make_ready(seq);
        }
        if !served {
            self.await_worker(seq);
        }
    }

    /// Takes the claim on a task that has come, if it is a good one.
    fn take_claim(&mut self, seq: u64) -> Option<Claim> {
        let claim = self.recovery.claims.remove(seq)?;
        let worker = self.fleet.get(claim.worker)?;
        if claim.stage == Stage::Running {
            // It counted as foreign until now.
            let foreign = worker.foreign.saturating_sub(1);
            self.fleet.set_foreign(claim.worker, foreign);
        }
        let task = self.tasks.get(seq)?;
        let other = |held: &HeldTask| held.id != task.spec.id || held.attempt != task.spec.attempt;
        if claim.task.as_ref().is_some_and(other) {
            // Of a stream that is no more: the same sequence is another task here.
            self.drop_claim(claim);
            return None;
        }
        Some(claim)
    }

    /// A claim is over: whoever runs it stops, whoever reports it need not any more.
    pub(crate) fn drop_claim(&mut self, claim: Claim) {
        match claim.outcome {
            Some(outcome) => self.settle(claim.worker, outcome.number),
            None if claim.stage == Stage::Ended => {}
            None => self.revoke(claim.worker, claim.holding),
        }
    }

    /// Puts a task that is counted as waiting into the queue.
    pub(crate) fn make_ready(&mut self, seq: u64) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let (expected, suspect) = (self.expected(task), self.is_suspect(&task.spec.id));
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        task.state = TaskState::Ready;
        task.expected = expected;
        let options = &task.spec.options;
        if !options.demand.is_none() {
            self.fleet.want_rooms();
        }
        if !options.requires.is_empty() {
            for (worker, class) in self.fleet.want_labels(&options.requires) {
                self.runners.reclass(worker, class);
            }
        }
        if task.past.is_left()
            && let Some(until) = self.recovery.hold_until(task.came_at, self.now)
        {
            if let Some(book) = self.lanes.get_mut(&task.lane) {
                book.held_back += 1;
            }
            self.recovery.hold_back(seq, until);
        } else if suspect {
            self.suspects.insert(seq);
        } else {
            self.enqueue(seq);
        }
    }

    /// Notes that a task waits whose kind may have no worker.
    pub(crate) fn await_worker(&mut self, seq: u64) {
        let kind = self.tasks.get(seq).map(|task| &task.spec.kind);
        if let Some(kind) = kind.filter(|kind| !self.fleet.is_served(kind)) {
            let kind = kind.clone();
            self.await_service(kind);
        }
    }

    /// Lets go what was held back for workers that have not claimed it in time.
    pub(crate) fn release_held_back(&mut self, now: Micros) {
        while let Some(seq) = self.recovery.next_to_go(now) {
            self.let_go(seq);
            self.await_worker(seq);
            let task = self.tasks.get(seq);
            if task.is_some_and(|task| self.is_suspect(&task.spec.id)) {
                self.suspects.insert(seq);
            } else {
                self.enqueue(seq);
            }
        }
    }

    fn let_go(&mut self, seq: u64) {
        if self.recovery.let_go(seq)
            && let Some(task) = self.tasks.get(seq)
            && let Some(book) = self.lanes.get_mut(&task.lane)
        {
            book.held_back = book.held_back.saturating_sub(1);
        }
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
                self.losses.forget(&task.spec.id);
                self.ack_duplicate(seq, actions);
            }
            // The later attempt carries the task on, unless one that is earlier took its place in the schedule
            // meanwhile, came here and was taken for a copy of this message. One that is the same may have been.
            Looked::Scheduled { attempt } if attempt > task.spec.attempt => {
                if task.copied {
                    self.look_up(seq, actions);
                } else {
                    self.ack_duplicate(seq, actions);
                }
            }
            Looked::Scheduled { .. } | Looked::Nothing => {
                let awaited = self.retried.awaited_until(&task.spec);
                if awaited.is_some_and(|until| now < until) {
                    self.try_again_later(now, seq);
                } else {
                    self.weigh(seq, actions);
                }
            }
        }
    }

    fn look_up(&mut self, seq: u64, actions: &mut Vec<Action>) {
        if let Some(task) = self.tasks.get_mut(seq) {
            task.copied = false;
            actions.push(look_up(task));
        }
    }

    fn ack_duplicate(&mut self, seq: u64, actions: &mut Vec<Action>) {
        if let Some(task) = self.tasks.get(seq) {
            let task = task.spec.id.clone();
            actions.push(Action::Tell(Told::Duplicate { task }));
        }
        self.forget(seq);
        actions.push(Action::Ack { seq });
    }

    /// Part of a pull is not coming. Where the server had nothing to give although something was given back,
    /// that is gone, or comes at the next reset: nobody waits for it.
    pub(crate) fn pull_ended(&mut self, lane: &Lane, unused: u32, end: PullEnd) {
        let nothing = end == PullEnd::Nothing;
        if !self.lanes.pull_ended(lane, unused, nothing) {
            return;
        }
        let returning = self
            .tasks
            .iter()
            .filter(|(_, task)| matches!(task.state, TaskState::Returning) && task.lane == *lane);
        let mut returning: Vec<u64> = returning.map(|(seq, _)| seq).collect();
        returning.sort_unstable();
        for seq in returning {
            self.forget(seq);
        }
    }

    /// A message is not in the stream any more: whoever acked it has settled its task.
    pub(crate) fn gone(&mut self, seq: u64) {
        self.part_with(seq);
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
                self.let_go(seq);
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
        task.undisturbed = false;
        task.note = None;
        self.lanes.gave_back(&task.lane);
        self.await_worker(seq);
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
            TaskState::LookingUp => self.look_up(seq, actions),
            TaskState::Settling(Settling { step, .. }) => {
                let action = settling_action(seq, task, step);
                actions.push(action);
            }
            TaskState::Ready | TaskState::Held(_) | TaskState::Returning => {}
        }
    }
}

/// The action that looks for what is known of a task. Where its id was chosen by a person and nothing else
/// tells that it may have run, an earlier task of that id ended minutes ago if there was one.
fn look_up(task: &Task) -> Action {
    let chosen = task.spec.recheck == Recheck::Named && task.spec.attempt == 1;
    let freshness = if chosen && task.past == Past::None {
        Freshness::AnyCopy
    } else {
        Freshness::Latest
    };
    Action::LookUp {
        seq: task.delivery.seq,
        task: task.spec.clone(),
        freshness,
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
