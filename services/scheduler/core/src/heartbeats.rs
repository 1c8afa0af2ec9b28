//! Workers that speak: joining, what they hold, claims, revocation.

use std::collections::BTreeSet;

use rota_wire::event::{Event as Told, RedeliveryCause};
use rota_wire::fleet::{Heartbeat, Held, HeldTask, Stage, WorkerState};
use rota_wire::{Lane, Micros, Span, WorkerId};

use crate::action::Action;
use crate::fleet::WorkerKey;
use crate::order::micros;
use crate::recovery::Claim;
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, TaskState};

/// The longest interval that a worker's word is taken for: it decides when it is missed.
const INTERVAL_MAX: Span = Span::from_secs(60);
/// The most slots that a worker's word is taken for.
const SLOTS_MAX: u32 = 65_536;
/// Workers of which it is remembered that they were refused.
const REFUSED_MAX: usize = 1_000;

impl Scheduler {
    pub(crate) fn heartbeat(
        &mut self,
        now: Micros,
        heartbeat: &Heartbeat,
        actions: &mut Vec<Action>,
    ) {
        self.recovery.heard(&heartbeat.worker, now);
        if heartbeat.slots > SLOTS_MAX {
            let reason = format!("it has {} slots, at most {SLOTS_MAX}", heartbeat.slots);
            return self.refuse(&heartbeat.worker, reason, actions);
        }
        if self.fleet.is_late(heartbeat, now) {
            return;
        }
        let key = match self.fleet.key(&heartbeat.worker) {
            Some(key) => key,
            None if heartbeat.state == WorkerState::Gone => {
                // It has lived to say so, whatever was thought of it.
                self.forgive(&heartbeat.worker);
                self.fleet.say_goodbye(heartbeat);
                return;
            }
            None if self.fleet.len() >= self.options.workers_max => {
                let reason = format!("there are {} workers already", self.fleet.len());
                return self.refuse(&heartbeat.worker, reason, actions);
            }
            None => self.join(heartbeat, actions),
        };
        self.tell_draining(key, heartbeat, actions);
        self.tell_withdrawn(key, heartbeat, actions);
        let deadline = now.plus(self.patience(heartbeat.interval));
        let before = self
            .fleet
            .get(key)
            .map(|worker| (worker.class, worker.resources));
        let relabelled = self
            .fleet
            .get(key)
            .is_some_and(|worker| !worker.carries_just(&heartbeat.labels));
        self.fleet.heard(key, heartbeat, deadline);
        if let Some(worker) = self.fleet.get(key) {
            let changed = relabelled || before != Some((worker.class, worker.resources));
            self.runners.reclass(key, worker.class);
            // What was bound to it may never run there now.
            let takes = worker.takes_tasks();
            if changed || !takes {
                self.unbind_all(key);
            }
            if !takes {
                self.unreserve_worker(key);
            }
        }
        self.compare_holdings(key, heartbeat, actions);
        self.follow_unseen(key);
        if heartbeat.state == WorkerState::Gone {
            self.remove_worker(key, RedeliveryCause::Returned, actions);
            actions.push(Action::Tell(Told::WorkerLeft {
                worker: heartbeat.worker.clone(),
            }));
        }
    }

    /// Says once that a worker is not heard, and why.
    fn refuse(&mut self, worker: &WorkerId, reason: String, actions: &mut Vec<Action>) {
        if self.refused.len() < REFUSED_MAX && self.refused.insert(worker.clone()) {
            let worker = worker.clone();
            actions.push(Action::Refuse { worker, reason });
        }
    }

    /// How long a worker may be silent.
    pub(crate) fn patience(&self, interval: Span) -> Span {
        let interval = interval.min(INTERVAL_MAX).ms().max(1);
        Span::from_ms(interval * u64::from(self.options.missed_heartbeats_max))
    }

    fn join(&mut self, heartbeat: &Heartbeat, actions: &mut Vec<Action>) -> WorkerKey {
        let worker = &heartbeat.worker;
        self.refused.remove(worker);
        self.forgive(worker);
        if self.fleet.was_lost(worker) {
            let worker = worker.clone();
            actions.push(Action::Tell(Told::WorkerReturned { worker }));
        }
        actions.push(Action::Tell(Told::WorkerJoined {
            worker: heartbeat.worker.clone(),
            slots: heartbeat.slots,
            kinds: heartbeat
                .kinds
                .iter()
                .map(|capacity| capacity.kind.clone())
                .collect(),
        }));
        self.fleet.join(heartbeat)
    }

    fn tell_draining(&self, key: WorkerKey, heartbeat: &Heartbeat, actions: &mut Vec<Action>) {
        let before = self.fleet.get(key).map(|worker| worker.state);
        if heartbeat.state == WorkerState::Draining && before == Some(WorkerState::Up) {
            let holding = u32::try_from(heartbeat.held.len()).unwrap_or(u32::MAX);
            let worker = heartbeat.worker.clone();
            actions.push(Action::Tell(Told::WorkerDraining { worker, holding }));
        }
    }

    /// Each kind once, as long as it stays withdrawn.
    fn tell_withdrawn(&self, key: WorkerKey, heartbeat: &Heartbeat, actions: &mut Vec<Action>) {
        let Some(worker) = self.fleet.get(key) else {
            return;
        };
        for withdrawn in &heartbeat.withdrawn {
            if !worker.withdrawn.contains_key(&withdrawn.kind) {
                actions.push(Action::Tell(Told::KindWithdrawn {
                    worker: worker.id.clone(),
                    kind: withdrawn.kind.clone(),
                    reason: withdrawn.reason.clone(),
                }));
            }
        }
    }

    /// Holds what a worker says that it has against our books, both ways.
    fn compare_holdings(
        &mut self,
        key: WorkerKey,
        heartbeat: &Heartbeat,
        actions: &mut Vec<Action>,
    ) {
        let mut theirs = BTreeSet::new();
        let mut foreign = 0;
        for held in &heartbeat.held {
            theirs.insert(held.holding.delivery.seq);
            if self.claimed(key, held, actions) == Books::NotTheirs && held.stage == Stage::Running
            {
                foreign += 1;
            }
        }
        self.fleet.set_foreign(key, foreign);
        self.redeliver_missing(key, &theirs, actions);
    }

    /// One delivery that a worker says it holds.
    fn claimed(&mut self, key: WorkerKey, held: &Held, actions: &mut Vec<Action>) -> Books {
        let seq = held.holding.delivery.seq;
        if held.holding.term > self.term {
            // Of a server that is no more: its sequences mean other tasks here.
            self.revoke(key, held.holding);
            return Books::NotTheirs;
        }
        let claim = Claim {
            worker: key,
            holding: held.holding,
            task: held.task.clone(),
            stage: held.stage,
            ran: held.ran,
            outcome: None,
        };
        let Some(task) = self.tasks.get(seq) else {
            self.claim_unknown(seq, claim, actions);
            return Books::NotTheirs;
        };
        match &task.state {
            TaskState::Held(hold) if hold.worker == key && hold.holding == held.holding => {
                let hold = *hold;
                self.repeat_order(hold, held);
                Books::Theirs
            }
            TaskState::Held(_) | TaskState::Settling(_) => {
                self.revoke_running(key, held);
                Books::NotTheirs
            }
            TaskState::Ready | TaskState::LookingUp => {
                // It waits for a worker, and one that seemed lost has it: there it stays.
                self.leave_waiting(seq);
                self.adopt(seq, claim, actions);
                Books::Theirs
            }
            TaskState::Returning => {
                // It comes again in a moment and is adopted then.
                if let Some(loser) = self.recovery.claims.add(seq, claim) {
                    self.drop_claim(loser);
                }
                Books::NotTheirs
            }
        }
    }

    /// A claim on a delivery that is not in memory: it is over, or it comes again.
    fn claim_unknown(&mut self, seq: u64, claim: Claim, actions: &mut Vec<Action>) {
        if let Some(task) = &claim.task {
            self.want_recovered(&task.lane, actions);
        }
        let over = self.is_over(seq, claim.task.as_ref());
        if let Some(loser) = self.recovery.claims.add(seq, claim) {
            self.drop_claim(loser);
        }
        if over && let Some(claim) = self.recovery.claims.remove(seq) {
            self.drop_claim(claim);
        }
    }

    /// Whether a delivery that is not in memory can only be over: all that was un-acked in its lane has come,
    /// or in all lanes if its own is not known.
    pub(crate) fn is_over(&self, seq: u64, task: Option<&HeldTask>) -> bool {
        match task {
            Some(task) => self.is_past(&task.lane, seq),
            None => self.all_recovered(),
        }
    }

    /// What nobody can take is not pulled, so it is not waited for either.
    fn is_past(&self, lane: &Lane, seq: u64) -> bool {
        let pulled = self.fleet.is_served(&lane.kind);
        self.lanes.is_past(lane, seq) || (self.lanes.recovered(lane) && !pulled)
    }

    fn all_recovered(&self) -> bool {
        self.recovery.lanes_listed && self.lanes.all_recovered()
    }

    /// A worker that has seen our last order and does otherwise is told again: part of a frame may have
    /// come when the attempt was not there yet.
    fn repeat_order(&mut self, hold: Hold, held: &Held) {
        if hold.ordered > self.frames_seen(hold.worker) {
            return;
        }
        let suspended = hold.course == Course::Suspended;
        let agrees = match held.stage {
            Stage::Running => !suspended,
            Stage::Suspended => suspended,
            Stage::Ended => true,
        };
        if agrees {
            return;
        }
        let Some(outbox) = self.fleet.outbox(hold.worker) else {
            return;
        };
        outbox.repeat(hold.holding, hold.course);
        let (ordered, seq) = (outbox.frame, hold.holding.delivery.seq);
        if let Some(task) = self.tasks.get_mut(seq) {
            task.state = TaskState::Held(Hold { ordered, ..hold });
        }
    }

    /// Leaves a task with the worker that has it already.
    pub(crate) fn adopt(&mut self, seq: u64, claim: Claim, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let (expected, suspect) = (self.expected(task), self.is_suspect(&task.spec.id));
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        let hold = Hold {
            worker: claim.worker,
            holding: claim.holding,
            frame: 0,
            ordered: 0,
            course: Course::Suspended,
        };
        task.state = TaskState::Held(hold);
        task.ran = micros(claim.ran);
        task.expected = expected;
        self.fleet.hold(claim.worker, task.part(), suspect);
        match claim.stage {
            Stage::Running => self.begin_run(seq),
            Stage::Suspended => {
                self.fleet.suspend(claim.worker, task.part());
                self.enqueue(seq);
            }
            // It is over: there is nothing to suspend. Its outcome is still to come.
            Stage::Ended => {
                let (since, turn) = (self.now, None);
                let course = Course::Running { since, turn };
                task.state = TaskState::Held(Hold { course, ..hold });
            }
        }
        self.recovery.adopted += 1;
        if let Some(outcome) = claim.outcome {
            self.holder_reported(claim.worker, *outcome, actions);
        }
    }

    /// What our books say a worker has, and the worker, having seen the frame, does not.
    fn redeliver_missing(
        &mut self,
        key: WorkerKey,
        theirs: &BTreeSet<u64>,
        actions: &mut Vec<Action>,
    ) {
        let seen = self.frames_seen(key);
        let Some(worker) = self.fleet.get(key) else {
            return;
        };
        let missing: Vec<u64> = worker
            .held()
            .iter()
            .copied()
            .filter(|seq| !theirs.contains(seq))
            .filter(|seq| self.frame_of(*seq).is_some_and(|frame| frame <= seen))
            .collect();
        for seq in missing {
            self.redeliver(key, seq, RedeliveryCause::Missing, actions);
        }
    }

    /// A frame that was sent before the last heartbeat and is still not seen may be lost, and nothing
    /// shows it unless another follows: one that only has a number is sent.
    fn follow_unseen(&mut self, key: WorkerKey) {
        let seen = self.frames_seen(key);
        if self.fleet.frames_before(key) > seen {
            self.fleet.outbox(key);
        }
    }

    /// The last of our frames that a worker says it has seen.
    fn frames_seen(&self, key: WorkerKey) -> u64 {
        let mark = self.fleet.get(key).and_then(|worker| worker.seen);
        mark.filter(|mark| mark.term == self.term)
            .map_or(0, |mark| mark.number)
    }

    pub(crate) fn frame_of(&self, seq: u64) -> Option<u64> {
        match self.tasks.get(seq)?.state {
            TaskState::Held(hold) => Some(hold.frame),
            TaskState::LookingUp
            | TaskState::Ready
            | TaskState::Settling(_)
            | TaskState::Returning => None,
        }
    }

    fn revoke_running(&mut self, key: WorkerKey, held: &Held) {
        if held.stage != Stage::Ended {
            self.revoke(key, held.holding);
        }
    }

    pub(crate) fn revoke(&mut self, key: WorkerKey, holding: rota_wire::Holding) {
        if let Some(outbox) = self.fleet.outbox(key) {
            outbox.revoked.push(holding);
        }
    }

    /// Once all that earlier terms left in a lane has come again, what is still claimed of it was settled
    /// before.
    pub(crate) fn complete_recovery(&mut self, actions: &mut Vec<Action>) {
        let recovered = self.lanes.take_recovered();
        if !self.recovery.claims.is_empty() {
            for lane in recovered {
                self.drop_claims(Some(&lane));
            }
            if self.all_recovered() {
                self.drop_claims(None);
            }
        }
        let done = self.recovery.is_over() && self.all_recovered();
        if !self.recovery.complete && done {
            self.recovery.complete = true;
            let (term, adopted) = (self.term, self.recovery.adopted);
            actions.push(Action::Tell(Told::Recovered { term, adopted }));
        }
    }

    fn drop_claims(&mut self, lane: Option<&Lane>) {
        for seq in self.recovery.claims.of(lane) {
            // One that is given back comes again, and is adopted then.
            let over = lane.is_none_or(|lane| self.is_past(lane, seq));
            if over
                && self.tasks.get(seq).is_none()
                && let Some(claim) = self.recovery.claims.remove(seq)
            {
                self.drop_claim(claim);
            }
        }
    }
}

/// Whether a delivery that a worker holds is its own by our books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Books {
    Theirs,
    NotTheirs,
}

#[cfg(test)]
mod tests;
