//! `rota simulate` as a person uses it: what it prints, and what it says to what makes no sense.

use std::path::Path;

use clap::Parser as _;
use rota_scheduler_sim::{Args, args};
use serde_json::Value;

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// What it prints, or what it says instead.
fn simulate(flags: &[&str]) -> Result<String, String> {
    let flags = std::iter::once("simulate").chain(flags.iter().copied());
    let command = Command::try_parse_from(flags).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    args::run(&command.args, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).expect("it prints text"))
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("it is written");
    path.display().to_string()
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    for (flags, words) in [
        (["--load", "1"], ["--load", "less than 1"]),
        (["--load", "0"], ["--load", "more than 0"]),
        (["--load", "-1"], ["--load", "more than 0"]),
        (["--quantum", "0"], ["--quantum", "more than 0"]),
        (["--warmup", "1"], ["--warmup", "less than 1"]),
        (["--losses", "-0.1"], ["--losses", "0 to 1"]),
        (["--heartbeat", "-1"], ["--heartbeat", "0 to 1000000"]),
        (["--tasks", "0"], ["--tasks", "not in 1.."]),
        (["--workers", "0"], ["--workers", "not in 1.."]),
        (["--workload", "gauss"], ["gauss", "lognormal:<mu>,<sigma>"]),
        (["--workload", "h2:0"], ["h2:0", "h2:<cv2>"]),
        (
            ["--workload", "trace:no-such.csv"],
            ["no-such.csv", "cannot be read"],
        ),
        (["--allocation", "best"], ["best", "least-loaded"]),
        (
            ["--allocation", "random,best"],
            ["best", "must be one of: random"],
        ),
        (["--order", "lifo"], ["lifo", "time-slice, las"]),
        (["--order", "fifo,"], ["--order", "must be one of: fifo"]),
        (["--binding", "never"], ["never", "late, early"]),
        (["--quantum", "865"], ["--quantum", "at most 864"]),
        (["--ageing", "0"], ["--ageing", "never, or more than 0"]),
        (["--suspended-max", "0"], ["--suspended-max", "not in 1.."]),
        (["--cpu", "two"], ["--cpu", "500m"]),
        (["--memory", "much"], ["--memory", "512MiB"]),
        (["--load-view", "guess"], ["guess", "heartbeat"]),
        (["--estimates", "rough"], ["rough", "noisy:<sigma>"]),
        (["--demands", "9:much"], ["--demands", "<priority>:<cores>"]),
        (["--reserve-after", "0"], ["--reserve-after", "more than 0"]),
        (["--priorities", "9:0.5"], ["--priorities", "add up to 1"]),
    ] {
        let message = simulate(&flags).expect_err(flags[1]);
        for word in words {
            assert!(message.contains(word), "{flags:?}: {message}");
        }
    }
}

#[test]
fn a_malformed_line_of_a_trace_is_named_by_its_number() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(
        directory.path(),
        "t.csv",
        "arrival_s,duration_s\n0,1\n1,soon\n",
    );
    let message = simulate(&["--workload", &format!("trace:{path}")]).expect_err("soon");
    assert!(
        message.contains("line 3") && message.contains("`soon`"),
        "{message}"
    );
}

#[test]
fn a_trace_that_asks_for_more_than_any_worker_has_is_refused_with_what_it_needs() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "arrival_s,duration_s,cpu,memory\n0,1,0.5,\n0,1,2,256MiB\n";
    let trace = format!("trace:{}", write(directory.path(), "t.csv", text));
    let flags = ["--workload", trace.as_str(), "--cpu", "1"];
    let message = simulate(&flags).expect_err("one core");
    assert!(message.contains("--cpu 2 or more"), "{message}");
    let flags = ["--workload", trace.as_str(), "--cpu", "2"];
    let message = simulate(&flags).expect_err("no memory");
    assert!(message.contains("--memory"), "{message}");
    let flags = [&flags[..], &["--memory", "1GiB"]].concat();
    simulate(&flags).expect("all fits");
}

#[test]
fn every_order_and_allocation_can_be_asked_for_and_gives_the_same_again() {
    let orders = "fifo,priority,sjf,srtf,time-slice,las";
    let allocations = "random,round-robin,least-loaded,power-of-two,resource";
    for binding in ["late", "early"] {
        let flags = ["--tasks", "500", "--binding", binding, "--order", orders];
        let flags = [&flags[..], &["--allocation", allocations]].concat();
        let table = simulate(&flags).expect("good");
        assert_eq!(table.lines().count(), 1 + 6 * 5, "{table}");
        let again = simulate(&flags).expect("good");
        assert_eq!(again, table, "the same flags give the same output");
    }
}

#[test]
fn json_has_an_object_with_all_figures_for_each_run() {
    let text = simulate(&["--tasks", "2000", "--format", "json"]).expect("good");
    let runs: Value = serde_json::from_str(&text).expect("it is JSON");
    let runs = runs.as_array().expect("an array");
    assert_eq!(runs.len(), 1);
    for name in [
        "mean_response",
        "p50_response",
        "p95_response",
        "p99_response",
        "mean_wait",
        "mean_slowdown",
        "p99_slowdown",
        "utilisation",
        "preemptions",
        "redeliveries",
        "lost",
    ] {
        assert!(runs[0][name].is_number(), "{name}");
    }
    assert_eq!(runs[0]["allocation"], "least-loaded");
}

#[test]
fn several_strategies_are_compared_on_the_same_arrivals_in_one_table_and_one_plot() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.svg").display().to_string();
    let flags = [
        "--tasks",
        "2000",
        "--order",
        "fifo,priority",
        "--plot",
        &path,
    ];
    let table = simulate(&flags).expect("good");
    let lines: Vec<&str> = table.lines().collect();
    let [_, fifo, priority] = lines[..] else {
        panic!("a heading and two runs: {table}");
    };
    // All tasks are as urgent here, so that the same arrivals must give the same figures.
    assert_eq!(
        fifo.trim_start_matches("fifo").trim_start(),
        priority.trim_start_matches("priority").trim_start()
    );
    let svg = std::fs::read_to_string(&path).expect("it is drawn");
    assert!(svg.starts_with("<svg") && svg.contains("fifo, least-loaded, late"));
}
