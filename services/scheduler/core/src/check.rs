//! What must hold at any moment, looked at from all sides. For tests and the simulator.

use std::collections::BTreeMap;

use rota_wire::Lane;

use crate::scheduler::Scheduler;
use crate::tasks::TaskState;

impl Scheduler {
    /// Looks whether all books agree with each other.
    ///
    /// # Errors
    /// The first disagreement, in words.
    pub fn check(&self) -> Result<(), String> {
        self.check_holds()?;
        self.check_queue()?;
        self.check_lanes()
    }

    fn check_holds(&self) -> Result<(), String> {
        let mut held = 0;
        for (seq, task) in self.tasks.iter() {
            let TaskState::Held(hold) = task.state else {
                continue;
            };
            held += 1;
            let worker = self.fleet.get(hold.worker);
            let worker = worker.ok_or_else(|| format!("task {seq} is held by nobody"))?;
            if !worker.held().contains(&seq) {
                return Err(format!("task {seq} is not in the books of {}", worker.id));
            }
        }
        let booked: usize = self
            .fleet
            .iter()
            .map(|(_, worker)| worker.held().len())
            .sum();
        if booked == held {
            Ok(())
        } else {
            Err(format!("{booked} tasks booked, {held} held"))
        }
    }

    fn check_queue(&self) -> Result<(), String> {
        let ready = self
            .tasks
            .iter()
            .filter(|(_, task)| matches!(task.state, TaskState::Ready));
        let ready = ready.count();
        let queued = self.queue.len() + self.suspects.len();
        if ready == queued {
            Ok(())
        } else {
            Err(format!("{ready} tasks ready, {queued} queued"))
        }
    }

    fn check_lanes(&self) -> Result<(), String> {
        let mut counted: BTreeMap<&Lane, (u32, u32)> = BTreeMap::new();
        for (_, task) in self.tasks.iter() {
            let (waiting, returning) = counted.entry(&task.lane).or_default();
            match task.state {
                TaskState::LookingUp | TaskState::Ready => *waiting += 1,
                TaskState::Returning => *returning += 1,
                TaskState::Held(_) | TaskState::Settling(_) => {}
            }
        }
        for (lane, book) in self.lanes.iter() {
            let found = counted.get(lane).copied().unwrap_or_default();
            if found != (book.waiting, book.returning) {
                let booked = (book.waiting, book.returning);
                return Err(format!(
                    "lane {lane}: {found:?} waiting and returning, booked {booked:?}"
                ));
            }
        }
        Ok(())
    }
}
