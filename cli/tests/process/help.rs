//! What a person reads before anything runs.

use crate::installation::{rota, stderr, stdout};

#[test]
fn help_names_the_commands_and_hides_what_is_not_for_people() {
    let help = rota(&["--help"]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    let told = stdout(&help);
    for command in [
        "up",
        "demo",
        "submit",
        "result",
        "explain",
        "bench",
        "simulate",
        "submitter",
        "scheduler",
        "worker",
        "monitor",
    ] {
        assert!(
            told.contains(&format!("\n  {command} ")),
            "{command} in {told}"
        );
    }
    assert!(!told.contains("demo-worker"), "{told}");
}

#[test]
fn the_flags_of_each_command_are_told() {
    for (command, flags) in [
        (
            "up",
            &[
                "--workers",
                "--port",
                "--store",
                "--nats",
                "--handlers",
                "--builtin",
            ][..],
        ),
        ("submit", &["--header", "--wait", "--timeout", "[INPUT]"]),
        ("result", &["--wait", "<ID>"]),
        ("worker", &["--slots", "--handlers", "--name"]),
        ("scheduler", &["--missed-heartbeats", "--record"]),
        ("bench", &["--rate", "against-simulation"]),
        ("simulate", &["--order", "--allocation", "--plot"]),
    ] {
        let told = stdout(&rota(&[command, "--help"]).output().unwrap());
        for flag in flags {
            assert!(told.contains(flag), "{command} {flag} in {told}");
        }
    }
}

#[test]
fn wrong_use_ends_with_64_and_says_the_rule() {
    for (args, rule) in [
        (&["submit", "Echo!", "hi"][..], "a-z 0-9 _ -"),
        (
            &["submit", "echo", "hi", "-H", "Rota-Priority:high"],
            "0 to 9",
        ),
        (
            &["submit", "echo", "hi", "-H", "Rota-Priority"],
            "Name:value",
        ),
        (
            &["submit", "echo", "hi", "-H", "Nats-Msg-Id:17"],
            "not all digits",
        ),
        (&["submit", "echo", "hi", "--timeout", "1s"], "--wait"),
        (&["result", "a.b"], "A-Z a-z 0-9 _ -"),
        (&["simulate", "--load", "1"], "less than 1"),
        (&["simulate", "--workload", "gauss"], "lognormal"),
        (
            &["bench", "--tasks", "5", "against-simulation"],
            "cannot be used with",
        ),
        (&["bench", "against-simulation", "--rate", "5"], "--rate"),
        (
            &["bench", "against-simulation", "--load", "1"],
            "less than 1",
        ),
        (
            &[
                "bench",
                "against-simulation",
                "--seconds",
                "3600",
                "--mean",
                "10ms",
                "--slots",
                "99",
            ],
            "longer --mean",
        ),
        (
            &["up", "--nats", "nats://127.0.0.1:1", "--port", "1"],
            "cannot be used with",
        ),
        (
            &["up", "--handlers", "/nowhere/at/all.toml"],
            "/nowhere/at/all.toml",
        ),
        (&["up", "--prefix", "A.B"], "a-z 0-9 _"),
        (
            &["up", "--port", "0", "--store", "/dev/null"],
            "see --store",
        ),
        (&["submit", "echo", "-H", "Nats-Rollup:all"], "Nats-Msg-Id"),
    ] {
        let output = rota(args).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {told}");
        assert!(told.contains(rule), "{args:?}: {told}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_server_that_is_not_there_ends_with_69_and_says_what_to_do() {
    let output = rota(&["submit", "echo", "hi", "--nats", "nats://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("rota up"), "{}", stderr(&output));
}
