//! A worker as the scheduler's messages know it: slots, attempts, reports.
//!
//! ```text
//!            begin             finish
//! Waiting ──────────► Running ─────────► reported until settled
//!    ▲                  │
//!    └─ resume ─ Suspended ◄─ suspend: its slot is free, what it has done is kept
//! ```
//!
//! What must hold: no more attempts run than there are slots; the work that an attempt has left shrinks
//! only while it runs.

use std::collections::{BTreeMap, VecDeque};

use rota_wire::dispatch::{Ending, Outcome};
use rota_wire::fleet::{FrameMark, Heartbeat, Held, KindCapacity, MachineLoad, Stage, WorkerState};
use rota_wire::{Holding, Micros, Resources, Span, WorkerId};

use super::mail::{Frame, Job};
use super::timeline::{Due, Timeline};
use crate::quantity::UNIT;

/// An outcome that is not settled is reported again after so long, at the next heartbeat.
const REPEAT_EVERY: u64 = UNIT as u64;

/// Names a machine: its place among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MachineKey(pub(crate) u32);

/// Counts the workers that ran on a machine: each has an id of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life(pub(crate) u32);

/// What every machine is built of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) slots: u32,
    /// What its worker may give to attempts that ask for cores or memory.
    pub(crate) resources: Resources,
    /// What a slot needs before the first attempt after a suspension goes on.
    pub(crate) switch_cost: u64,
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) key: MachineKey,
    pub(crate) life: Life,
    pub(crate) id: WorkerId,
    /// Whether a worker runs on it.
    pub(crate) up: bool,
    build: Build,
    busy: u32,
    started: u64,
    beats: u64,
    seen: Option<FrameMark>,
    attempts: BTreeMap<u64, Attempt>,
    waiting: VecDeque<u64>,
    unsettled: Vec<Unsettled>,
    reports: u64,
    stamps: u64,
    /// What the next attempt to begin needs before it goes on, since another was suspended.
    owed_to_switches: u64,
}

#[derive(Debug)]
struct Attempt {
    holding: Holding,
    /// Work left; for one that runs, when it began or went on.
    left: u64,
    /// How long it has run, but for what it runs now.
    ran: u64,
    course: Course,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Waiting,
    Running { since: u64, stamp: u64 },
    Suspended,
}

#[derive(Debug)]
struct Unsettled {
    outcome: Outcome,
    reported: u64,
}

impl Machine {
    pub(crate) fn new(key: MachineKey, build: Build) -> Self {
        Self {
            key,
            life: Life(0),
            id: worker_id(key, Life(0)),
            up: true,
            build,
            busy: 0,
            started: 0,
            beats: 0,
            seen: None,
            attempts: BTreeMap::new(),
            waiting: VecDeque::new(),
            unsettled: Vec::new(),
            reports: 0,
            stamps: 0,
            owed_to_switches: 0,
        }
    }

    /// Occupied slots.
    pub(crate) const fn busy(&self) -> u32 {
        self.busy
    }

    /// The worker is gone with all that it had.
    pub(crate) fn fail(&mut self) {
        let (key, build) = (self.key, self.build);
        let (life, stamps) = (Life(self.life.0 + 1), self.stamps);
        let id = worker_id(key, life);
        *self = Self {
            life,
            id,
            up: false,
            stamps,
            ..Self::new(key, build)
        };
    }

    /// Another worker starts on it.
    pub(crate) const fn restart(&mut self, now: u64) {
        self.up = true;
        self.started = now;
    }

    /// Does what a frame says. Returns how many running attempts it suspended.
    pub(crate) fn take_in(&mut self, now: u64, frame: &Frame, timeline: &mut Timeline) -> u64 {
        self.seen = Some(frame.mark);
        self.unsettled
            .retain(|ended| !frame.settled.contains(&ended.outcome.number));
        for holding in &frame.revoked {
            self.revoke(*holding);
        }
        let mut suspended = 0;
        for holding in &frame.suspended {
            suspended += u64::from(self.suspend(now, *holding));
        }
        // The last is put before the others, and all before what has not begun.
        for holding in frame.resumed.iter().rev() {
            self.resume(*holding);
        }
        for job in &frame.jobs {
            self.queue(*job);
        }
        self.begin_waiting(now, timeline);
        suspended
    }

    /// An attempt has done its work. Returns what to report, unless it was interrupted.
    pub(crate) fn finish(
        &mut self,
        now: u64,
        seq: u64,
        stamp: u64,
        timeline: &mut Timeline,
    ) -> Option<Outcome> {
        let Course::Running {
            since,
            stamp: latest,
        } = self.attempts.get(&seq)?.course
        else {
            return None;
        };
        if latest != stamp {
            return None;
        }
        let attempt = self.attempts.remove(&seq)?;
        self.busy -= 1;
        self.reports += 1;
        let outcome = Outcome {
            number: self.reports,
            holding: attempt.holding,
            ran: span(attempt.ran + now - since),
            ending: Ending::Stored,
        };
        self.unsettled.push(Unsettled {
            outcome: outcome.clone(),
            reported: now,
        });
        self.begin_waiting(now, timeline);
        Some(outcome)
    }

    /// Takes an attempt off its slot and keeps what it has done. Tells whether it was running.
    fn suspend(&mut self, now: u64, holding: Holding) -> bool {
        let seq = holding.delivery.seq;
        let attempt = self.attempts.get_mut(&seq);
        let Some(attempt) = attempt.filter(|attempt| attempt.holding == holding) else {
            return false;
        };
        match std::mem::replace(&mut attempt.course, Course::Suspended) {
            Course::Running { since, .. } => {
                attempt.left = attempt.left.saturating_sub(now - since);
                attempt.ran += now - since;
                self.busy -= 1;
                self.owed_to_switches += self.build.switch_cost;
                true
            }
            Course::Waiting => {
                self.waiting.retain(|waiting| *waiting != seq);
                false
            }
            Course::Suspended => false,
        }
    }

    /// Lets a suspended attempt go on, before any that has not begun.
    fn resume(&mut self, holding: Holding) {
        let seq = holding.delivery.seq;
        let attempt = self.attempts.get_mut(&seq);
        if let Some(attempt) = attempt.filter(|attempt| attempt.holding == holding)
            && attempt.course == Course::Suspended
        {
            attempt.course = Course::Waiting;
            self.waiting.push_front(seq);
        }
    }

    /// What it says of itself.
    pub(crate) fn beat(&mut self, now: u64, interval: Span, kinds: &[KindCapacity]) -> Heartbeat {
        self.beats += 1;
        let running = self.attempts.values().map(|attempt| attempt.held(now));
        let ended = self.unsettled.iter().map(|ended| Held {
            holding: ended.outcome.holding,
            stage: Stage::Ended,
            ran: ended.outcome.ran,
            task: None,
        });
        Heartbeat {
            worker: self.id.clone(),
            number: self.beats,
            started: Micros(self.started),
            interval,
            state: WorkerState::Up,
            slots: self.build.slots,
            resources: self.build.resources,
            kinds: kinds.to_vec(),
            labels: Vec::new(),
            seen: self.seen,
            held: running.chain(ended).collect(),
            machine: self.load(),
            withdrawn: Vec::new(),
            dialect: rota_wire::Dialect::V2,
        }
    }

    /// Outcomes that are to be reported once more.
    pub(crate) fn repeat(&mut self, now: u64) -> Vec<Outcome> {
        let late = self
            .unsettled
            .iter_mut()
            .filter(|u| u.reported + REPEAT_EVERY <= now);
        late.map(|ended| {
            ended.reported = now;
            ended.outcome.clone()
        })
        .collect()
    }

    /// A machine with a core for each slot, busy as its slots are.
    fn load(&self) -> MachineLoad {
        let slots = self.build.slots;
        let busy = u64::from(self.busy) * 1_000 / u64::from(slots.max(1));
        MachineLoad {
            cpu_milli: slots.saturating_mul(1_000),
            cpu_busy_permille: u16::try_from(busy).ok(),
            ..MachineLoad::default()
        }
    }

    fn queue(&mut self, job: Job) {
        let seq = job.holding.delivery.seq;
        // Assigned anew: what was held of it before counts no more.
        if let Some(before) = self.attempts.get(&seq).map(|attempt| attempt.holding) {
            self.revoke(before);
        }
        let attempt = Attempt {
            holding: job.holding,
            left: job.work,
            ran: 0,
            course: Course::Waiting,
        };
        self.attempts.insert(seq, attempt);
        self.waiting.push_back(seq);
    }

    fn revoke(&mut self, holding: Holding) {
        self.unsettled
            .retain(|ended| ended.outcome.holding != holding);
        let seq = holding.delivery.seq;
        if self
            .attempts
            .get(&seq)
            .is_none_or(|attempt| attempt.holding != holding)
        {
            return;
        }
        let course = self.attempts.remove(&seq).map(|attempt| attempt.course);
        match course {
            Some(Course::Running { .. }) => self.busy -= 1,
            Some(Course::Waiting) => self.waiting.retain(|waiting| *waiting != seq),
            Some(Course::Suspended) | None => {}
        }
    }

    fn begin_waiting(&mut self, now: u64, timeline: &mut Timeline) {
        while self.busy < self.build.slots {
            let Some(seq) = self.waiting.pop_front() else {
                return;
            };
            let attempt = self.attempts.get_mut(&seq).expect("what waits is held");
            self.stamps += 1;
            self.busy += 1;
            attempt.left += std::mem::take(&mut self.owed_to_switches);
            attempt.course = Course::Running {
                since: now,
                stamp: self.stamps,
            };
            let finish = Due::Finish {
                machine: self.key,
                seq,
                stamp: self.stamps,
            };
            timeline.put(now + attempt.left, finish);
        }
    }
}

impl Attempt {
    fn held(&self, now: u64) -> Held {
        let (stage, runs) = match self.course {
            Course::Running { since, .. } => (Stage::Running, now - since),
            Course::Waiting => (Stage::Running, 0),
            Course::Suspended => (Stage::Suspended, 0),
        };
        Held {
            holding: self.holding,
            stage,
            ran: span(self.ran + runs),
            task: None,
        }
    }
}

const fn span(micros: u64) -> Span {
    Span::from_ms(micros / 1_000)
}

fn worker_id(key: MachineKey, life: Life) -> WorkerId {
    WorkerId::parse(&format!("w{}-{}", key.0, life.0)).expect("it keeps the rule")
}

#[cfg(test)]
mod tests {
    use rota_wire::{Delivery, Term};

    use super::*;

    fn machine(slots: u32, switch_cost: u64) -> Machine {
        let build = Build {
            slots,
            resources: Resources::NONE,
            switch_cost,
        };
        Machine::new(MachineKey(0), build)
    }

    fn holding(seq: u64) -> Holding {
        Holding {
            term: Term(1),
            delivery: Delivery { seq, count: 1 },
        }
    }

    fn frame(number: u64, jobs: &[(u64, u64)]) -> Frame {
        let jobs = jobs.iter().map(|(seq, work)| Job {
            holding: holding(*seq),
            work: *work,
        });
        Frame {
            machine: MachineKey(0),
            life: Life(0),
            mark: FrameMark {
                term: Term(1),
                number,
            },
            settled: Vec::new(),
            revoked: Vec::new(),
            suspended: Vec::new(),
            resumed: Vec::new(),
            jobs: jobs.collect(),
        }
    }

    /// Runs a machine until nothing is due and tells which task finished when.
    fn finished(machine: &mut Machine, timeline: &mut Timeline) -> Vec<(u64, u64)> {
        let mut finished = Vec::new();
        while let Some(now) = timeline.next_at() {
            let Some(Due::Finish { seq, stamp, .. }) = timeline.take(now) else {
                panic!("nothing else is put down here");
            };
            if machine.finish(now, seq, stamp, timeline).is_some() {
                finished.push((seq, now));
            }
        }
        finished
    }

    #[test]
    fn no_more_run_than_there_are_slots_and_the_rest_wait_in_order() {
        let (mut machine, mut timeline) = (machine(2, 0), Timeline::default());
        machine.take_in(0, &frame(1, &[(1, 10), (2, 4), (3, 5)]), &mut timeline);
        assert_eq!(machine.busy(), 2);
        assert_eq!(
            finished(&mut machine, &mut timeline),
            [(2, 4), (3, 9), (1, 10)]
        );
        assert_eq!(machine.busy(), 0);
    }

    #[test]
    fn a_suspended_attempt_keeps_its_work_and_each_switch_costs() {
        let (mut machine, mut timeline) = (machine(1, 1), Timeline::default());
        machine.take_in(0, &frame(1, &[(1, 10)]), &mut timeline);
        let switch = Frame {
            suspended: vec![holding(1)],
            ..frame(2, &[(2, 3)])
        };
        assert_eq!(machine.take_in(4, &switch, &mut timeline), 1);
        let again = Frame {
            jobs: Vec::new(),
            ..switch
        };
        let suspended = machine.take_in(4, &again, &mut timeline);
        assert_eq!(suspended, 0, "it stands still already");
        let held = machine.beat(5, Span::from_ms(1), &[]).held;
        let stages: Vec<Stage> = held.iter().map(|held| held.stage).collect();
        assert_eq!(stages, [Stage::Suspended, Stage::Running]);
        // The short one needs 1 for the switch and 3 of its own; then 6 of the long one are left.
        assert_eq!(finished(&mut machine, &mut timeline), [(2, 8)]);
        let resume = Frame {
            resumed: vec![holding(1)],
            ..frame(3, &[])
        };
        machine.take_in(8, &resume, &mut timeline);
        assert_eq!(finished(&mut machine, &mut timeline), [(1, 14)]);
    }

    #[test]
    fn a_revoked_attempt_frees_its_slot_and_is_never_reported() {
        let (mut machine, mut timeline) = (machine(1, 1), Timeline::default());
        machine.take_in(0, &frame(1, &[(1, 10), (2, 5)]), &mut timeline);
        let revoke = Frame {
            revoked: vec![holding(1)],
            ..frame(2, &[])
        };
        machine.take_in(3, &revoke, &mut timeline);
        assert_eq!(finished(&mut machine, &mut timeline), [(2, 8)]);
    }

    #[test]
    fn an_outcome_is_reported_until_it_is_settled() {
        let (mut machine, mut timeline) = (machine(1, 1), Timeline::default());
        machine.take_in(0, &frame(1, &[(1, 10)]), &mut timeline);
        finished(&mut machine, &mut timeline);
        assert_eq!(machine.repeat(10).len(), 0, "it was reported just now");
        let again = machine.repeat(10 + REPEAT_EVERY);
        assert_eq!(again.len(), 1);
        let settled = Frame {
            settled: vec![again[0].number],
            ..frame(2, &[])
        };
        machine.take_in(20, &settled, &mut timeline);
        assert_eq!(machine.repeat(10 + 5 * REPEAT_EVERY).len(), 0);
        assert!(machine.beat(20, Span::from_ms(1), &[]).held.is_empty());
    }

    #[test]
    fn a_lost_worker_takes_everything_with_it_and_comes_back_under_another_name() {
        let (mut machine, mut timeline) = (machine(1, 1), Timeline::default());
        machine.take_in(0, &frame(1, &[(1, 10)]), &mut timeline);
        let before = machine.id.clone();
        machine.fail();
        machine.restart(5);
        assert_ne!(machine.id, before);
        machine.take_in(5, &frame(2, &[(1, 10)]), &mut timeline);
        assert_eq!(finished(&mut machine, &mut timeline), [(1, 15)]);
    }
}
