//! The simulator as a whole: it can be repeated, it loses nothing, and its model does what it says.

use std::io::Write as _;

use rota_scheduler_core::Options;
use rota_scheduler_sim::{
    Figures, Heading, Lapse, Load, Rate, Setup, Share, Strategy, Variant, Workload, compare, plot,
    run, table,
};

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
        tasks: 40_000,
        warmup: Share::default(),
        seed,
        workload: Workload::parse("h2:4").expect("good"),
        priorities: "9:0.2,5:0.7,0:0.1".parse().expect("good"),
        delay: lapse(0.01),
        losses: Rate::new(0.005).expect("good"),
        ..Setup::default()
    }
}

fn variants() -> Vec<Variant> {
    let strategy = |order: &str| Strategy {
        allocation: "least-loaded".to_owned(),
        binding: "late".to_owned(),
        order: order.to_owned(),
    };
    let core = Options::default();
    let narrow = Options {
        look_ahead: 1,
        ..core
    };
    vec![
        Variant {
            strategy: strategy("priority"),
            core,
        },
        Variant {
            strategy: strategy("narrow"),
            core: narrow,
        },
    ]
}

/// All that comes out of a comparison.
fn output(seed: u64) -> String {
    let runs = compare(&troubled(seed), &variants());
    let json = serde_json::to_string(&runs).expect("figures are JSON");
    format!(
        "{json}\n{}\n{}",
        table(&runs),
        plot(&heading("troubled"), &runs)
    )
}

#[test]
fn the_same_seed_gives_the_same_output_byte_for_byte() {
    assert_eq!(output(7), output(7));
    assert_ne!(output(7), output(8), "or the seed would not matter");
}

#[test]
fn no_task_is_lost_when_workers_are() {
    for seed in 1..=5 {
        let figures = run(&troubled(seed));
        assert!(figures.workers_lost > 50, "{}", figures.workers_lost);
        assert!(figures.redeliveries > 50, "{}", figures.redeliveries);
        assert_eq!(figures.lost, 0);
        assert_eq!(
            figures.tasks + figures.dead,
            40_000,
            "each task ended, and once"
        );
    }
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
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(lines.as_bytes()).expect("it is written");
    let workload = Workload::parse(&format!("trace:{}", file.path().display())).expect("good");
    run(&Setup {
        workers: 1,
        warmup: Share::default(),
        workload,
        ..Setup::default()
    })
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
    assert_eq!(figures.mean_response, (3.0 + 3.0 + 5.0) / 3.0);
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
        4,
        "two runs in two panels"
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
