//! Each case: a setup, how many tasks it takes to tell, and what theory says.
//!
//! How many tasks: the mean of n responses scatters by about 1/(1-ρ)²·√((1+C²)/n), so that a high load or
//! a high variance needs many. Each million is a run of its own seed.

use rota_scheduler_sim::{Figures, Lapse, Load, Setup, Workload, run};

use crate::distribution::Distribution;
use crate::formulas::{cobham, mg1, mmk};

const CLOSE: f64 = 0.03;
/// For durations whose variance comes from few very long ones.
const CLOSE_HEAVY: f64 = 0.05;
const RUN_TASKS: u64 = 1_000_000;

struct Case {
    workload: &'static str,
    load: f64,
    tasks: u64,
    /// Whether it is for the long run alone.
    long: bool,
}

const fn case(workload: &'static str, load: f64, tasks: u64) -> Case {
    Case {
        workload,
        load,
        tasks,
        long: false,
    }
}

const fn long(workload: &'static str, load: f64, tasks: u64) -> Case {
    Case {
        workload,
        load,
        tasks,
        long: true,
    }
}

fn is_long() -> bool {
    std::env::var_os("ROTA_SIM_LONG").is_some()
}

impl Case {
    fn is_wanted(&self) -> bool {
        is_long() || !self.long
    }

    fn setup(&self, workers: u32) -> Setup {
        Setup {
            workers,
            load: Load::new(self.load).expect("a load of the cases"),
            workload: Workload::parse(self.workload).expect("a workload of the cases"),
            // Where nothing goes wrong they only cost time.
            heartbeat: Lapse::ZERO,
            ..Setup::default()
        }
    }

    /// Runs them all and gives the mean of a figure.
    fn mean(&self, setup: &Setup, figure: impl Fn(&Figures) -> f64) -> f64 {
        let tasks = self.tasks * if is_long() { 10 } else { 1 };
        let runs = tasks.div_ceil(RUN_TASKS);
        let sum: f64 = (1..=runs)
            .map(|seed| {
                let figures = run(&Setup {
                    tasks: tasks / runs,
                    seed,
                    ..setup.clone()
                });
                assert_eq!(figures.lost, 0);
                figure(&figures)
            })
            .sum();
        sum / runs as f64
    }

    /// Prints both, for `--nocapture` and the report of a failure, and compares.
    fn compare(&self, what: &str, found: f64, expected: f64, close: f64) {
        let Self { workload, load, .. } = self;
        let off = found / expected - 1.0;
        println!(
            "{what:<26} {workload:<18} load {load:<4} theory {expected:8.4} simulated {found:8.4} \
             {:+6.2} %",
            off * 100.0
        );
        assert!(
            off.abs() < close,
            "{what}, {workload}, load {load}: {found} for {expected}"
        );
    }
}

fn servers_agree_with_erlang(workers: u32, cases: &[Case]) {
    for case in cases.iter().filter(|case| case.is_wanted()) {
        let found = case.mean(&case.setup(workers), |figures| figures.mean_response);
        case.compare(
            &format!("M/M/{workers}"),
            found,
            mmk(workers, case.load),
            CLOSE,
        );
    }
}

fn one_server_agrees(case: &Case, second_moment: f64, close: f64) {
    if case.is_wanted() {
        let found = case.mean(&case.setup(1), |figures| figures.mean_response);
        case.compare(
            "M/G/1 first come",
            found,
            mg1(case.load, second_moment),
            close,
        );
    }
}

#[test]
fn one_server_is_an_mm1() {
    let cases = [
        case("exp", 0.5, 300_000),
        case("exp", 0.8, 1_000_000),
        case("exp", 0.9, 2_000_000),
    ];
    servers_agree_with_erlang(1, &cases);
}

#[test]
fn ten_servers_bound_late_are_erlangs_c() {
    let cases = [
        case("exp", 0.5, 300_000),
        case("exp", 0.8, 500_000),
        case("exp", 0.9, 1_000_000),
    ];
    servers_agree_with_erlang(10, &cases);
}

#[test]
fn durations_all_alike_halve_the_wait() {
    one_server_agrees(&case("deterministic", 0.8, 500_000), 1.0, CLOSE);
    one_server_agrees(&long("deterministic", 0.9, 500_000), 1.0, CLOSE);
}

#[test]
fn durations_that_vary_more_wait_longer_by_their_second_moment() {
    let lognormal = Distribution::Lognormal { sigma: 1.0 }.second_moment();
    one_server_agrees(&case("lognormal:0,1", 0.5, 500_000), lognormal, CLOSE);
    one_server_agrees(&long("lognormal:0,1", 0.8, 2_000_000), lognormal, CLOSE);
}

#[test]
fn mostly_short_and_now_and_then_long_durations_make_all_wait() {
    one_server_agrees(&case("h2:10", 0.5, 2_000_000), 11.0, CLOSE);
    one_server_agrees(&long("h2:10", 0.8, 4_000_000), 11.0, CLOSE);
}

#[test]
fn a_heavy_tail_makes_all_wait() {
    let tail = Distribution::BoundedPareto {
        alpha: 1.5,
        ratio: 100.0,
    }
    .second_moment();
    one_server_agrees(&case("pareto:1.5,100", 0.5, 1_000_000), tail, CLOSE_HEAVY);
    let tail = Distribution::BoundedPareto {
        alpha: 1.5,
        ratio: 1_000.0,
    }
    .second_moment();
    one_server_agrees(&long("pareto:1.5,1000", 0.7, 4_000_000), tail, CLOSE_HEAVY);
}

#[test]
fn priorities_wait_as_cobham_says() {
    for (case, second_moment) in [
        (case("exp", 0.8, 1_000_000), 2.0),
        (case("deterministic", 0.8, 1_000_000), 1.0),
        (long("h2:10", 0.7, 3_000_000), 11.0),
    ] {
        if !case.is_wanted() {
            continue;
        }
        let setup = Setup {
            priorities: "9:0.4,1:0.6".parse().expect("a mix"),
            ..case.setup(1)
        };
        let expected = cobham(&[case.load * 0.4, case.load * 0.6], second_moment);
        for (level, expected) in [9, 1].into_iter().zip(expected) {
            let found = case.mean(&setup, |figures| figures.by_priority[&level].mean_wait);
            case.compare(&format!("Cobham, wait of {level}"), found, expected, CLOSE);
        }
    }
}
