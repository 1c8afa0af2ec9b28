//! What must hold at any moment, looked at from all sides. For tests and the simulator.

use std::collections::BTreeMap;

use rota_wire::{Lane, Resources};

use crate::fleet::cpu_of;
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, Task, TaskState};

impl Scheduler {
    /// Looks whether all books agree with each other.
    ///
    /// # Errors
    /// The first disagreement, in words.
    pub fn check(&self) -> Result<(), String> {
        self.check_holds()?;
        self.check_queue()?;
        self.check_room()?;
        self.check_lanes()?;
        self.check_recovery()?;
        self.check_reservations()?;
        self.losses.check()
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

    /// What waits stands in one line, and what makes room among the runners.
    fn check_queue(&self) -> Result<(), String> {
        let (mut waiting, mut turns) = (0, 0);
        for (seq, task) in self.tasks.iter() {
            let ready = matches!(task.state, TaskState::Ready);
            let suspect = self.suspects.contains(&seq);
            let held_back = self.recovery.held_back_until(seq).is_some();
            if (suspect || held_back) && (!ready || suspect == held_back) {
                return Err(format!(
                    "task {seq} is suspect or held back, and not just one"
                ));
            }
            let waits = (ready && !suspect && !held_back) || task.is_suspended();
            waiting += usize::from(waits);
            turns += usize::from(makes_room(task));
            if waits != task.place.is_some() {
                return Err(format!(
                    "task {seq} waits: {waits}, in line: {:?}",
                    task.place
                ));
            }
            if task.bound.is_some() && !ready {
                return Err(format!("task {seq} is bound and does not wait"));
            }
        }
        let (queued, runners) = (self.queue.len(), self.runners.len());
        if (waiting, turns) == (queued, runners) {
            Ok(())
        } else {
            Err(format!(
                "{waiting} tasks wait, {queued} queued; {turns} may make room, {runners} among them"
            ))
        }
    }

    /// Slots and declared resources are as the attempts say, and no more are suspended than may be.
    fn check_room(&self) -> Result<(), String> {
        for (key, worker) in self.fleet.iter() {
            let held = worker.held().iter().filter_map(|seq| self.tasks.get(*seq));
            let (mut suspended, mut demand) = (0, Resources::NONE);
            for task in held {
                let wants = task.spec.options.demand;
                if task.is_suspended() {
                    suspended += 1;
                    demand = demand.plus(wants.minus(cpu_of(wants)));
                } else {
                    demand = demand.plus(wants);
                }
            }
            if (suspended, demand) != (worker.suspended(), worker.demand()) {
                return Err(format!(
                    "{}: {suspended} suspended and {demand:?}, booked {} and {:?}",
                    worker.id,
                    worker.suspended(),
                    worker.demand()
                ));
            }
            let bound = self.queue.places_at(key).filter(|(_, seq)| {
                let task = self.tasks.get(*seq);
                task.is_some_and(|task| task.bound == Some(key))
            });
            let bound = u32::try_from(bound.count()).unwrap_or(u32::MAX);
            if bound != worker.bound() {
                return Err(format!(
                    "{}: {bound} bound, booked {}",
                    worker.id,
                    worker.bound()
                ));
            }
        }
        Ok(())
    }

    fn check_lanes(&self) -> Result<(), String> {
        let mut counted: BTreeMap<&Lane, (u32, u32, u32)> = BTreeMap::new();
        for (seq, task) in self.tasks.iter() {
            let (waiting, held_back, returning) = counted.entry(&task.lane).or_default();
            match task.state {
                TaskState::LookingUp | TaskState::Ready => *waiting += 1,
                TaskState::Returning => *returning += 1,
                TaskState::Held(_) | TaskState::Settling(_) => {}
            }
            *held_back += u32::from(self.recovery.held_back_until(seq).is_some());
        }
        for (lane, book) in self.lanes.iter() {
            let found = counted.remove(lane).unwrap_or_default();
            let booked = (book.waiting, book.held_back, book.returning);
            if found != booked {
                return Err(format!(
                    "lane {lane}: {found:?} waiting, held back and returning, booked {booked:?}"
                ));
            }
            let due = book.redeliveries_due > 0 || book.away > 0;
            if due != self.lanes.unrecovered().contains(lane) && self.lanes.was_opened(lane) {
                return Err(format!("lane {lane}: recovered or not, {book:?}"));
            }
        }
        match counted.first_key_value() {
            None => Ok(()),
            Some((lane, _)) => Err(format!("lane {lane} has tasks and no book")),
        }
    }

    /// What is claimed and what waits for claims.
    fn check_recovery(&self) -> Result<(), String> {
        self.recovery.claims.check()?;
        let lost = self.lanes.unrecovered().iter();
        let mut lost = lost.filter(|lane| self.lanes.iter().all(|(known, _)| known != *lane));
        match lost.next() {
            None => Ok(()),
            Some(lane) => Err(format!("lane {lane} is to be recovered and has no book")),
        }
    }
}

const fn makes_room(task: &Task) -> bool {
    matches!(
        task.state,
        TaskState::Held(Hold {
            course: Course::Running { turn: Some(_), .. },
            ..
        })
    )
}
