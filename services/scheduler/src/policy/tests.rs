//! What flags and files make of the policy, and what they are refused for.

use std::io::Write as _;

use clap::Parser;
use tempfile::NamedTempFile;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: crate::Args,
}

fn args(flags: &[&str]) -> crate::Args {
    let flags = std::iter::once("rota-scheduler").chain(flags.iter().copied());
    Cli::try_parse_from(flags).expect("good flags").args
}

fn refused_flag(flags: &[&str]) -> String {
    let flags = std::iter::once("rota-scheduler").chain(flags.iter().copied());
    Cli::try_parse_from(flags)
        .expect_err("bad flags")
        .to_string()
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("there is room for a file");
    file.write_all(text.as_bytes()).expect("there is room");
    file
}

fn with_file(text: &str, flags: &[&str]) -> Result<Options, String> {
    let file = file(text);
    let path = file.path().to_str().expect("a path in UTF-8");
    let args = args(&[&["--policy", path], flags].concat());
    args.options().map_err(|failure| failure.to_string())
}

fn kind(name: &str) -> Kind {
    Kind::parse(name).expect("good")
}

#[test]
fn nothing_said_means_the_cores_own_defaults() {
    let options = args(&[]).options().expect("good");
    assert_eq!(options, Options::default());
}

#[test]
fn a_flag_wins_over_the_file_and_a_kinds_table_over_both() {
    let text = r#"
        order = "las"
        quantum = "200ms"
        ageing = "never"
        suspended_max = 7
        reserve_after = "5s"
        [kinds.report]
        order = "fifo"
        binding = "early"
        [kinds.echo]
        min_run = "0ms"
    "#;
    let options = with_file(text, &["--order", "srtf", "--allocation", "resource"]).expect("good");
    let all = Policy {
        allocation: Allocation::Resource,
        order: Order::Srtf,
        quantum: Span::from_ms(200),
        ageing: None,
        ..Policy::default()
    };
    assert_eq!((options.policy, options.suspended_max), (all, 7));
    assert_eq!(options.reserve_after, Span::from_secs(5));
    let report = Policy {
        order: Order::Fifo,
        binding: Binding::Early,
        ..all
    };
    let echo = Policy {
        min_run: Span::default(),
        ..all
    };
    assert_eq!(options.policy_of(&kind("report")), report);
    assert_eq!(options.policy_of(&kind("echo")), echo);
    assert_eq!(options.policy_of(&kind("other")), all);
}

#[test]
fn an_unknown_strategy_is_told_those_that_there_are() {
    for (flag, known) in [
        ("--order", "fifo, priority, sjf, srtf, time-slice, las"),
        (
            "--allocation",
            "random, round-robin, least-loaded, power-of-two, resource",
        ),
        ("--binding", "late, early"),
    ] {
        let told = refused_flag(&[flag, "best"]);
        assert!(told.contains("'best'") && told.contains(known), "{told}");
    }
}

#[test]
fn a_quantum_of_zero_is_refused_with_the_rule() {
    for bad in ["0s", "25h", "soon"] {
        let told = refused_flag(&["--quantum", bad]);
        assert!(told.contains("from 1ms to 24h"), "{told}");
    }
    assert!(refused_flag(&["--ageing", "0s"]).contains("at least 1ms"));
    let told = with_file("quantum = \"0s\"", &[]).expect_err("zero");
    assert!(
        told.contains("`quantum` = 0s: must be a span from 1ms"),
        "{told}"
    );
}

#[test]
fn all_that_is_wrong_with_a_file_is_told_at_once() {
    let text = r#"
        order = "best"
        quantum = "0s"
        suspended_max = 0
        [kinds.report]
        allocation = "nearest"
        ageing = "always"
        [kinds."No Kind"]
        min_run = "soon"
    "#;
    let told = with_file(text, &[]).expect_err("it has six faults and a bad name");
    for fault in [
        "`order` = best: must be one of: fifo",
        "`quantum` = 0s",
        "`suspended attempts` = 0: must be 1 to 10000",
        "`kinds.report.allocation` = nearest: must be one of: random",
        "`kinds.report.ageing` = always",
        "`kinds.No Kind.min_run` = soon",
        "`kinds.No Kind` = No Kind",
        "7 fault(s)",
    ] {
        assert!(told.contains(fault), "{fault}: {told}");
    }
}

#[test]
fn a_key_that_nobody_knows_is_refused_with_its_line() {
    let told = with_file("order = \"fifo\"\nquantam = \"1s\"", &[]).expect_err("misspelt");
    assert!(told.contains(":2:") && told.contains("quantam"), "{told}");
    let told = with_file("[kinds.echo]\nsuspended_max = 1", &[]).expect_err("not for a kind");
    assert!(told.contains("suspended_max"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let failure = args(&["--policy", "no/such/file"]).options();
    let told = failure.expect_err("it is not there").to_string();
    assert!(told.contains("no/such/file"), "{told}");
}

#[test]
fn an_order_that_needs_to_know_more_than_the_head_looks_further() {
    let look_ahead = |text: &str, flags: &[&str]| with_file(text, flags).expect("good").look_ahead;
    for order in Order::ALL {
        let far = !matches!(order, Order::Fifo | Order::Priority);
        let expected = if far { LOOK_AHEAD_FAR } else { LOOK_AHEAD };
        let order = order.as_str();
        assert_eq!(look_ahead("", &["--order", order]), expected, "{order}");
        let of_a_kind = format!("[kinds.echo]\norder = \"{order}\"");
        assert_eq!(look_ahead(&of_a_kind, &[]), expected, "{order} for a kind");
    }
    assert_eq!(look_ahead("", &["--order", "las", "--look-ahead", "5"]), 5);
}

#[test]
fn the_flags_for_a_scheduler_say_the_same_as_those_that_were_given() {
    let given = [
        "--policy",
        "p.toml",
        "--allocation",
        "random",
        "--binding",
        "early",
        "--order",
        "las",
        "--ageing",
        "never",
        "--quantum",
        "1500ms",
        "--min-run",
        "0ms",
        "--suspended-max",
        "9",
    ];
    assert_eq!(args(&given).policy.to_flags(), given);
    assert_eq!(args(&[]).policy.to_flags(), Vec::<OsString>::new());
}
