//! The simulator as a whole: it can be repeated, it loses nothing, and its model does what it says.

use std::io::Write as _;

use rota_scheduler_core::{Allocation, Binding, LoadView, Options, Order, Policy};
use rota_scheduler_sim::{
    Estimates, Figures, Heading, Lapse, Load, Rate, Setup, Share, Strategy, Variant, Workload,
    compare, plot, run, table,
};
use rota_wire::{Cpu, Resources};

fn load(load: f64) -> Load {
    Load::new(load).expect("between 0 and 1")
}

fn lapse(units: f64) -> Lapse {
    Lapse::new(units).expect("in range")
}

fn heading(title: &str) -> Heading {
    Heading {
        title: title.to_owned(),
        unit: "mean service times",
    }
}

/// Everything at once: delays, losses, priorities, durations that vary.
fn troubled(seed: u64) -> Setup {
    Setup {
        workers: 12,
        slots: 2,
        load: load(0.6),
        tasks: 20_000,
        warmup: Share::default(),
        seed,
        workload: Workload::parse("h2:4").expect("good"),
        priorities: "9:0.2,5:0.7,0:0.1".parse().expect("good"),
        delay: lapse(0.01),
        losses: Rate::new(0.005).expect("good"),
        ..Setup::default()
    }
}

/// What the core is told in `rota simulate`.
fn options(policy: Policy) -> Options {
    Options {
        policy: Policy {
            ageing: None,
            quantum: lapse(0.1).span(),
            min_run: lapse(0.0).span(),
            ..policy
        },
        look_ahead: 1_000_000,
        tasks_max: 10_000_000,
        ..Options::default()
    }
}

fn ordered(order: Order) -> Options {
    options(Policy {
        order,
        ..Policy::default()
    })
}

fn variants() -> Vec<Variant> {
    let variant = |name: &str, core: Options| Variant {
        strategy: Strategy {
            allocation: "least-loaded".to_owned(),
            binding: "late".to_owned(),
            order: name.to_owned(),
        },
        core,
    };
    let narrow = Options {
        look_ahead: 1,
        ..ordered(Order::Priority)
    };
    let orders = Order::ALL
        .iter()
        .map(|order| variant(order.as_str(), ordered(*order)));
    orders.chain([variant("narrow", narrow)]).collect()
}

/// All that comes out of a comparison.
fn output(seed: u64) -> String {
    let setup = Setup {
        tasks: 10_000,
        estimates: Estimates::Noisy(0.5),
        ..troubled(seed)
    };
    let runs = compare(&setup, &variants());
    let json = serde_json::to_string(&runs).expect("figures are JSON");
    format!(
        "{json}\n{}\n{}",
        table(&runs),
        plot(&heading("troubled"), &runs)
    )
}

#[test]
fn the_same_seed_gives_the_same_output_byte_for_byte_with_every_order() {
    assert_eq!(output(7), output(7));
    assert_ne!(output(7), output(8), "or the seed would not matter");
}

#[test]
fn no_task_is_lost_when_workers_are() {
    for (seed, order) in (1..).zip(Order::ALL) {
        for binding in [Binding::Late, Binding::Early] {
            let core = options(Policy {
                order: *order,
                binding,
                ..Policy::default()
            });
            let figures = run(&Setup {
                core,
                ..troubled(seed)
            });
            assert!(figures.workers_lost > 25, "{}", figures.workers_lost);
            assert!(figures.redeliveries > 25, "{}", figures.redeliveries);
            assert_eq!(figures.lost, 0, "{order}, {binding}");
            let ended = figures.tasks + figures.dead;
            assert_eq!(ended, 20_000, "{order}, {binding}: each, and once");
        }
    }
}

#[test]
fn load_that_is_as_old_as_the_last_heartbeat_herds_and_counted_load_does_not() {
    let least_loaded = |allocation, load_view| {
        let policy = Policy {
            allocation,
            binding: Binding::Early,
            order: Order::Fifo,
            ..Policy::default()
        };
        let core = Options {
            load_view,
            ..options(policy)
        };
        let figures = run(&Setup {
            workers: 10,
            load: load(0.9),
            tasks: 200_000,
            heartbeat: lapse(5.0),
            core,
            ..Setup::default()
        });
        figures.mean_response
    };
    let counted = least_loaded(Allocation::LeastLoaded, LoadView::Counted);
    let herding = least_loaded(Allocation::LeastLoaded, LoadView::HeartbeatOnly);
    let random = least_loaded(Allocation::Random, LoadView::Counted);
    assert!(counted < 3.5, "{counted}");
    assert!(herding > random, "{herding} against {random}");
}

#[test]
fn a_switch_costs_time_and_a_minimum_run_saves_it() {
    let sliced = |cost, min_run| {
        let mut core = ordered(Order::TimeSlice);
        core.policy.min_run = lapse(min_run).span();
        run(&Setup {
            workers: 1,
            load: load(0.6),
            tasks: 20_000,
            switch_cost: lapse(cost),
            core,
            ..Setup::default()
        })
    };
    let (free, dear, rare) = (sliced(0.0, 0.0), sliced(0.02, 0.0), sliced(0.02, 1.0));
    assert!(dear.utilisation > free.utilisation + 0.05);
    assert!(dear.mean_response > 1.1 * free.mean_response);
    assert!(rare.preemptions * 3 < dear.preemptions);
    assert!(rare.mean_response < dear.mean_response);
}

#[test]
fn wrong_estimates_cost_what_they_should_and_learned_ones_of_one_kind_are_no_use() {
    let shortest = |estimates| {
        let setup = Setup {
            workers: 1,
            tasks: 200_000,
            estimates,
            core: ordered(Order::Sjf),
            ..Setup::default()
        };
        run(&setup).mean_response
    };
    let (exact, noisy) = (shortest(Estimates::Exact), shortest(Estimates::Noisy(1.0)));
    let learned = shortest(Estimates::Learned);
    assert!(
        exact < noisy && noisy < learned,
        "{exact} {noisy} {learned}"
    );
    // All tasks are of one kind, so what is learned of it tells none from another.
    assert!((learned / 5.0 - 1.0).abs() < 0.15, "{learned}");
}

#[test]
fn urgent_tasks_wait_less_and_with_ageing_the_others_wait_less_than_without() {
    let waits = |ageing: Option<f64>| {
        let mut core = ordered(Order::Priority);
        core.policy.ageing = ageing.map(|ageing| lapse(ageing).span());
        let figures = run(&Setup {
            workers: 1,
            load: load(0.9),
            tasks: 100_000,
            priorities: "9:0.5,0:0.5".parse().expect("good"),
            core,
            ..Setup::default()
        });
        (
            figures.by_priority[&9].mean_wait,
            figures.by_priority[&0].mean_wait,
        )
    };
    let (strict, aged, fifo) = (waits(None), waits(Some(1.0)), waits(Some(0.001)));
    assert!(strict.0 < aged.0 && aged.0 < fifo.0, "{strict:?} {aged:?}");
    assert!(strict.1 > aged.1 && aged.1 > fifo.1, "{strict:?} {aged:?}");
    // Nobody who came more than nine spans after another overtakes it.
    assert!(aged.1 - aged.0 <= 9.0, "{aged:?}");
    assert!((fifo.1 / fifo.0 - 1.0).abs() < 0.05, "{fifo:?}");
}

#[test]
fn late_binding_needs_no_heartbeats() {
    let often = Setup {
        tasks: 20_000,
        heartbeat: lapse(0.05),
        ..Setup::default()
    };
    let rarely = Setup {
        heartbeat: lapse(5.0),
        ..often.clone()
    };
    let hardly = Setup {
        heartbeat: Lapse::ZERO,
        ..often.clone()
    };
    assert_eq!(run(&often), run(&rarely));
    assert_eq!(run(&often), run(&hardly));
}

#[test]
fn slots_of_one_worker_serve_like_workers_with_one_slot() {
    let apart = Setup {
        workers: 8,
        slots: 1,
        tasks: 20_000,
        ..Setup::default()
    };
    let together = Setup {
        workers: 1,
        slots: 8,
        ..apart.clone()
    };
    assert_eq!(run(&apart), run(&together));
}

#[test]
fn a_task_alone_takes_its_duration_and_two_messages() {
    let setup = Setup {
        workload: Workload::Deterministic,
        load: load(0.02),
        tasks: 2_000,
        delay: lapse(0.1),
        ..Setup::default()
    };
    // It is delivered and assigned; its result is stored where it ran.
    let figures = run(&setup);
    assert_eq!(figures.mean_wait, 0.2);
    assert!((figures.mean_slowdown - 1.2).abs() < 1e-9);
}

#[test]
fn slots_are_used_as_the_load_says() {
    let setup = Setup {
        load: load(0.7),
        tasks: 200_000,
        ..Setup::default()
    };
    let used = run(&setup).utilisation;
    assert!((used - 0.7).abs() < 0.01, "{used}");
}

/// Runs a trace on one worker, nothing discarded.
fn traced(lines: &str) -> Figures {
    traced_on(&Setup::default(), lines)
}

fn traced_on(setup: &Setup, lines: &str) -> Figures {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(lines.as_bytes()).expect("it is written");
    let workload = Workload::parse(&format!("trace:{}", file.path().display())).expect("good");
    run(&Setup {
        workers: 1,
        warmup: Share::default(),
        workload,
        ..setup.clone()
    })
}

#[test]
fn what_a_worker_has_declared_is_never_overdrawn() {
    let setup = |cpu_milli| Setup {
        slots: 4,
        resources: Resources {
            cpu: Cpu(cpu_milli),
            ..Resources::NONE
        },
        ..Setup::default()
    };
    let lines = "arrival_s,duration_s,cpu\n0,1,1\n0,1,1\n0,1,1\n0,1,0.5\n";
    // Two cores: two of the four run, then the other two.
    assert_eq!(traced_on(&setup(2_000), lines).mean_wait, 0.5);
    assert_eq!(traced_on(&setup(3_500), lines).mean_wait, 0.0);
}

#[test]
fn the_one_with_the_least_left_goes_first_and_the_other_goes_on_where_it_was() {
    let core = ordered(Order::Srtf);
    let setup = Setup {
        core,
        ..Setup::default()
    };
    let figures = traced_on(&setup, "arrival_s,duration_s\n0,10\n1,2\n1.5,0.25\n");
    // 1.5 to 1.75, then to 3.25 the one of 2, then the rest of the one of 10.
    assert!((figures.mean_response - (12.25 + 2.25 + 0.25) / 3.0).abs() < 1e-9);
    assert_eq!(figures.preemptions, 2);
}

#[test]
fn a_trace_keeps_its_arrivals_durations_and_priorities() {
    let figures = traced(
        "arrival_s,duration_s,kind,priority\n\
         100,3,report,5\n\
         101,1,thumbnail,1\n\
         102,2,report,9\n",
    );
    // 100 to 103, then the urgent one to 105, then the other to 106.
    assert_eq!(figures.tasks, 3);
    assert!((figures.mean_response - (3.0 + 3.0 + 5.0) / 3.0).abs() < 1e-9);
    assert_eq!(figures.by_priority[&1].mean_wait, 4.0);
    assert_eq!(figures.by_priority[&9].mean_wait, 1.0);
}

#[test]
fn a_long_silence_in_a_trace_is_no_standstill() {
    let figures = traced("arrival_s,duration_s\n0,1\n100000,1\n200000,50000\n200001,1\n");
    assert_eq!((figures.tasks, figures.lost), (4, 0));
}

#[test]
fn a_plot_has_a_line_and_a_legend_for_each_run_and_named_axes() {
    let runs = compare(
        &Setup {
            tasks: 5_000,
            ..Setup::default()
        },
        &variants(),
    );
    let svg = plot(&heading("a < b"), &runs);
    assert_eq!(
        svg.matches("<polyline").count(),
        14,
        "seven runs in two panels"
    );
    for part in [
        "a &lt; b",
        "narrow, least-loaded, late",
        "percentile of tasks",
        "slowdown: ",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

/// Four machines of eight cores. One task in twenty asks for seven cores, the others for one: nine tenths of the
/// cores are asked for.
fn large_among_small(order: Order, reserve_after: f64) -> Figures {
    run(&Setup {
        workers: 4,
        slots: 8,
        load: load(0.7),
        tasks: 20_000,
        resources: Resources {
            cpu: Cpu(8_000),
            ..Resources::NONE
        },
        priorities: "9:0.05,5:0.95".parse().expect("good"),
        demands: "9:7,5:1".parse().expect("good"),
        core: Options {
            reserve_after: lapse(reserve_after).span(),
            ..ordered(order)
        },
        ..Setup::default()
    })
}

#[test]
fn large_tasks_wait_far_less_with_a_reservation_and_small_ones_hardly_more() {
    for order in [Order::Fifo, Order::Sjf, Order::Las] {
        let (never, soon) = (
            large_among_small(order, 800.0),
            large_among_small(order, 1.0),
        );
        assert_eq!((never.lost, soon.lost), (0, 0));
        let large = |figures: &Figures| figures.by_priority[&9].mean_wait;
        let small = |figures: &Figures| figures.by_priority[&5].mean_wait;
        println!(
            "{order}: large {} and {}, small {} and {}",
            large(&never),
            large(&soon),
            small(&never),
            small(&soon)
        );
        assert!(large(&soon) < large(&never) / 2.0, "{order}");
        assert!(small(&soon) < small(&never) + 1.0, "{order}");
    }
}
