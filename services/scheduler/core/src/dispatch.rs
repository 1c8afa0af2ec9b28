//! Who gets what: the turn in which waiting tasks are placed, frames closed and lanes pulled.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rota_wire::{Holding, Kind, Micros};

use crate::action::{Action, AssignFrame, Placed};
use crate::explain::By;
use crate::fleet::{Outbox, Reader, Seats, Worker, WorkerKey};
use crate::order;
use crate::policy::Binding;
use crate::queue::{Line, Place};
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, Task, TaskState};
use crate::waiting::Group;

/// Tasks that no worker could take which others of their kind may pass.
const STRANDED_MAX: u32 = 1_000;

/// Tasks under suspicion for which a worker is looked for in each turn.
const SUSPECTS_TRIED: usize = 64;

/// The heads of all lines that may find a free slot, the next of each group first.
#[derive(Default)]
struct Heads(BTreeMap<Group, BTreeSet<(Place, Line)>>);

impl Scheduler {
    /// Decides on all that is known: to be called once after the events of a turn.
    pub fn dispatch(&mut self, now: Micros, actions: &mut Vec<Action>) {
        self.now = now;
        self.follow_service(actions);
        self.release_held_back(now);
        self.complete_recovery(actions);
        self.place_suspects(actions);
        self.place_reserved(actions);
        self.place_ready(actions);
        self.backfill(actions);
        self.preempt(actions);
        self.reserve(now, actions);
        self.send_all(actions);
        self.pull(actions);
    }

    /// Closes all frames. What is too much for one goes into another.
    fn send_all(&mut self, actions: &mut Vec<Action>) {
        loop {
            let workers = self.fleet.take_outgoing();
            if workers.is_empty() {
                return;
            }
            for worker in workers {
                if let Some((reader, outbox)) = self.fleet.take_outbox(worker) {
                    actions.push(assign(reader, outbox));
                }
            }
        }
    }

    /// Gives free slots to whatever is next, until nothing that waits has a worker with a free slot.
    fn place_ready(&mut self, actions: &mut Vec<Action>) {
        let mut heads = self.heads();
        let mut head = self.next_head(&mut heads);
        while let Some((line, seq)) = head {
            let found = match line.at {
                None => self.place_anywhere(seq, &mut heads, actions),
                Some(worker) => self.place_at(seq, worker, actions),
            };
            let next = if found { self.queue.head(&line) } else { None };
            head = match next {
                // The only line there is: its next is the next of all.
                Some((_, seq)) if heads.0.is_empty() => Some((line, seq)),
                Some(place) => {
                    heads.insert(self.group(&line.row.kind), place, line);
                    self.next_head(&mut heads)
                }
                None => self.next_head(&mut heads),
            };
        }
    }

    fn heads(&mut self) -> Heads {
        let mut heads = Heads::default();
        for (place, row) in self.queue.heads_anywhere() {
            let (at, row) = (None, row.clone());
            heads.insert(self.group(&row.kind), place, Line { at, row });
        }
        for worker in self.fleet.take_freed() {
            for (place, row) in self.queue.heads_at(worker) {
                let (at, row) = (Some(worker), row.clone());
                heads.insert(self.group(&row.kind), place, Line { at, row });
            }
        }
        heads
    }

    /// The next head. Groups have orders of their own, so between two of them urgency decides.
    fn next_head(&self, heads: &mut Heads) -> Option<(Line, u64)> {
        let group = if heads.0.len() <= 1 {
            heads.0.keys().next()?.clone()
        } else {
            let ageing = self.options.policy.ageing;
            let urgency = |seq: u64| {
                let task = self.tasks.get(seq);
                task.map(|task| (order::urgency(ageing, &task.waiting()), seq))
            };
            let firsts = heads.0.iter().filter_map(|(group, places)| {
                let ((_, seq), _) = places.first()?;
                Some((urgency(*seq), group))
            });
            firsts.min()?.1.clone()
        };
        heads.pop(&group)
    }

    /// Starts a task where there is a free slot, or binds it to a worker if its kind is bound early.
    fn place_anywhere(&mut self, seq: u64, heads: &mut Heads, actions: &mut Vec<Action>) -> bool {
        let Some(task) = self.tasks.get(seq) else {
            return false;
        };
        let policy = self.policy(&task.spec.kind);
        let seats = match policy.binding {
            Binding::Late => Seats::Free,
            Binding::Early => Seats::Any,
        };
        let wish = task.wish(seats);
        let Some(worker) = self.allocator.choose(&self.fleet, policy.allocation, wish) else {
            return false;
        };
        self.note(seq, By::Allocation(policy.allocation), worker, seats);
        match policy.binding {
            Binding::Late => self.place(seq, worker, actions),
            Binding::Early => {
                self.bind(seq, worker);
                let bound = self.tasks.get(seq).and_then(|task| task.place.clone());
                if let Some((line, place)) = bound {
                    heads.insert(self.group(&line.row.kind), place, line);
                }
            }
        }
        true
    }

    /// Starts or resumes a task on the one worker for which it waits, if it has room.
    fn place_at(&mut self, seq: u64, worker: WorkerKey, actions: &mut Vec<Action>) -> bool {
        let (Some(task), Some(found)) = (self.tasks.get(seq), self.fleet.get(worker)) else {
            return false;
        };
        let fits = task.place.is_some() && self.has_room(found, task) && self.may_fill(found, task);
        if fits {
            self.begin(seq, worker, actions);
        }
        fits
    }

    pub(crate) fn has_room(&self, worker: &Worker, task: &Task) -> bool {
        let kind = &task.spec.kind;
        worker.takes_tasks()
            && worker.free_slots() > 0
            && worker.used(kind) < self.fleet.limit(worker, kind)
            && task.needed().fits(worker.room())
    }

    /// Starts a task on a worker, or lets its attempt there go on.
    pub(crate) fn begin(&mut self, seq: u64, worker: WorkerKey, actions: &mut Vec<Action>) {
        if self.tasks.get(seq).is_some_and(Task::is_suspended) {
            self.resume(seq);
        } else {
            self.place(seq, worker, actions);
        }
    }

    /// Tasks under suspicion run one at a time on a worker, so that one of them cannot make another
    /// look guilty. In each turn some of them are tried, each in its turn.
    fn place_suspects(&mut self, actions: &mut Vec<Action>) {
        if self.suspects.is_empty() {
            return;
        }
        self.fleet.want_clear();
        let all_fit = self.suspects.len() <= SUSPECTS_TRIED;
        let last = if all_fit { 0 } else { self.suspect_tried };
        let later = self
            .suspects
            .range((Bound::Excluded(last), Bound::Unbounded));
        let all = later.chain(self.suspects.range(..=last));
        let tried: Vec<u64> = all.take(SUSPECTS_TRIED).copied().collect();
        for seq in tried {
            self.suspect_tried = seq;
            let Some(task) = self.tasks.get(seq) else {
                continue;
            };
            if let Some(worker) = task.wish(Seats::Free).first_clear(&self.fleet) {
                self.place(seq, worker, actions);
            }
        }
    }

    pub(crate) fn place(&mut self, seq: u64, worker: WorkerKey, actions: &mut Vec<Action>) {
        let suspect = self.suspects.contains(&seq);
        self.leave_waiting(seq);
        let frame = self.frame_with_room(seq, worker, actions);
        let term = self.term;
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        let holding = Holding {
            term,
            delivery: task.delivery,
        };
        task.state = TaskState::Held(Hold {
            worker,
            holding,
            frame,
            ordered: frame,
            course: Course::Suspended,
        });
        task.ran = 0;
        self.counts.assigned += 1;
        let input_bytes = task.input_bytes;
        let placed = Placed {
            holding,
            task: task.spec.clone(),
            estimate: task.estimate(),
        };
        self.fleet.hold(worker, task.part(), suspect);
        if let Some(outbox) = self.fleet.outbox(worker) {
            outbox.input_bytes = outbox.input_bytes.saturating_add(input_bytes);
            outbox.tasks.push(placed);
        }
        self.begin_run(seq);
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
        if full && let Some((reader, outbox)) = self.fleet.take_outbox(worker) {
            actions.push(assign(reader, outbox));
        }
        self.fleet.outbox(worker).map_or(0, |outbox| outbox.frame)
    }

    fn pull(&mut self, actions: &mut Vec<Action>) {
        let spoken_for = self.tasks.len().saturating_add(self.lanes.owed());
        let room = self.options.tasks_max.saturating_sub(spoken_for);
        let stranded = self.stranded();
        let look_ahead = |kind| {
            let stranded = stranded.get(kind).copied().unwrap_or(0);
            self.options.look_ahead.saturating_add(stranded)
        };
        let wants = self
            .lanes
            .iter()
            .filter_map(|(lane, book)| {
                let free_slots = self.fleet.free_slots(&lane.kind);
                book.want(lane, free_slots, look_ahead(&lane.kind))
            })
            .collect();
        for (lane, count) in self.lanes.ask(wants, room) {
            actions.push(Action::Pull { lane, count });
        }
    }

    /// Tasks of each kind that no worker could ever take, as far as they may be passed: those behind them in
    /// their lanes are read all the same.
    fn stranded(&self) -> BTreeMap<Kind, u32> {
        let mut stranded: BTreeMap<Kind, u32> = BTreeMap::new();
        for (tasks, kind, demand, requires) in self.queue.needy() {
            let mut classes = self.fleet.classes_for(kind, requires);
            if !classes.any(|class| class.could_take(demand)) {
                let sum = stranded.entry(kind.clone()).or_default();
                let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
                *sum = sum.saturating_add(tasks).min(STRANDED_MAX);
            }
        }
        stranded
    }
}

impl Heads {
    fn insert(&mut self, group: Group, place: Place, line: Line) {
        self.0.entry(group).or_default().insert((place, line));
    }

    fn pop(&mut self, group: &Group) -> Option<(Line, u64)> {
        let places = self.0.get_mut(group)?;
        let ((_, seq), line) = places.pop_first()?;
        if places.is_empty() {
            self.0.remove(group);
        }
        Some((line, seq))
    }
}

fn assign(reader: Reader, outbox: Outbox) -> Action {
    let Reader { worker, dialect } = reader;
    let Outbox {
        frame,
        settled,
        revoked,
        suspended,
        resumed,
        repeated: _,
        tasks,
        input_bytes: _,
    } = outbox;
    Action::Assign(AssignFrame {
        worker,
        dialect,
        number: frame,
        settled,
        revoked,
        suspended,
        resumed,
        tasks,
    })
}

#[cfg(test)]
mod tests;
