//! What is simulated: the fleet, the load, what goes wrong, and the core's own options.

use rota_scheduler_core::Options;
use rota_wire::Resources;

use crate::quantity::{Lapse, Load, Rate, Share};
use crate::workload::{Demands, Priorities, Workload};

/// One simulation.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Workers, 1 or more.
    pub workers: u32,
    /// Slots of each worker, 1 or more.
    pub slots: u32,
    /// What arrives as a share of what all slots can serve; a trace has its own.
    pub load: Load,
    /// Tasks that arrive; of a trace at most so many.
    pub tasks: u64,
    /// The share of tasks, from the first, that no figure counts.
    pub warmup: Share,
    /// Seeds everything that is drawn.
    pub seed: u64,
    /// What each worker may give to tasks that ask for cores or memory.
    pub resources: Resources,
    /// How long tasks take.
    pub workload: Workload,
    /// How urgent they are; a trace has its own.
    pub priorities: Priorities,
    /// What tasks of each priority ask for; a trace has its own.
    pub demands: Demands,
    /// How often a worker is heard. Zero, or more than 200: as rarely as the core bears, for it loses a
    /// silent worker.
    pub heartbeat: Lapse,
    /// How long a message takes from one to the other.
    pub delay: Lapse,
    /// What a slot needs before the first attempt after a suspension goes on.
    pub switch_cost: Lapse,
    /// How often each worker is lost. Another starts in its place.
    pub losses: Rate,
    /// What a task says of its own duration.
    pub estimates: Estimates,
    /// The scheduler's options.
    pub core: Options,
}

/// What a task says of its own duration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimates {
    /// The truth.
    Exact,
    /// Nothing: the scheduler learns from what has run.
    Learned,
    /// The truth times a lognormal of median 1 with this sigma.
    Noisy(f64),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 10,
            slots: 1,
            load: Load::new(0.8).expect("it is between 0 and 1"),
            tasks: 100_000,
            warmup: Share::new(0.1).expect("it is less than 1"),
            seed: 1,
            resources: Resources::NONE,
            workload: Workload::Exponential,
            priorities: Priorities::default(),
            demands: Demands::default(),
            heartbeat: Lapse::new(0.5).expect("it is short"),
            delay: Lapse::ZERO,
            switch_cost: Lapse::ZERO,
            losses: Rate::default(),
            estimates: Estimates::Exact,
            core: Options::default(),
        }
    }
}

impl Setup {
    /// How many tasks arrive.
    pub(crate) fn arrivals(&self) -> u64 {
        match &self.workload {
            Workload::Trace(trace) => self.tasks.min(trace.tasks().len() as u64),
            Workload::Exponential
            | Workload::Hyperexponential { .. }
            | Workload::BoundedPareto { .. }
            | Workload::Lognormal { .. }
            | Workload::Deterministic => self.tasks,
        }
    }

    /// Slots of all workers.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.workers) * u64::from(self.slots)
    }
}
