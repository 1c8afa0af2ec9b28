//! `rota simulate`: its flags, and what they ask for.

mod choice;

use std::io::Write;
use std::path::PathBuf;

use rota_scheduler_core::Options;

pub use choice::{Allocation, Binding, InvalidEstimates, Order, OutputFormat};

use crate::compare::{Run, Strategy, Variant, compare};
use crate::plot::{Heading, plot};
use crate::quantity::{Lapse, Load, Rate, Share};
use crate::setup::{Estimates, Setup};
use crate::table::table;
use crate::workload::{Priorities, Workload, WorkloadError};

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

    /// Which worker a task goes to; several are compared
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "least-loaded"
    )]
    pub allocation: Vec<Allocation>,

    /// When a task is bound to a worker: when one can start it, or on arrival
    #[arg(long, value_enum, default_value = "late")]
    pub binding: Binding,

    /// Which task is next; several are compared
    #[arg(long, value_enum, value_delimiter = ',', default_value = "priority")]
    pub order: Vec<Order>,

    /// The slice of time-slice and the grain of las, more than 0
    #[arg(long, value_name = "TIME", default_value = "0.1", allow_negative_numbers = true,
        value_parser = Lapse::parse_positive)]
    pub quantum: Lapse,

    /// How long a task runs before it may be suspended
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub min_run: Lapse,

    /// What a slot needs to go from a suspended task to the next
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub switch_cost: Lapse,

    /// How often a worker is heard; 0: as rarely as the scheduler bears
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

    /// Tasks of each lane that the scheduler knows beyond what free slots could start
    #[arg(long, value_name = "COUNT", default_value_t = Options::default().look_ahead,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub look_ahead: u32,

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
    /// The scheduler does not have it.
    #[error("{flag} `{value}`: the scheduler cannot do that yet; it can do {can}")]
    NotYet {
        /// Which flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What would have been right.
        can: &'static str,
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
    let variants = args.variants()?;
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
    fn variants(&self) -> Result<Vec<Variant>, SimulateError> {
        let mut variants = Vec::new();
        for order in &self.order {
            for allocation in &self.allocation {
                variants.push(Variant {
                    strategy: Strategy {
                        allocation: allocation.to_string(),
                        binding: self.binding.to_string(),
                        order: order.to_string(),
                    },
                    core: self.core_options(*allocation, *order)?,
                });
            }
        }
        Ok(variants)
    }

    /// What the core is told; what it does not have is refused.
    fn core_options(&self, allocation: Allocation, order: Order) -> Result<Options, SimulateError> {
        let not_yet = |flag, value: String, can| Err(SimulateError::NotYet { flag, value, can });
        match allocation {
            Allocation::LeastLoaded => {}
            Allocation::Random
            | Allocation::RoundRobin
            | Allocation::PowerOfTwo
            | Allocation::Resource => {
                return not_yet("--allocation", allocation.to_string(), "least-loaded");
            }
        }
        match self.binding {
            Binding::Late => {}
            Binding::Early => return not_yet("--binding", self.binding.to_string(), "late"),
        }
        match order {
            // With tasks that are all as urgent, one is the other.
            Order::Priority => {}
            Order::Fifo if self.priorities == Priorities::default() => {}
            Order::Fifo | Order::Sjf | Order::Srtf | Order::TimeSlice | Order::Las => {
                let can = "priority, and fifo where all tasks have one priority";
                return not_yet("--order", order.to_string(), can);
            }
        }
        if self.estimates != Estimates::Exact {
            return not_yet("--estimates", self.estimates.to_string(), "exact");
        }
        Ok(Options {
            look_ahead: self.look_ahead,
            ..Options::default()
        })
    }

    fn setup(&self) -> Result<Setup, SimulateError> {
        Ok(Setup {
            workers: self.workers,
            slots: self.slots,
            load: self.load,
            tasks: self.tasks,
            warmup: self.warmup,
            seed: self.seed,
            workload: Workload::parse(&self.workload)?,
            priorities: self.priorities.clone(),
            heartbeat: self.heartbeat,
            delay: self.delay,
            switch_cost: self.switch_cost,
            losses: self.losses,
            estimates: self.estimates,
            core: Options::default(),
        })
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
