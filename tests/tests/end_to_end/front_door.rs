//! Submitting with nothing but NATS, ids, and what a result and a command are told.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use rota_bus::StreamName;
use rota_tests::{Handler, Installation, LIMIT};
use rota_wire::headers::{FINISHED, MSG_ID, STARTED, SUBMITTED, TRACEPARENT};
use rota_wire::result::FinalState;
use rota_wire::{Micros, TaskId};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_task_that_is_published_as_bytes_over_tcp_completes() {
    let (rota, _head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--builtin"]);
    let mut client = rota.raw();
    client.write(b"PUB rota.submit.echo 5\r\nhello\r\n");
    client.write(b"HPUB rota.submit.echo 49 52\r\n");
    client.write(b"NATS/1.0\r\nRota-Priority: 8\r\nNats-Msg-Id: mine\r\n\r\n");
    client.write(b"you\r\n");
    client.flush();
    let (result, output) = rota.result(&TaskId::from_sequence(1)).await;
    assert_eq!(
        (result.state, &output[..]),
        (FinalState::Completed, &b"hello"[..])
    );
    let (result, output) = rota.result(&TaskId::parse("mine").unwrap()).await;
    assert_eq!(
        (result.state, &output[..]),
        (FinalState::Completed, &b"you"[..])
    );
    let stored = client.request("$JS.API.DIRECT.GET.ROTA_RESULTS.rota.result.mine", &[], b"");
    assert_eq!(stored.body, b"you");
    assert!(
        stored.headers.contains("Rota-State: completed"),
        "{}",
        stored.headers
    );
    rota.until_settled(2, LIMIT).await;
}

#[tokio::test]
async fn a_task_that_the_official_command_line_submits_completes() {
    let Some(nats) = nats_cli() else {
        println!("SKIPPED: no `nats` on PATH or in $(go env GOPATH)/bin");
        return;
    };
    let (rota, _head) = Installation::start_with_head().await;
    let _worker = rota.worker("w", &["--builtin"]);
    let run = |args: &[&str]| {
        let mut command = Command::new(&nats);
        command.args(["--server", &rota.server.url(), "--timeout", "5s"]);
        // What the user has configured is none of this test's business.
        command.env("XDG_CONFIG_HOME", rota.server.store());
        let output = command.args(args).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "nats {args:?}: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &told
    };
    run(&["pub", "rota.submit.echo", "plain"]);
    let told = run(&[
        "pub",
        "-J",
        "rota.submit.echo",
        "asked",
        "-H",
        "Rota-Timeout:30s",
        "-H",
        "Nats-Msg-Id:cli-1",
    ]);
    assert!(told.contains("ROTA_INTAKE"), "{told}");
    let (result, output) = rota.result(&TaskId::from_sequence(1)).await;
    assert_eq!(
        (result.state, &output[..]),
        (FinalState::Completed, &b"plain"[..])
    );
    let (result, output) = rota.result(&TaskId::parse("cli-1").unwrap()).await;
    assert_eq!(
        (result.state, &output[..]),
        (FinalState::Completed, &b"asked"[..])
    );
    let shown = run(&["stream", "get", "ROTA_RESULTS", "-S", "rota.result.cli-1"]);
    assert!(
        shown.contains("Rota-State: completed") && shown.contains("asked"),
        "{shown}"
    );
}

/// The official client: on PATH, or where `go install` puts it.
fn nats_cli() -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&folders).collect();
    if let Ok(answer) = Command::new("go").args(["env", "GOPATH"]).output() {
        let gopath = String::from_utf8_lossy(&answer.stdout).into_owned();
        folders.push(PathBuf::from(gopath.trim()).join("bin"));
    }
    let candidates = folders.into_iter().map(|folder| folder.join("nats"));
    candidates.into_iter().find(|file| file.is_file())
}

#[tokio::test]
async fn a_result_carries_the_trace_context_and_the_times_in_their_order() {
    let (rota, _head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[Handler::sh("slow", "sleep 0.05")]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let before = Micros::now();
    let id = rota.submit("slow", &[(TRACEPARENT, TRACE)], "").await;
    let (result, _) = rota.result(&id).await;
    let after = Micros::now();
    assert_eq!(result.traceparent.as_deref(), Some(TRACE));
    assert_eq!((result.state, result.attempts), (FinalState::Completed, 1));
    assert_eq!(
        (result.kind.as_str(), result.exit.as_deref()),
        ("slow", Some("0"))
    );
    let (submitted, started) = (result.submitted.unwrap(), result.started.unwrap());
    let times = [before, submitted, started, result.finished, after];
    assert!(times.is_sorted(), "{times:?}");
    let (took, ran) = (result.finished.since(started), result.ran.unwrap());
    assert!((50..=took.ms()).contains(&ran.ms()), "{ran} of {times:?}");
    let headers = rota.bus.result(&id).await.unwrap().unwrap().headers;
    for name in [SUBMITTED, STARTED, FINISHED] {
        let text = headers.value(name).unwrap();
        assert!(
            Micros::parse(text).is_some() && text.ends_with('Z'),
            "{name}: {text}"
        );
    }
}

#[tokio::test]
async fn a_command_is_told_about_its_task_and_of_its_worker_only_the_id() {
    let (rota, _head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[Handler::sh("env", "env")]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let given = [
        (MSG_ID, "env-1"),
        (TRACEPARENT, TRACE),
        ("Rota-Timeout", "20s"),
    ];
    let submitted = Micros::now();
    let id = rota.submit("env", &given, "").await;
    let (result, output) = rota.result(&id).await;
    let output = String::from_utf8(output.to_vec()).unwrap();
    let value = |name: &str| {
        let mut values = output.lines().filter_map(|line| line.split_once('='));
        values
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    assert_eq!(value("ROTA_TASK_ID").as_deref(), Some("env-1"));
    assert_eq!(value("ROTA_KIND").as_deref(), Some("env"));
    assert_eq!(value("ROTA_ATTEMPT").as_deref(), Some("1"));
    assert_eq!(value("TRACEPARENT").as_deref(), Some(TRACE));
    let deadline = Micros::parse(&value("ROTA_DEADLINE").unwrap()).unwrap();
    let wait = deadline.since(submitted).ms();
    assert!(
        (20_000..30_000).contains(&wait),
        "{wait} ms until the deadline"
    );
    let own = output
        .lines()
        .filter(|line| line.starts_with("ROTA_") || line.starts_with("NATS_"));
    assert_eq!(own.count(), 5, "{output}");
    let worker = value("ROTA_WORKER_ID");
    assert!(worker.is_some_and(|id| id.starts_with("w-")), "{output}");
    assert_eq!(result.state, FinalState::Completed);
}

#[tokio::test]
async fn every_byte_of_input_and_output_passes_through_untouched() {
    let (rota, _head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[Handler::sh("cat", "cat")]);
    let _worker = rota.worker("w", &["--builtin", "--handlers", &handlers]);
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(700_001).collect();
    for kind in ["cat", "echo"] {
        for input in [bytes.clone(), b"\r\n\0\xff\r\n".to_vec(), Vec::new()] {
            let id = rota.submit(kind, &[], input.clone()).await;
            let (result, output) = rota.result(&id).await;
            assert_eq!(result.state, FinalState::Completed, "{result:?}");
            assert!(output == input, "{kind}: {} bytes came back", output.len());
        }
    }
}

#[tokio::test]
async fn the_same_message_id_twice_makes_one_run() {
    let (rota, _head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[append()]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(rota.submit("append", &[(MSG_ID, "once")], "").await);
    }
    rota.completed(&ids).await;
    rota.until_settled(1, LIMIT).await;
    assert_eq!(rota.lines("runs"), ["once"]);
}

/// The server forgets the ids of messages that are gone when it is started anew, so that this one comes
/// through the door.
#[tokio::test]
async fn an_id_that_has_its_result_already_is_not_run_again() {
    let (mut rota, _head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[append()]);
    let _worker = rota.worker("w", &["--handlers", &handlers]);
    let id = rota
        .submit("append", &[(MSG_ID, "done-before")], "first")
        .await;
    let (first, _) = rota.result(&id).await;
    rota.until_settled(1, LIMIT).await;
    rota.restart_server().await;
    let passed = rota.state(StreamName::Ready).await.unwrap().last_sequence;
    rota.submit("append", &[(MSG_ID, "done-before")], "second")
        .await;
    rota.until_stored(StreamName::Ready, passed + 1).await;
    rota.until_settled(1, LIMIT).await;
    assert_eq!(rota.lines("runs"), ["done-before"]);
    assert_eq!(rota.result(&id).await.0, first);
}

/// As above, but the first is still running: the copy lies in the same lane, and there is no result yet.
#[tokio::test]
async fn an_id_that_is_running_is_not_run_again() {
    let (mut rota, _head) = Installation::start_with_head().await;
    let script =
        r#"echo "$ROTA_TASK_ID" >> "$DIR/runs"; while [ ! -e "$DIR/open" ]; do sleep 0.02; done"#;
    let handlers = rota.handlers("w", &[Handler::sh("gate", script)]);
    let _worker = rota.worker("w", &["--slots", "4", "--handlers", &handlers]);
    let id = rota.submit("gate", &[(MSG_ID, "running")], "").await;
    rota.until_lines("runs", 1, LIMIT).await;
    rota.restart_server().await;
    rota.submit("gate", &[(MSG_ID, "running")], "").await;
    let other = rota.submit("gate", &[(MSG_ID, "other")], "").await;
    // What came before it was dealt with when this one runs.
    rota.until_lines("runs", 2, LIMIT).await;
    rota.touch("open");
    rota.completed(&[id, other]).await;
    rota.until_settled(2, LIMIT).await;
    assert_eq!(rota.lines("runs"), ["running", "other"]);
}

fn append() -> Handler {
    Handler::sh("append", r#"echo "$ROTA_TASK_ID" >> "$DIR/runs""#)
}
