//! A worker on a real nats-server, with the test in the place of the scheduler.

mod guardian;
mod process;
mod scheduler;
mod single;

use std::time::Duration;

use anyhow::Result;
use rota_bus::{Expect, Message};
use rota_local::{NatsServer, ServerOptions};
use rota_wire::dispatch::{Ending, Retry};
use rota_wire::fleet::Stage;
use rota_wire::result::FinalState;
use rota_wire::{Headers, TaskId};
use rota_worker::{Failure, Task, Worker};

use scheduler::{Scheduler, holding, task};
use single::Single;

#[tokio::test]
async fn a_result_is_stored_before_its_report_and_reported_until_it_is_settled() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().builtins().slots(2)).await;
    scheduler.meet_worker().await?;

    let mut task = task("echo", 7, "hello");
    task.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    scheduler.assign(1, vec![task.clone()]).await?;
    let outcome = scheduler.outcome().await?;
    assert_eq!(
        (outcome.holding, &outcome.ending),
        (holding(1, 7), &Ending::Stored)
    );

    let stored = scheduler
        .bus
        .result(&task.id)
        .await?
        .expect("stored before it was reported");
    let result = stored.result.expect("written by a worker");
    assert_eq!(&stored.body[..], b"hello");
    assert_eq!((result.state, result.attempts), (FinalState::Completed, 1));
    assert_eq!(
        (&*result.kind, &result.worker),
        ("echo", &Some(scheduler.worker().clone()))
    );
    assert_eq!(
        (result.submitted, &result.traceparent),
        (Some(task.submitted), &task.traceparent)
    );
    assert!(result.started <= Some(result.finished));

    assert_eq!(scheduler.outcome().await?, outcome, "it is repeated");
    assert_eq!(scheduler.outcome().await?, outcome, "and repeated");
    scheduler
        .wait_until_held(1, &[(holding(1, 7), Stage::Ended)])
        .await?;
    scheduler.settle(1, vec![outcome.number]).await?;
    scheduler.wait_until_held(1, &[]).await?;
    worker.stop().await
}

#[tokio::test]
async fn a_late_result_is_refused_and_counts_as_stored() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().builtins()).await;
    scheduler.meet_worker().await?;

    let task = task("echo", 1, "late");
    let first = Message {
        subject: scheduler.bus.subjects().result(&task.id),
        headers: Headers::new(),
        payload: "first".into(),
    };
    scheduler
        .bus
        .store(first, Expect::First)
        .await?
        .done()
        .await?;
    scheduler.assign(1, vec![task.clone()]).await?;
    assert_eq!(scheduler.outcome().await?.ending, Ending::Stored);
    let stored = scheduler.bus.result(&task.id).await?.expect("a result");
    assert_eq!(&stored.body[..], b"first");
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn a_failed_attempt_is_reported_with_its_reason_and_leaves_no_result() -> Result<()> {
    async fn picky(task: Task) -> Result<String, Failure> {
        match &task.input()[..] {
            b"bad" => Err(Failure::fatal("the input is bad")),
            b"panic" => panic!("the input is frightening"),
            _ => Err(Failure::retry("not now")),
        }
    }
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().handler("picky", picky)).await;
    scheduler.meet_worker().await?;

    for (seq, input, retry, reason) in [
        (1, "bad", Retry::Never, "the input is bad"),
        (
            2,
            "panic",
            Retry::Later,
            "handler panicked: the input is frightening",
        ),
        (3, "other", Retry::Later, "not now"),
    ] {
        scheduler.assign(1, vec![task("picky", seq, input)]).await?;
        let outcome = scheduler.outcome_of(seq).await?;
        let Ending::Failed(failure) = outcome.ending else {
            panic!("{:?} is no failure", outcome.ending);
        };
        assert_eq!((failure.retry, &*failure.reason), (retry, reason));
        assert!(
            scheduler
                .bus
                .result(&TaskId::from_sequence(seq))
                .await?
                .is_none()
        );
        scheduler.settle(1, vec![outcome.number]).await?;
    }
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn a_result_that_no_message_can_carry_fails_for_good() -> Result<()> {
    async fn much(_: Task) -> Result<Vec<u8>, Failure> {
        Ok(vec![0; 900 * 1024])
    }
    let options = ServerOptions {
        max_payload: Some(512 * 1024),
        ..ServerOptions::default()
    };
    let server = NatsServer::start(options).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().handler("much", much)).await;
    scheduler.meet_worker().await?;
    scheduler.assign(1, vec![task("much", 1, "")]).await?;
    match scheduler.outcome().await?.ending {
        Ending::Failed(failure) => {
            assert_eq!(failure.retry, Retry::Never);
            assert!(
                failure.reason.contains("longer than the limit"),
                "{}",
                failure.reason
            );
        }
        other => panic!("{other:?} is no failure"),
    }
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn a_roll_call_is_answered_at_once_and_an_older_term_refused_ever_after() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    // So rarely that what is heard was asked for.
    let rarely = Worker::builder()
        .builtins()
        .slots(4)
        .heartbeat(Duration::from_secs(10));
    let worker = Single::start(&server, rarely).await;
    scheduler.meet_worker().await?;
    scheduler.assign(1, vec![task("sleep", 1, "600s")]).await?;
    let running = (holding(1, 1), Stage::Running);
    scheduler.wait_until_held(1, &[running]).await?;
    let newer = scheduler.lead().await?;
    scheduler.wait_until_held(newer, &[running]).await?;

    scheduler
        .assign(1, vec![task("echo", 2, "too old")])
        .await?;
    scheduler
        .assign(newer, vec![task("echo", 3, "new")])
        .await?;
    assert_eq!(scheduler.outcome().await?.holding, holding(newer, 3));
    assert!(
        scheduler
            .bus
            .result(&TaskId::from_sequence(2))
            .await?
            .is_none()
    );
    scheduler
        .wait_until_held(newer, &[running, (holding(newer, 3), Stage::Ended)])
        .await?;
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn nonsense_on_its_subjects_does_not_disturb_a_worker() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().builtins()).await;
    scheduler.meet_worker().await?;
    let subjects = scheduler.bus.subjects().clone();
    for subject in [subjects.assign(scheduler.worker()), subjects.roll_call()] {
        for nonsense in [
            &b""[..],
            b"\x01",
            b"\x63rest",
            &[0xff; 200],
            b"{\"term\":1}",
        ] {
            scheduler
                .bus
                .send(Message::new(subject.clone(), nonsense.to_vec().into()))
                .await?;
        }
    }
    scheduler
        .assign(1, vec![task("echo", 1, "still here")])
        .await?;
    assert_eq!(scheduler.outcome().await?.ending, Ending::Stored);
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_costs_no_task_and_no_result() -> Result<()> {
    let mut server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let (gate, opened) = tokio::sync::watch::channel(Gate::Shut);
    let gated = Worker::builder().handler("gated", move |_: Task| {
        let mut opened = opened.clone();
        async move {
            opened.wait_for(|gate| *gate == Gate::Open).await?;
            Ok::<_, Failure>("done")
        }
    });
    let worker = Single::start(&server, gated).await;
    scheduler.meet_worker().await?;
    scheduler.assign(1, vec![task("gated", 1, "")]).await?;
    scheduler.wait_for_beat(|beat| beat.held.len() == 1).await?;

    server.kill()?;
    gate.send(Gate::Open)?;
    server.start_again().await?;
    let outcome = scheduler.outcome().await?;
    assert_eq!(
        (outcome.holding, outcome.ending),
        (holding(1, 1), Ending::Stored)
    );
    let stored = scheduler
        .bus
        .result(&TaskId::from_sequence(1))
        .await?
        .expect("a result");
    assert_eq!(&stored.body[..], b"done");
    worker.stop_after(&mut scheduler).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Shut,
    Open,
}
