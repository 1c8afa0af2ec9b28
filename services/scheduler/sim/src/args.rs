//! `rota simulate`: its flags, and what they ask for.

mod choice;

use std::io::Write;
use std::path::PathBuf;

use rota_scheduler_core::{Allocation, Binding, LoadView, Options, Order, Policy};
use rota_wire::{Cpu, Memory, Resources};

pub use choice::{InvalidEstimates, LoadSeen, OutputFormat};

use crate::compare::{Run, Strategy, Variant, compare};
use crate::plot::{Heading, plot};
use crate::quantity::{Ageing, InvalidQuantity, Lapse, Load, Rate, Share};
use crate::setup::{Estimates, Setup};
use crate::table::table;
use crate::workload::{Demands, Priorities, Workload, WorkloadError};

/// The scheduler knows this many tasks of each lane where it has to look at all that wait.
const LOOK_AHEAD_ALL: u32 = 1_000_000;
/// The longest wait that the scheduler takes, in mean service times: no simulation is as long.
const RESERVE_NEVER: f64 = 864.0;
/// Tasks in its memory, at most.
const TASKS_MAX: usize = 10_000_000;

/// Shows what the scheduler's strategies give on a virtual clock
///
/// Runs the scheduler's own decisions against a model of workers and messages. Times are in mean service
/// times; a trace keeps its own seconds. The same flags give the same output, byte for byte.
#[derive(Debug, Clone, clap::Args)]
#[allow(
    rustdoc::invalid_html_tags,
    reason = "these are help texts, printed as they stand"
)]
pub struct Args {
    /// Workers, 1 to 20000
    #[arg(long, value_name = "COUNT", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub workers: u32,

    /// Slots of each worker, 1 to 4096
    #[arg(long, value_name = "COUNT", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub slots: u32,

    /// Cores that each worker may give to tasks that ask for some
    #[arg(long, value_name = "CORES")]
    pub cpu: Option<Cpu>,

    /// Memory that each worker may give to tasks that ask for some
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<Memory>,

    /// What arrives as a share of what all slots can serve, more than 0 and less than 1
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "0.8",
        allow_negative_numbers = true
    )]
    pub load: Load,

    /// Tasks that arrive; of a trace, at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub tasks: u64,

    /// The share of tasks, from the first, that no figure counts
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "0.1",
        allow_negative_numbers = true
    )]
    pub warmup: Share,

    /// Seeds everything that is drawn
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// How long tasks take: exp, h2:<cv2>, pareto:<alpha>,<max/min>, lognormal:<mu>,<sigma>,
    /// deterministic, trace:<file.csv>
    ///
    /// All but a trace are scaled to mean 1 and arrive as a Poisson process. A trace is a CSV file with a
    /// header row: arrival_s,duration_s and, if wanted, kind, priority, cpu (cores), memory (bytes).
    #[arg(long, value_name = "WORKLOAD", default_value = "exp")]
    pub workload: String,

    /// How urgent tasks are: <priority>:<share>,… ; a trace has its own
    #[arg(long, value_name = "MIX", default_value = "5:1")]
    pub priorities: Priorities,

    /// Cores that tasks of a priority ask for: <priority>:<cores>,… ; a trace has its own
    #[arg(long, value_name = "MIX")]
    pub demands: Option<Demands>,

    /// Which worker a task goes to: random, round-robin, least-loaded, power-of-two, resource; several are
    /// compared
    #[arg(
        long,
        value_name = "ALLOCATION",
        value_delimiter = ',',
        default_value = "least-loaded"
    )]
    pub allocation: Vec<Allocation>,

    /// When a task is bound to a worker: late (when one can start it) or early (on arrival)
    #[arg(long, value_name = "BINDING", default_value = "late")]
    pub binding: Binding,

    /// Which task is next: fifo, priority, sjf, srtf, time-slice, las; several are compared
    #[arg(
        long,
        value_name = "ORDER",
        value_delimiter = ',',
        default_value = "priority"
    )]
    pub order: Vec<Order>,

    /// How long a task waits to gain one level of priority, or never
    #[arg(long, value_name = "TIME", default_value = "never")]
    pub ageing: Ageing,

    /// The slice of time-slice and the grain of las, more than 0
    #[arg(long, value_name = "TIME", default_value = "0.1", allow_negative_numbers = true,
        value_parser = Lapse::parse_quantum)]
    pub quantum: Lapse,

    /// How long a task runs before it may be suspended
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub min_run: Lapse,

    /// Suspended tasks on one worker, at most
    #[arg(long, value_name = "COUNT", default_value_t = Options::default().suspended_max,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub suspended_max: u32,

    /// How long a task that asks for more than any worker has free waits until one is kept for it, or never
    #[arg(long, value_name = "TIME", default_value = "0.6", value_parser = parse_reserve_after)]
    pub reserve_after: Lapse,

    /// What a slot needs to go from a suspended task to the next
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub switch_cost: Lapse,

    /// How often a worker is heard; 0, or more than 200: as rarely as the scheduler bears
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0.5",
        allow_negative_numbers = true
    )]
    pub heartbeat: Lapse,

    /// How long a message takes from one to the other
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub delay: Lapse,

    /// What a task says of its duration: exact, learned (nothing), noisy:<sigma>
    #[arg(long, value_name = "ESTIMATES", default_value = "exact")]
    pub estimates: Estimates,

    /// How often each worker is lost in a mean service time; another starts in its place
    #[arg(
        long,
        value_name = "RATE",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub losses: Rate,

    /// Tasks of each lane that the scheduler knows beyond what free slots could start [default: 64 where
    /// the first of each lane are enough, which is with late binding by fifo or priority; else all]
    #[arg(long, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub look_ahead: Option<u32>,

    /// What counts as a worker's load: all that the scheduler knows, or only what its last heartbeat said
    ///
    /// The scheduler always counts. The other shows what happens to one that does not.
    #[arg(long, value_enum, default_value = "counted")]
    pub load_view: LoadSeen,

    /// How the figures are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: OutputFormat,

    /// Also draws response and slowdown by percentile into this file
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The workload makes no sense, or its trace cannot be used.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// No worker could ever run it.
    #[error(
        "a task asks for {resource} {wanted} and a worker has {had}: give --{resource} \
         {wanted} or more"
    )]
    TooSmall {
        /// `cpu` or `memory`.
        resource: &'static str,
        /// What is asked for.
        wanted: String,
        /// What there is.
        had: String,
    },
    /// The plot cannot be written.
    #[error("the plot {} cannot be written", path.display())]
    Plot {
        /// Where to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The figures cannot be printed.
    #[error("the figures cannot be printed")]
    Print(#[source] std::io::Error),
}

/// Simulates what the flags ask for, prints the figures to `out`, and draws the plot.
///
/// # Errors
/// [`SimulateError`], before anything runs unless it is about where the output goes.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), SimulateError> {
    let variants = args.variants();
    let setup = args.setup()?;
    let runs = compare(&setup, &variants);
    print(args.format, &runs, out).map_err(SimulateError::Print)?;
    let Some(path) = &args.plot else {
        return Ok(());
    };
    std::fs::write(path, plot(&args.heading(&setup), &runs)).map_err(|source| SimulateError::Plot {
        path: path.clone(),
        source,
    })
}

fn print(format: OutputFormat, runs: &[Run], out: &mut dyn Write) -> std::io::Result<()> {
    match format {
        OutputFormat::Table => out.write_all(table(runs).as_bytes()),
        OutputFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, runs)?;
            out.write_all(b"\n")
        }
    }
}

impl Args {
    /// The strategies that are compared: every order with every allocation.
    fn variants(&self) -> Vec<Variant> {
        let mut variants = Vec::new();
        for order in &self.order {
            for allocation in &self.allocation {
                variants.push(Variant {
                    strategy: Strategy {
                        allocation: allocation.to_string(),
                        binding: self.binding.to_string(),
                        order: order.to_string(),
                    },
                    core: self.core_options(*allocation, *order),
                });
            }
        }
        variants
    }

    /// What the core is told.
    fn core_options(&self, allocation: Allocation, order: Order) -> Options {
        let policy = Policy {
            allocation,
            binding: self.binding,
            order,
            ageing: self.ageing.0.map(Lapse::span),
            quantum: self.quantum.span(),
            min_run: self.min_run.span(),
        };
        Options {
            suspended_max: self.suspended_max,
            load_view: match self.load_view {
                LoadSeen::Counted => LoadView::Counted,
                LoadSeen::Heartbeat => LoadView::HeartbeatOnly,
            },
            look_ahead: self.look_ahead.unwrap_or_else(|| look_ahead(&policy)),
            tasks_max: TASKS_MAX,
            reserve_after: self.reserve_after.span(),
            policy,
            ..Options::default()
        }
    }

    /// What each worker has, if that is enough for each task of a trace.
    fn resources(&self, workload: &Workload) -> Result<Resources, SimulateError> {
        let had = Resources {
            cpu: self.cpu.unwrap_or_default(),
            memory: self.memory.unwrap_or_default(),
        };
        let wanted = match workload {
            Workload::Trace(trace) => trace.largest_demand(),
            _ => self.demands().largest(),
        };
        let too_small = |resource, wanted: String, had: String| SimulateError::TooSmall {
            resource,
            wanted,
            had,
        };
        if wanted.cpu > had.cpu {
            let (wanted, had) = (wanted.cpu.to_string(), had.cpu.to_string());
            return Err(too_small("cpu", wanted, had));
        }
        if wanted.memory > had.memory {
            let (wanted, had) = (wanted.memory.to_string(), had.memory.to_string());
            return Err(too_small("memory", wanted, had));
        }
        Ok(had)
    }

    fn setup(&self) -> Result<Setup, SimulateError> {
        let workload = Workload::parse(&self.workload)?;
        Ok(Setup {
            workers: self.workers,
            slots: self.slots,
            resources: self.resources(&workload)?,
            load: self.load,
            tasks: self.tasks,
            warmup: self.warmup,
            seed: self.seed,
            workload,
            priorities: self.priorities.clone(),
            demands: self.demands(),
            heartbeat: self.heartbeat,
            delay: self.delay,
            switch_cost: self.switch_cost,
            losses: self.losses,
            estimates: self.estimates,
            core: Options::default(),
        })
    }

    fn demands(&self) -> Demands {
        self.demands.clone().unwrap_or_default()
    }

    fn heading(&self, setup: &Setup) -> Heading {
        let (workers, slots) = (self.workers, self.slots);
        let fleet = format!("workers: {workers}, slots of each: {slots}");
        match &setup.workload {
            Workload::Trace(_) => Heading {
                title: format!("{}, {fleet}", setup.workload),
                unit: "seconds",
            },
            drawn => Heading {
                title: format!("{drawn}, {fleet}, load {}", self.load.value()),
                unit: "mean service times",
            },
        }
    }
}

fn parse_reserve_after(text: &str) -> Result<Lapse, InvalidQuantity> {
    if text.trim() == "never" {
        return Lapse::new(RESERVE_NEVER);
    }
    Lapse::parse_quantum(text)
}

/// How many tasks of each lane are to be known. Lanes are in the order of arrival: where that is all that
/// counts, apart from priority, and a task goes nowhere before it begins, the first few are enough.
const fn look_ahead(policy: &Policy) -> u32 {
    match (policy.order, policy.binding) {
        (Order::Fifo | Order::Priority, Binding::Late) => 64,
        _ => LOOK_AHEAD_ALL,
    }
}
