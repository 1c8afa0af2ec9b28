//! The gap on a worker before the task for which it is kept, by the estimates of what runs there.

use rota_wire::{Micros, Resources};

use crate::fleet::Worker;
use crate::scheduler::Scheduler;
use crate::tasks::Task;

/// When a task can begin on a worker, and what is left beside it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Nothing if an attempt has to end of which nothing is known.
    pub(crate) start: Option<Micros>,
    spare: Resources,
    spare_slots: u32,
}

/// An attempt that runs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ends {
    /// What is not known comes last.
    at: u64,
    since: Micros,
    seq: u64,
}

impl Scheduler {
    /// The gap before a task on a worker.
    pub(crate) fn gap(&self, worker: &Worker, reserved: &Task) -> Gap {
        let kind = &reserved.spec.kind;
        let (demand, limit) = (reserved.needed(), self.fleet.limit(worker, kind));
        let (mut freed, mut slots, mut used) =
            (Resources::NONE, worker.free_slots(), worker.used(kind));
        let mut at = self.now.0;
        let mut ends = self.ends_on(worker).into_iter();
        loop {
            let room = worker.room_without(freed);
            if demand.fits(room) && slots > 0 && used < limit {
                return Gap {
                    start: (at < u64::MAX).then_some(Micros(at)),
                    spare: room.minus(demand),
                    spare_slots: slots - 1,
                };
            }
            let next = ends.next();
            let Some((next, task)) = next.and_then(|next| Some((next, self.tasks.get(next.seq)?)))
            else {
                // It waits for what is suspended there, or for what is not in the books.
                return Gap {
                    start: None,
                    spare: Resources::NONE,
                    spare_slots: 0,
                };
            };
            at = next.at;
            freed = freed.plus(task.spec.options.demand);
            slots = slots.saturating_add(1);
            used = used.saturating_sub(u32::from(task.spec.kind == *kind));
        }
    }

    /// What runs on a worker, the next to end first.
    fn ends_on(&self, worker: &Worker) -> Vec<Ends> {
        let held = worker.held().iter().filter_map(|seq| self.tasks.get(*seq));
        let mut ends: Vec<Ends> = held.filter_map(|task| self.ends(task)).collect();
        ends.sort_unstable();
        ends
    }

    fn ends(&self, task: &Task) -> Option<Ends> {
        let run = task.running()?;
        let now = self.now.0;
        let at = task.expected.map_or(u64::MAX, |expected| {
            let end = run.since.0.saturating_add(expected.saturating_sub(run.ran));
            if end > now {
                return end;
            }
            // It takes longer than was expected: half as long again as until now.
            let ran = now.saturating_sub(run.since.0).saturating_add(run.ran);
            now.saturating_add((ran / 2).max(1_000))
        });
        let (since, seq) = (run.since, task.delivery.seq);
        Some(Ends { at, since, seq })
    }
}

impl Gap {
    /// Whether a task may begin now: it ends before, or there is room for it beside.
    pub(crate) fn takes(&self, task: &Task, now: Micros) -> bool {
        let left = task
            .expected
            .map(|expected| expected.saturating_sub(task.ran));
        let ends = left.map(|left| now.0.saturating_add(left));
        let before = self
            .start
            .zip(ends)
            .is_some_and(|(start, end)| end <= start.0);
        before || (self.spare_slots > 0 && task.needed().fits(self.spare))
    }
}
