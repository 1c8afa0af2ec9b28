//! The scheduler, the submitter and the server killed under load, and started again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rota_bus::{Expect, Message, StreamName};
use rota_tests::{Handler, Installation, LIMIT, Process, Service, wait_for};
use rota_wire::headers::MSG_ID;
use rota_wire::{Headers, Kind, TaskId};

/// Takes a while, and leaves a mark.
const WORK: &str = r#"sleep 0.3; echo "$ROTA_TASK_ID" >> "$DIR/effects""#;
/// Leaves its mark, and runs through the terms of several leaders until the test lets it go.
const GATE: &str =
    r#"echo "$ROTA_TASK_ID" >> "$DIR/gates"; while [ ! -e "$DIR/open" ]; do sleep 0.02; done"#;
/// How soon a standby must lead.
const SUCCEED_WITHIN: Duration = Duration::from_secs(4);
/// Beside a submission whose submitter was killed, which comes again after ten seconds.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn no_task_is_lost_or_run_twice_when_the_scheduler_is_killed_under_load() {
    let (rota, [_submitter, mut scheduler]) = Installation::start_with_head().await;
    let handlers = [Handler::sh("work", WORK), Handler::sh("gate", GATE)];
    let handlers = rota.handlers("w", &handlers);
    let flags = ["--slots", "10", "--handlers", &handlers];
    let _workers = ["a", "b"].map(|name| rota.worker(name, &flags));
    let gates = rota.submit_many("gate", &[], "", 4).await;
    rota.until_lines("gates", 4, LIMIT).await;
    let ids = rota.submit_many("work", &[], "", 240).await;
    for effects in [20, 80, 140] {
        rota.until_lines("effects", effects, LIMIT).await;
        scheduler.kill();
        scheduler = rota.run(Service::Scheduler, &[]);
        let line = scheduler.until_said("roll called", LIMIT).await;
        let adopted = number_in(&line, "adopted=");
        assert!(adopted >= gates.len(), "what runs is left with its worker");
    }
    rota.touch("open");
    rota.completed(&gates).await;
    rota.until_settled(244, LIMIT).await;
    assert_each_once(&rota, &ids);
    assert_eq!(rota.lines("gates").len(), gates.len(), "some ran twice");
}

#[tokio::test]
async fn the_standby_leads_within_seconds_when_the_leader_is_killed() {
    let (rota, [_submitter, first]) = Installation::start_with_head().await;
    first.until_said(" leading", LIMIT).await;
    let mut leader = first;
    let mut standby = rota.run(Service::Scheduler, &[]);
    standby.until_said("standing by", LIMIT).await;
    let _workers = two_workers(&rota, WORK);
    let ids = rota.submit_many("work", &[], "", 240).await;
    for effects in [20, 120] {
        rota.until_lines("effects", effects, LIMIT).await;
        leader.kill();
        let killed = Instant::now();
        standby.until_said(" leading", SUCCEED_WITHIN).await;
        println!("the standby led after {:?}", killed.elapsed());
        leader = standby;
        standby = rota.run(Service::Scheduler, &[]);
    }
    rota.until_settled(240, LIMIT).await;
    assert_each_once(&rota, &ids);
}

#[tokio::test]
async fn no_task_is_lost_or_doubled_when_the_submitter_is_killed_between_the_streams() {
    let (rota, [mut submitter, _scheduler]) = Installation::start_with_head().await;
    let _workers = two_workers(&rota, r#"echo "$ROTA_TASK_ID" >> "$DIR/effects""#);
    let killing = async {
        for passed in [300, 600, 900] {
            rota.until_stored(StreamName::Ready, passed).await;
            submitter.kill();
            submitter = rota.run(Service::Submitter, &[]);
        }
    };
    let submitting = rota.submit_many("work", &[], "", 3_000);
    let (ids, ()) = tokio::join!(submitting, killing);
    rota.until_settled(3_000, LONG).await;
    assert_each_once(&rota, &ids);
    let passed = rota.state(StreamName::Ready).await.unwrap().last_sequence;
    println!("{} submissions were passed on twice", passed - 3_000);
}

#[tokio::test]
async fn all_services_connect_again_by_themselves_when_the_server_is_killed_under_load() {
    let (mut rota, mut head) = Installation::start_with_head().await;
    let mut workers = two_workers(&rota, WORK);
    let names: Vec<String> = (0..200).map(|number| format!("task-{number}")).collect();
    let half = names.len() / 2;
    submit_surely(&rota, &names[..half]).await;
    for effects in [20, 80] {
        rota.until_lines("effects", effects, LIMIT).await;
        rota.restart_server().await;
        submit_surely(&rota, &names[half..]).await;
    }
    rota.until_settled(200, LONG).await;
    let ids = ids_of(&names);
    rota.completed(&ids).await;
    assert_each_once(&rota, &ids);
    for process in head.iter_mut().chain(&mut workers) {
        assert!(process.try_exited().is_none(), "it waited the outage out");
    }
}

/// What was kept is lost, of course; what comes after is not.
#[tokio::test]
async fn a_server_that_lost_its_store_is_furnished_again_and_all_services_go_on() {
    let (mut rota, mut head) = Installation::start_with_head().await;
    let work = Handler::sh("work", r#"echo "$ROTA_TASK_ID" >> "$DIR/effects""#);
    let hang = Handler::sh("hang", r#"echo run >> "$DIR/hung"; exec sleep 60"#);
    let handlers = rota.handlers("w", &[work, hang]);
    let mut worker = rota.worker("w", &["--slots", "1", "--handlers", &handlers]);
    rota.submit("hang", &[], "").await;
    rota.until_lines("hung", 1, LIMIT).await;
    rota.wipe_server().await;
    let names: Vec<String> = (0..20).map(|number| format!("task-{number}")).collect();
    submit_surely(&rota, &names).await;
    worker.until_said("revoked", LIMIT).await;
    rota.until_settled(20, LIMIT).await;
    let ids = ids_of(&names);
    rota.completed(&ids).await;
    assert_each_once(&rota, &ids);
    for process in head.iter_mut().chain([&mut worker]) {
        assert!(process.try_exited().is_none(), "it waited the outage out");
    }
}

fn two_workers(rota: &Installation, script: &str) -> [Process; 2] {
    let handlers = rota.handlers("w", &[Handler::sh("work", script)]);
    ["a", "b"].map(|name| rota.worker(name, &["--slots", "10", "--handlers", &handlers]))
}

fn ids_of(names: &[String]) -> Vec<TaskId> {
    let ids = names.iter().map(|name| TaskId::parse(name).unwrap());
    ids.collect()
}

/// Submits each until the server says that it has it, however often that takes.
async fn submit_surely(rota: &Installation, names: &[String]) {
    for name in names {
        wait_for(format!("{name} is stored"), LIMIT, async || {
            let message = Message {
                subject: rota.bus.subjects().submit(&Kind::parse("work").unwrap()),
                headers: Headers::from_iter([(MSG_ID, name.as_str())]),
                payload: Bytes::new(),
            };
            let sent = rota.bus.store(message, Expect::Nothing).await;
            let sent = sent.map_err(|error| error.to_string())?;
            sent.done().await.map_err(|error| error.to_string())
        })
        .await;
    }
}

/// Each task has left its mark, and none twice.
fn assert_each_once(rota: &Installation, ids: &[TaskId]) {
    let marks = rota.lines("effects");
    let (done, given) = (
        marks.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        ids.iter().map(TaskId::as_str).collect::<BTreeSet<_>>(),
    );
    let lost: Vec<_> = given.difference(&done).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(marks.len(), ids.len(), "some ran twice");
}

fn number_in(line: &str, name: &str) -> usize {
    let (_, rest) = line.split_once(name).expect("the field is there");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap_or_default().parse().expect("it is a number")
}
