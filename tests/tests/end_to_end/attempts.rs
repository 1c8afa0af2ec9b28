//! Failures, retries, time limits, dead letters.

use rota_bus::StreamName;
use rota_tests::{Handler, Installation, LIMIT, Reply, wait_for};
use rota_wire::headers::{ATTEMPTS, BACKOFF, TIMEOUT};
use rota_wire::result::FinalState;

#[tokio::test]
async fn a_task_that_fails_twice_completes_with_its_third_attempt_after_the_backoff() {
    let (rota, _head) = Installation::start_with_head().await;
    let script =
        r#"echo "$ROTA_ATTEMPT" >> "$DIR/starts"; [ "$ROTA_ATTEMPT" -ge 3 ] || exit 1; echo good"#;
    let handlers = rota.handlers("w", &[Handler::sh("flaky", script)]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let id = rota.submit("flaky", &[(BACKOFF, "1s..1s")], "input").await;
    let (result, output) = rota.result(&id).await;
    assert_eq!((result.state, result.attempts), (FinalState::Completed, 3));
    assert_eq!(&output[..], b"good\n");
    assert_eq!(rota.lines("starts"), ["1", "2", "3"]);
    // Each retry went into the schedule and came out of it again: both are messages there.
    let schedule = rota.state(StreamName::Schedule).await.unwrap();
    assert_eq!(schedule.last_sequence, 4, "two retries");
    rota.until_settled(1, LIMIT).await;
    assert_eq!(rota.state(StreamName::Dead).await.unwrap().messages, 0);
}

#[tokio::test]
async fn exit_65_fails_at_once_and_leaves_a_letter_with_input_headers_and_reason() {
    let (rota, _head) = Installation::start_with_head().await;
    let script = r#"echo no photo >&2; echo run >> "$DIR/runs"; exit 65"#;
    let handlers = rota.handlers("w", &[Handler::sh("thumbnail", script)]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let headers = [
        ("Rota-Priority", "7"),
        ("Nats-Msg-Id", "bad-photo"),
        ("traceparent", "00-1-2-3"),
    ];
    let id = rota
        .submit("thumbnail", &headers, &b"\x00\xff not a photo"[..])
        .await;
    let (result, _) = rota.result(&id).await;
    assert_eq!(
        (result.state, result.attempts),
        (FinalState::Failed, 1),
        "{result:?}"
    );
    assert_eq!(result.exit.as_deref(), Some("65"));
    let reason = result.reason.unwrap();
    assert!(reason.contains("65"), "{reason}");
    let letter = letter(&rota, "thumbnail");
    assert_eq!(letter.body, b"\x00\xff not a photo");
    for line in [
        "Rota-Id: bad-photo",
        "Rota-Priority: 7",
        "traceparent: 00-1-2-3",
        "Rota-Submitted: ",
    ] {
        assert!(letter.headers.contains(line), "{line}: {}", letter.headers);
    }
    let told = format!("Rota-Reason: {reason}");
    assert!(letter.headers.contains(&told), "{told}: {}", letter.headers);
    rota.until_settled(1, LIMIT).await;
    assert_eq!(rota.lines("runs").len(), 1);
    assert_eq!(rota.state(StreamName::Dead).await.unwrap().last_sequence, 1);
}

#[tokio::test]
async fn a_task_whose_attempts_are_used_up_fails_and_leaves_a_letter() {
    let (rota, _head) = Installation::start_with_head().await;
    let script = r#"echo run >> "$DIR/runs"; echo "disk $ROTA_ATTEMPT is full" >&2; exit 3"#;
    let handlers = rota.handlers("w", &[Handler::sh("copy", script)]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let headers = [(ATTEMPTS, "2"), (BACKOFF, "1ms..1ms")];
    let id = rota.submit("copy", &headers, "input").await;
    let (result, stderr) = rota.result(&id).await;
    assert_eq!(
        (result.state, result.attempts),
        (FinalState::Failed, 2),
        "{result:?}"
    );
    assert_eq!(result.exit.as_deref(), Some("3"));
    assert!(
        String::from_utf8_lossy(&stderr).contains("disk 2 is full"),
        "{stderr:?}"
    );
    let reason = result.reason.unwrap();
    assert!(reason.contains("attempt 2 of 2"), "{reason}");
    let letter = letter(&rota, "copy");
    assert_eq!(letter.body, b"input");
    assert!(
        letter.headers.contains("Rota-Attempt: 2"),
        "{}",
        letter.headers
    );
    rota.until_settled(1, LIMIT).await;
    assert_eq!(rota.lines("runs").len(), 2);
}

#[tokio::test]
async fn an_attempt_over_its_time_is_ended_although_its_child_ignores_term_and_nothing_is_left() {
    if !cfg!(target_os = "linux") {
        println!("SKIPPED: the processes of a command are found in /proc, which is not here");
        return;
    }
    let (rota, _head) = Installation::start_with_head().await;
    let script =
        r#"trap "" TERM; sh -c 'trap "" TERM; echo in >> "$DIR/in"; sleep 60' & wait; sleep 60"#;
    let handler = Handler::sh("stubborn", script).with("grace = \"300ms\"");
    let handlers = rota.handlers("w", &[handler]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let id = rota
        .submit("stubborn", &[(ATTEMPTS, "1"), (TIMEOUT, "700ms")], "")
        .await;
    rota.until_lines("in", 1, LIMIT).await;
    let running = rota.processes_of(&id);
    assert!(
        running >= 2,
        "the command and its child run, {running} found"
    );
    let (result, _) = rota.result(&id).await;
    assert_eq!(
        (result.state, result.attempts),
        (FinalState::Failed, 1),
        "{result:?}"
    );
    assert_eq!(result.exit.as_deref(), Some("signal 9"), "it is killed");
    let took = result.finished.since(result.started.unwrap()).ms();
    let ran = result
        .ran
        .expect("a dead letter's result tells it too")
        .ms();
    for ms in [took, ran] {
        assert!(
            (1_000..5_000).contains(&ms),
            "700 ms and a grace of 300 ms, took {took} ms, ran {ran} ms"
        );
    }
    wait_for(
        "nothing is left of the command",
        LIMIT,
        async || match rota.processes_of(&id) {
            0 => Ok(()),
            left => Err(format!("{left} processes")),
        },
    )
    .await;
    let reason = result.reason.unwrap();
    assert!(
        reason.contains("700ms") || reason.contains("time"),
        "{reason}"
    );
}

/// The newest dead letter of a kind, as anybody can read it.
fn letter(rota: &Installation, kind: &str) -> Reply {
    let subject = format!("$JS.API.DIRECT.GET.ROTA_DEAD.rota.dead.{kind}");
    rota.raw().request(&subject, &[], b"")
}
