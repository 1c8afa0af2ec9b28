//! `rota.explain.<id>`: what anybody who speaks NATS is told of a task.

use rota_tests::{Handler, Installation, LIMIT, Process, Service, wait_for};
use rota_wire::TaskId;
use rota_wire::headers::{DURATION, REQUIRES};
use serde_json::Value;

use crate::workers::joined;

/// Holds a slot until the test lets it go.
const GATE: &str = r#"echo begun >> "$DIR/gates"
    while [ ! -e "$DIR/open" ]; do sleep 0.02; done"#;

/// An installation whose worker `w` has one slot, and a task that is in it.
async fn start_full() -> (Installation, [Process; 3], TaskId) {
    let rota = Installation::start().await;
    let submitter = rota.run(Service::Submitter, &[]);
    let scheduler = rota.run(Service::Scheduler, &[]);
    let handlers = rota.handlers("w", &[Handler::sh("gate", GATE)]);
    let flags = ["--slots", "1", "--handlers", &handlers];
    let worker = joined(&rota, &scheduler, "w", &flags).await;
    let running = rota.submit("gate", &[(DURATION, "90s")], "").await;
    rota.until_lines("gates", 1, LIMIT).await;
    (rota, [submitter, scheduler, worker], running)
}

fn explain(rota: &Installation, id: &str) -> Value {
    let subject = format!("rota.explain.{id}");
    let answer = rota.raw().request(&subject, &[], b"").json();
    assert_eq!(answer["task"], id, "{answer}");
    answer
}

/// What is told once the scheduler has the task in this state.
async fn explain_in(rota: &Installation, id: &TaskId, state: &str) -> Value {
    let what = format!("task {id} is {state}");
    wait_for(what, LIMIT, async || {
        let answer = explain(rota, id.as_str());
        if answer["state"] == state {
            Ok(answer)
        } else {
            Err(answer.to_string())
        }
    })
    .await
}

/// A text of an answer.
fn text<'a>(answer: &'a Value, pointer: &str) -> &'a str {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {answer}"))
}

#[tokio::test]
async fn a_task_is_explained_while_it_waits_while_it_runs_and_when_it_has_ended() {
    let (rota, _processes, running) = start_full().await;
    let first = rota.submit("gate", &[], "").await;
    explain_in(&rota, &first, "waiting").await;
    let second = rota.submit("gate", &[], "").await;
    let waiting = explain_in(&rota, &second, "waiting").await;
    let why = text(&waiting, "/why");
    assert!(
        why.contains("its 1 slots are taken") && why.contains("1 tasks come before it"),
        "{why}"
    );
    assert_eq!(waiting["known"]["kind"], "gate", "{waiting}");
    assert_eq!(waiting["known"]["order"], "priority", "{waiting}");
    assert_eq!(waiting["known"]["before"], 1, "{waiting}");
    assert_eq!(waiting["candidates"][0]["load_permille"], 1_000);
    assert!(text(&waiting, "/candidates/0/worker").starts_with("w-"));
    assert_eq!(
        text(&waiting, "/candidates/0/ruled_out"),
        "its 1 slots are taken"
    );
    assert!(waiting.get("decision").is_none(), "{waiting}");

    let runs = explain_in(&rota, &running, "running").await;
    assert!(text(&runs, "/decision/worker").starts_with("w-"), "{runs}");
    assert_eq!(text(&runs, "/decision/by"), "least-loaded");
    assert_eq!(runs["decision"]["workers"], 1, "{runs}");
    assert_eq!(runs["decision"]["full"], 0, "{runs}");
    assert_eq!(runs["known"]["estimate"]["ms"], 90_000, "{runs}");
    assert_eq!(text(&runs, "/known/estimate/source"), "submitter");
    assert!(text(&runs, "/known/worker").starts_with("w-"), "{runs}");
    assert!(runs.get("candidates").is_none(), "{runs}");

    rota.touch("open");
    rota.completed(&[running.clone(), first, second]).await;
    let ended = explain_in(&rota, &running, "unknown").await;
    assert_eq!(text(&ended, "/why"), "it has ended: completed");
    assert!(ended.get("known").is_none(), "{ended}");
}

#[tokio::test]
async fn a_task_that_requires_what_nobody_carries_is_told_what_its_workers_lack() {
    let (rota, [_submitter, scheduler, _worker], _) = start_full().await;
    let flags = ["--builtin", "--label", "zone=eu"];
    let _other = joined(&rota, &scheduler, "other", &flags).await;
    let id = rota.submit("echo", &[(REQUIRES, "gpu")], "").await;
    let waiting = explain_in(&rota, &id, "waiting").await;
    assert!(
        text(&waiting, "/why").starts_with("no worker can take it"),
        "{waiting}"
    );
    let listed = waiting["candidates"].as_array().expect("they are listed");
    let mut ruled_out: Vec<(&str, &str)> = listed
        .iter()
        .map(|worker| {
            let name = text(worker, "/worker").split('-').next().unwrap();
            (name, text(worker, "/ruled_out"))
        })
        .collect();
    ruled_out.sort_unstable();
    assert_eq!(
        ruled_out,
        [
            ("other", "it does not carry gpu"),
            ("w", "it does not handle echo")
        ]
    );
}

#[tokio::test]
async fn questions_that_make_no_sense_disturb_nobody() {
    let (rota, [_submitter, scheduler, _worker], running) = start_full().await;
    let nobody = explain(&rota, "no-such-task");
    assert_eq!(nobody["state"], "unknown");
    assert!(text(&nobody, "/why").contains("no such task"), "{nobody}");
    let mut raw = rota.raw();
    raw.write(b"PUB rota.explain.what?ever raw.answers 0\r\n\r\n");
    let long = "x".repeat(65);
    raw.write(format!("PUB rota.explain.{long} raw.answers 0\r\n\r\n").as_bytes());
    // Nobody wants to know.
    raw.publish("rota.explain.1", b"");
    raw.publish(&format!("rota.explain.{running}"), b"and a body");
    raw.publish("rota.explain", b"");
    raw.publish("rota.explain.1.2", b"");
    raw.flush();
    scheduler.until_said("not the id of a task", LIMIT).await;
    // The body of a question is not looked at.
    let subject = format!("rota.explain.{running}");
    let answer = rota.raw().request(&subject, &[], b"\x00\xff{").json();
    assert_eq!(answer["state"], "running", "{answer}");
    assert_eq!(scheduler.said(" leading"), 1, "it leads all along");
    rota.touch("open");
    rota.completed(&[running]).await;
    rota.until_settled(1, LIMIT).await;
}
