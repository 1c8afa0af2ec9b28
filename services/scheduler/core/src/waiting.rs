//! Where a task waits: its line, its rank, and what is expected of it.

use rota_wire::{Kind, Resources, Span};

use crate::allocation::Wish;
use crate::fleet::{Part, Seats, WorkerKey, cpu_of};
use crate::order::{self, Running, Waiting};
use crate::policy::Policy;
use crate::queue::Standing;
use crate::scheduler::Scheduler;
use crate::tasks::{Course, Hold, Task, TaskState};

/// Tasks whose ranks compare: those of kinds with the installation's order, or of one kind with its own.
pub(crate) type Group = Option<Kind>;

impl Scheduler {
    pub(crate) fn policy(&self, kind: &Kind) -> Policy {
        self.options.policy_of(kind)
    }

    pub(crate) fn group(&self, kind: &Kind) -> Group {
        let own = self.options.kinds.get(kind);
        own.filter(|own| own.order != self.options.policy.order)
            .map(|_| kind.clone())
    }

    /// How long a task is expected to run, in microseconds: as its submitter says, or as others of its kind
    /// did.
    pub(crate) fn expected(&self, task: &Task) -> Option<u64> {
        let said = task.spec.options.duration.map(order::micros);
        said.or_else(|| self.estimates.expected(&task.spec.kind))
    }

    /// Puts a task into its line: one that is ready, or a suspended attempt.
    pub(crate) fn enqueue(&mut self, seq: u64) {
        self.came += 1;
        let came = self.came;
        let Some(task) = self.tasks.get(seq) else {
            return;
        };
        let policy = self.policy(&task.spec.kind);
        let (kind, options) = (task.spec.kind.clone(), &task.spec.options);
        let (demand, requires) = (options.demand, options.requires.as_slice());
        // Who has found his worker needs no labels any more.
        let (at, standing, demand, requires) = match (&task.state, task.bound) {
            (TaskState::Held(hold), _) => (
                Some(hold.worker),
                Standing::Suspended,
                cpu_of(demand),
                &[][..],
            ),
            (_, Some(worker)) => (Some(worker), Standing::New, demand, &[][..]),
            (_, None) => (None, Standing::New, demand, requires),
        };
        let line = self.queue.line_for(at, kind, standing, demand, requires);
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        task.came = came;
        let place = (order::rank(&policy, &task.waiting()), seq);
        self.queue.insert(&line, place);
        if let Some(worker) = at {
            self.runners.touch(worker);
        }
        task.place = Some((line, place));
    }

    /// Takes a task out of its line. No worker is kept for it any more.
    pub(crate) fn dequeue(&mut self, seq: u64) {
        self.unreserve(seq);
        let place = self.tasks.get_mut(seq).and_then(|task| task.place.take());
        if let Some((line, place)) = place {
            self.queue.remove(&line, place);
        }
    }

    /// Has a ready task wait for one worker alone.
    pub(crate) fn bind(&mut self, seq: u64, worker: WorkerKey) {
        self.dequeue(seq);
        if let Some(task) = self.tasks.get_mut(seq) {
            task.bound = Some(worker);
            self.fleet.bind(worker);
        }
        self.enqueue(seq);
    }

    /// A task is not bound any more: it has begun, is gone, or its worker is.
    pub(crate) fn unbind(&mut self, seq: u64) {
        let bound = self.tasks.get_mut(seq).and_then(|task| task.bound.take());
        if let Some(worker) = bound {
            self.fleet.unbind(worker);
        }
    }

    /// Tasks that were bound to a worker may go anywhere again.
    pub(crate) fn unbind_all(&mut self, worker: WorkerKey) {
        let mut bound = Vec::new();
        for (_, seq) in self.queue.places_at(worker) {
            if self.tasks.get(seq).is_some_and(|task| task.bound.is_some()) {
                bound.push(seq);
            }
        }
        for seq in bound {
            self.dequeue(seq);
            self.unbind(seq);
            self.enqueue(seq);
        }
    }

    /// Notes that an attempt runs from now on.
    pub(crate) fn begin_run(&mut self, seq: u64) {
        let now = self.now;
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        let (ran, expected) = (task.ran, task.expected.unwrap_or(0));
        let TaskState::Held(hold) = &mut task.state else {
            return;
        };
        let running = Running {
            since: now,
            ran,
            expected,
        };
        let (worker, kind) = (hold.worker, task.spec.kind.clone());
        let turn = order::turn(self.options.policy_of(&kind).order, &running);
        let turn = turn.filter(|_| !task.undisturbed);
        hold.course = Course::Running { since: now, turn };
        if let Some(turn) = turn {
            let group = self.group(&kind);
            if let Some(class) = self.fleet.get(worker).map(|worker| worker.class) {
                self.runners.insert(worker, class, group, turn, seq);
            }
        }
    }

    /// Notes that an attempt does not run any more, and how long it did.
    pub(crate) fn end_run(&mut self, seq: u64) {
        let now = self.now;
        let Some(task) = self.tasks.get_mut(seq) else {
            return;
        };
        let TaskState::Held(Hold {
            worker,
            course: Course::Running { since, turn },
            ..
        }) = task.state
        else {
            return;
        };
        task.ran = task.ran.saturating_add(now.0.saturating_sub(since.0));
        if let Some(turn) = turn {
            let kind = task.spec.kind.clone();
            let group = self.group(&kind);
            self.runners.remove(worker, &group, turn, seq);
        }
    }
}

impl Task {
    /// What an order looks at while it waits.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            submitted: self.spec.submitted,
            priority: self.spec.options.priority,
            expected: self.expected.unwrap_or(0),
            ran: self.ran,
            came: self.came,
        }
    }

    /// What an order looks at while it runs; nothing while it does not.
    pub(crate) fn running(&self) -> Option<Running> {
        match self.state {
            TaskState::Held(Hold {
                course: Course::Running { since, .. },
                ..
            }) => Some(Running {
                since,
                ran: self.ran,
                expected: self.expected.unwrap_or(0),
            }),
            _ => None,
        }
    }

    /// What it needs of a worker to begin, or to go on where its memory is already.
    pub(crate) fn needed(&self) -> Resources {
        let demand = self.spec.options.demand;
        if self.is_suspended() {
            cpu_of(demand)
        } else {
            demand
        }
    }

    /// What is looked for when it needs a worker.
    pub(crate) fn wish(&self, seats: Seats) -> Wish<'_> {
        Wish {
            kind: &self.spec.kind,
            requires: &self.spec.options.requires,
            demand: self.spec.options.demand,
            seats,
        }
    }

    /// What the books of a worker are told of it.
    pub(crate) fn part(&self) -> Part<'_> {
        Part {
            seq: self.delivery.seq,
            kind: &self.spec.kind,
            demand: self.spec.options.demand,
        }
    }

    /// What it is expected to run, as a worker is told.
    pub(crate) fn estimate(&self) -> Option<Span> {
        self.expected.map(|micros| Span::from_ms(micros / 1_000))
    }
}
