//! Each case: a setup, how many tasks it takes to tell, and what theory says.
//!
//! The mean of n responses scatters by about 1/(1-ρ)²·√((1+C²)/n), so that a high load or a high variance
//! needs many tasks. Every case runs under several seeds: the scatter of their means gives the standard
//! error of the whole, and a case whose error is more than half of what it may be off fails as too small.
//! So what may be off is at least two standard errors, and a comparison that chance alone decides does not pass.
//!
//! ```text
//!          tasks                  may be off
//! usual    30,000 to 400,000      10 %, heavy tails 15 %: seconds for all
//! long     1,000,000 and more      3 %, heavy tails  5 %: `just sim-check`
//! ```

use rota_scheduler_core::{Allocation, Binding, Options, Order, Policy};
use rota_scheduler_sim::{Figures, Lapse, Load, Setup, Workload, run};

use crate::distribution::Distribution;
use crate::formulas::{
    cobham, las, mg1, mmk, processor_sharing, random_split, round_robin_split, shortest_of, sjf,
    srpt,
};

/// What is simulated in a case.
struct Case {
    name: &'static str,
    workload: &'static str,
    load: f64,
    workers: u32,
    policy: Policy,
    /// Tasks of the usual run and of the long one.
    tasks: (u64, u64),
    /// Whether few very long durations make most of the variance.
    heavy: bool,
}

const SEEDS: u64 = 10;

fn is_long() -> bool {
    std::env::var_os("ROTA_SIM_LONG").is_some()
}

fn policy(order: Order) -> Policy {
    Policy {
        order,
        ageing: None,
        min_run: Lapse::ZERO.span(),
        quantum: lapse(if is_long() { 0.02 } else { 0.05 }).span(),
        ..Policy::default()
    }
}

/// Bound on arrival, to workers that are drawn: each is a queue of its own.
fn split(order: Order) -> Policy {
    early(order, Allocation::Random)
}

fn early(order: Order, allocation: Allocation) -> Policy {
    Policy {
        allocation,
        binding: Binding::Early,
        ..policy(order)
    }
}

fn sliced(policy: Policy, quantum: f64) -> Policy {
    let quantum = lapse(quantum).span();
    Policy { quantum, ..policy }
}

fn lapse(units: f64) -> Lapse {
    Lapse::new(units).expect("in range")
}

fn case(name: &'static str, policy: Policy, workload: &'static str, load: f64) -> Case {
    Case {
        name,
        workload,
        load,
        workers: 1,
        policy,
        tasks: (0, 0),
        heavy: false,
    }
}

impl Case {
    fn on(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// Thousands of tasks in the usual run and in the long one; 0 for none at all.
    fn thousands(self, usual: u64, long: u64) -> Self {
        let tasks = (usual * 1_000, long * 1_000);
        Self { tasks, ..self }
    }

    fn heavy(self) -> Self {
        Self {
            heavy: true,
            ..self
        }
    }

    fn tasks(&self) -> u64 {
        if is_long() {
            self.tasks.1
        } else {
            self.tasks.0
        }
    }

    fn may_be_off(&self) -> f64 {
        match (is_long(), self.heavy) {
            (true, false) => 0.03,
            (true, true) => 0.05,
            (false, false) => 0.1,
            (false, true) => 0.15,
        }
    }

    fn setup(&self) -> Setup {
        Setup {
            workers: self.workers,
            load: Load::new(self.load).expect("a load of the cases"),
            workload: Workload::parse(self.workload).expect("a workload of the cases"),
            // Where nothing goes wrong they only cost time.
            heartbeat: Lapse::ZERO,
            core: Options {
                policy: self.policy,
                suspended_max: 10_000,
                look_ahead: 1_000_000,
                tasks_max: 10_000_000,
                ..Options::default()
            },
            ..Setup::default()
        }
    }

    /// Runs all seeds and compares the mean response with theory.
    fn expect(&self, theory: impl FnOnce() -> f64) {
        self.compare(&self.setup(), "", theory, |figures| figures.mean_response);
    }

    fn compare(
        &self,
        setup: &Setup,
        what: &str,
        theory: impl FnOnce() -> f64,
        figure: impl Fn(&Figures) -> f64,
    ) {
        if self.tasks() == 0 {
            return;
        }
        let (theory, (found, error)) = (theory(), self.mean_and_error(setup, figure));
        let (off, error) = (found / theory - 1.0, error / theory);
        println!(
            "| {:<22} | {:<15} | {:>4} | {:>3} | {:>6} | {theory:>8.3} | {found:>8.3} | {:>+6.2} % | {:>5.2} % |",
            format!("{}{what}", self.name),
            self.workload,
            self.load,
            self.workers,
            format!("{}k", self.tasks() / 1_000),
            off * 100.0,
            error * 100.0,
        );
        let (name, may) = (self.name, self.may_be_off());
        assert!(off.abs() < may, "{name}{what}: {found} for {theory}");
        assert!(error < may / 2.0, "{name}{what}: too few tasks to tell");
    }

    /// The mean over all seeds, and its standard error.
    fn mean_and_error(&self, setup: &Setup, figure: impl Fn(&Figures) -> f64) -> (f64, f64) {
        let means: Vec<f64> = (1..=SEEDS)
            .map(|seed| {
                let figures = run(&Setup {
                    tasks: self.tasks() / SEEDS,
                    seed,
                    ..setup.clone()
                });
                assert_eq!(figures.lost, 0);
                figure(&figures)
            })
            .collect();
        let count = SEEDS as f64;
        let mean = means.iter().sum::<f64>() / count;
        let squares: f64 = means.iter().map(|one| (one - mean).powi(2)).sum();
        (mean, (squares / (count - 1.0) / count).sqrt())
    }
}

const EXP: Distribution = Distribution::Exponential;
const H2: Distribution = Distribution::Hyperexponential { cv2: 10.0 };
/// `pareto:1.5,1000`
const PARETO: Distribution = Distribution::BoundedPareto {
    alpha: 1.5,
    ratio: 1_000.0,
};

#[test]
fn one_server_is_an_mm1_and_ten_bound_late_are_erlangs_c() {
    for (load, one, ten) in [
        (0.5, (60, 1_000), (60, 1_000)),
        (0.8, (300, 2_000), (100, 1_000)),
        (0.9, (0, 6_000), (200, 3_000)),
    ] {
        let fifo = || policy(Order::Fifo);
        let case_1 = case("M/M/1", fifo(), "exp", load).thousands(one.0, one.1);
        case_1.expect(|| mmk(1, load));
        let case_10 = case("M/M/k", fifo(), "exp", load).on(10);
        case_10.thousands(ten.0, ten.1).expect(|| mmk(10, load));
    }
}

#[test]
fn with_late_binding_it_does_not_matter_to_which_free_worker_a_task_goes() {
    for allocation in [
        Allocation::Random,
        Allocation::RoundRobin,
        Allocation::PowerOfTwo,
        Allocation::Resource,
    ] {
        let policy = Policy {
            allocation,
            ..policy(Order::Fifo)
        };
        let case = case("M/M/k", policy, "exp", 0.8).on(10);
        let case = case.thousands(60, 1_000);
        let (setup, what) = (case.setup(), format!(", {allocation}"));
        case.compare(&setup, &what, || mmk(10, 0.8), |f| f.mean_response);
    }
}

#[test]
fn tasks_bound_at_random_wait_in_queues_of_one_server() {
    for (load, usual, long) in [(0.5, 60, 1_000), (0.8, 300, 1_000), (0.9, 0, 5_000)] {
        let case = case("random split", split(Order::Fifo), "exp", load).on(10);
        case.thousands(usual, long).expect(|| random_split(load));
    }
}

#[test]
fn tasks_bound_in_turn_see_an_even_stream() {
    for (load, usual, long) in [(0.5, 60, 1_000), (0.8, 200, 1_000), (0.9, 0, 3_000)] {
        let policy = early(Order::Fifo, Allocation::RoundRobin);
        let case = case("round-robin split", policy, "exp", load).on(10);
        case.thousands(usual, long)
            .expect(|| round_robin_split(10, load));
    }
}

#[test]
fn the_less_loaded_of_two_is_the_fixed_point_among_many_workers() {
    for (load, usual, long) in [(0.5, 0, 1_000), (0.8, 100, 1_000), (0.9, 0, 3_000)] {
        let policy = early(Order::Fifo, Allocation::PowerOfTwo);
        let case = case("power of two", policy, "exp", load);
        let case = case.on(if is_long() { 500 } else { 100 });
        case.thousands(usual, long).expect(|| shortest_of(2, load));
    }
}

#[test]
fn first_come_first_served_waits_by_the_second_moment() {
    let fifo = || policy(Order::Fifo);
    let name = "M/G/1 first come";
    for (load, usual, long) in [(0.8, 200, 1_000), (0.9, 0, 4_000)] {
        let case = case(name, fifo(), "deterministic", load).thousands(usual, long);
        case.expect(|| mg1(load, 1.0));
    }
    let lognormal = Distribution::Lognormal { sigma: 1.0 }.second_moment();
    for (load, usual, long) in [(0.5, 200, 1_000), (0.8, 0, 4_000)] {
        let case = case(name, fifo(), "lognormal:0,1", load).thousands(usual, long);
        case.expect(|| mg1(load, lognormal));
    }
    for (load, usual, long) in [(0.5, 400, 3_000), (0.8, 0, 12_000)] {
        let case = case(name, fifo(), "h2:10", load).thousands(usual, long);
        case.expect(|| mg1(load, 11.0));
    }
    let tail = PARETO.second_moment();
    for (load, usual, long) in [(0.5, 0, 8_000), (0.8, 0, 15_000)] {
        let case = case(name, fifo(), "pareto:1.5,1000", load).heavy();
        case.thousands(usual, long).expect(|| mg1(load, tail));
    }
}

#[test]
fn small_slices_share_the_processor_and_the_variance_does_not_matter() {
    // Durations all alike end together, so that slices have to be small to be shares.
    for (workload, load, quantum, usual, long) in [
        ("exp", 0.8, 0.05, 40, 1_000),
        ("deterministic", 0.8, 0.02, 30, 1_000),
        ("h2:10", 0.5, 0.05, 60, 1_000),
        ("h2:10", 0.7, 0.05, 0, 4_000),
    ] {
        let order = sliced(policy(Order::TimeSlice), quantum);
        let case = case("time-slice", order, workload, load).thousands(usual, long);
        case.expect(|| processor_sharing(load));
    }
    let order = sliced(split(Order::TimeSlice), 0.05);
    let case = case("time-slice, split", order, "h2:10", 0.7).on(10);
    case.thousands(0, 2_000).expect(|| processor_sharing(0.7));
}

#[test]
fn the_shortest_first() {
    for (workload, durations, load, usual, long) in [
        ("exp", EXP, 0.5, 60, 1_000),
        ("exp", EXP, 0.8, 200, 1_500),
        ("h2:10", H2, 0.8, 0, 6_000),
        ("pareto:1.5,1000", PARETO, 0.5, 0, 5_000),
        ("pareto:1.5,1000", PARETO, 0.8, 0, 10_000),
    ] {
        let heavy = workload.starts_with("pareto");
        let case = case("SJF", policy(Order::Sjf), workload, load).thousands(usual, long);
        let case = Case { heavy, ..case };
        case.expect(|| sjf(load, durations));
    }
    let case = case("SJF, split", split(Order::Sjf), "exp", 0.8).on(10);
    case.thousands(0, 1_000).expect(|| sjf(0.8, EXP));
}

#[test]
fn the_least_left_first_is_schrage_and_millers() {
    for (workload, durations, load, usual, long) in [
        ("exp", EXP, 0.5, 60, 1_000),
        ("exp", EXP, 0.8, 200, 1_500),
        ("exp", EXP, 0.9, 0, 4_000),
        ("h2:10", H2, 0.8, 200, 2_000),
        ("pareto:1.5,1000", PARETO, 0.8, 100, 2_000),
    ] {
        let heavy = workload.starts_with("pareto");
        let case = case("SRTF", policy(Order::Srtf), workload, load).thousands(usual, long);
        let case = Case { heavy, ..case };
        case.expect(|| srpt(load, durations));
    }
    let case = case("SRTF, split", split(Order::Srtf), "exp", 0.8).on(10);
    case.thousands(0, 1_000).expect(|| srpt(0.8, EXP));
}

#[test]
fn the_least_served_first() {
    for (workload, durations, load, usual, long) in [
        ("exp", EXP, 0.5, 60, 1_000),
        ("exp", EXP, 0.8, 60, 1_000),
        ("h2:10", H2, 0.5, 60, 1_000),
        ("h2:10", H2, 0.7, 0, 2_000),
        ("pareto:1.5,1000", PARETO, 0.8, 100, 2_000),
    ] {
        let heavy = workload.starts_with("pareto");
        let case = case("LAS", policy(Order::Las), workload, load).thousands(usual, long);
        let case = Case { heavy, ..case };
        case.expect(|| las(load, durations));
    }
    let case = case("LAS, split", split(Order::Las), "h2:10", 0.7).on(10);
    case.thousands(0, 2_000).expect(|| las(0.7, H2));
}

#[test]
fn priorities_wait_as_cobham_says() {
    for (workload, second_moment, load, usual, long) in [
        ("exp", 2.0, 0.5, 0, 1_000),
        ("exp", 2.0, 0.8, 300, 2_000),
        ("deterministic", 1.0, 0.8, 0, 2_000),
        ("h2:10", 11.0, 0.7, 0, 12_000),
    ] {
        let case = case("Cobham", policy(Order::Priority), workload, load);
        let case = case.thousands(usual, long);
        let setup = Setup {
            priorities: "9:0.4,1:0.6".parse().expect("a mix"),
            ..case.setup()
        };
        let theory = cobham(&[load * 0.4, load * 0.6], second_moment);
        for (level, theory) in [9, 1].into_iter().zip(theory) {
            let what = format!(", wait of {level}");
            let wait = |figures: &Figures| figures.by_priority[&level].mean_wait;
            case.compare(&setup, &what, || theory, wait);
        }
    }
}
