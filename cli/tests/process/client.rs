//! `rota submit` and `rota result` against an installation that runs.

use crate::installation::{Installation, stderr, stdout};

#[test]
fn what_is_submitted_comes_back_and_the_exit_code_tells_how() {
    let up = Installation::start(&["--builtin", "--workers", "1"]);

    let echoed = up.client(&["submit", "echo", "hi", "--wait"]);
    assert_eq!(
        (stdout(&echoed).as_str(), echoed.status.code()),
        ("hi", Some(0))
    );
    assert!(
        stderr(&echoed).starts_with("completed task"),
        "{}",
        stderr(&echoed)
    );

    // Bytes pass through untouched, also those that are no text.
    let bytes = [0, 255, b'\n', 7];
    let echoed = up.client_with_input(&["submit", "echo", "-", "--wait"], &bytes);
    assert_eq!(
        (echoed.stdout.as_slice(), echoed.status.code()),
        (&bytes[..], Some(0))
    );

    let failed = up.client(&["submit", "fail", "fatal: no photo", "--wait"]);
    assert_eq!(
        (stdout(&failed).as_str(), failed.status.code()),
        ("", Some(1))
    );
    assert!(stderr(&failed).contains("no photo"), "{}", stderr(&failed));

    let nobody = up.client(&["submit", "nobody-handles", "--wait", "--timeout", "300ms"]);
    assert_eq!(nobody.status.code(), Some(2));
}

#[test]
fn an_id_is_all_that_submit_prints_and_result_finds_it() {
    let up = Installation::start(&["--builtin", "--workers", "1"]);

    let submitted = up.client(&["submit", "sha256", "abc"]);
    assert_eq!(submitted.status.code(), Some(0));
    assert!(submitted.stderr.is_empty(), "{}", stderr(&submitted));
    let id = stdout(&submitted).trim().to_owned();
    let result = up.client(&["result", &id, "--wait"]);
    assert_eq!(result.status.code(), Some(0), "{}", stderr(&result));
    assert!(
        stdout(&result).starts_with("ba7816bf"),
        "{}",
        stdout(&result)
    );
    for line in [
        "state     completed",
        "kind      sha256",
        "worker    w1-",
        "took ",
    ] {
        assert!(
            stderr(&result).contains(line),
            "{line} in {}",
            stderr(&result)
        );
    }

    // A chosen id: submitted twice it runs once, and both callers get its result.
    for input in ["first", "second"] {
        let args = [
            "submit",
            "echo",
            input,
            "-H",
            "Nats-Msg-Id:report-7",
            "--wait",
        ];
        assert_eq!(stdout(&up.client(&args)), "first");
    }
    assert_eq!(stdout(&up.client(&["result", "report-7"])), "first");

    let missing = up.client(&["result", "never-submitted"]);
    assert_eq!((missing.status.code(), missing.stdout.len()), (Some(2), 0));
}

#[test]
fn an_input_over_the_servers_limit_is_refused_before_it_is_sent() {
    let up = Installation::start(&["--builtin", "--workers", "1"]);
    let large = vec![b'x'; 1024 * 1024];
    let output = up.client_with_input(&["submit", "echo", "-"], &large);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("larger than the server takes"),
        "{}",
        stderr(&output)
    );
}
