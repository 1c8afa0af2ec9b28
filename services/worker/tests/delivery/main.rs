//! A worker on a real nats-server, with the test in the place of the scheduler.

mod guardian;
mod process;
mod scheduler;
mod single;

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use rota_bus::{Expect, Message, Stored};
use rota_local::{NatsServer, ServerOptions};
use rota_wire::dispatch::{Assignment, Ending, Input, Retry};
use rota_wire::fleet::{Heartbeat, Stage};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Dialect, Headers, Lane, Micros, Priority, TaskId};
use rota_worker::{CommandHandler, Entry, Failure, Task, Worker};

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
    let first = TaskResult {
        id: task.id.clone(),
        state: FinalState::Completed,
        kind: "echo".to_owned(),
        attempts: 1,
        worker: None,
        exit: None,
        reason: None,
        submitted: None,
        started: None,
        finished: Micros(1),
        ran: None,
        estimate: None,
        traceparent: None,
    };
    let storing = scheduler.bus.store_result(&first, "first".into()).await?;
    storing.done().await?;
    scheduler.assign(1, vec![task.clone()]).await?;
    assert_eq!(scheduler.outcome().await?.ending, Ending::Stored);
    let stored = scheduler.bus.result(&task.id).await?.expect("a result");
    assert_eq!(&stored.body[..], b"first");
    worker.stop_after(&mut scheduler).await
}

/// As a client can write it that names the subject as its reply.
#[tokio::test]
async fn what_a_stranger_wrote_in_the_place_of_a_result_is_replaced() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().builtins()).await;
    scheduler.meet_worker().await?;
    let task = task("echo", 1, "mine");
    let foreign = Message {
        subject: scheduler.bus.subjects().result(&task.id),
        headers: Headers::new(),
        payload: "foreign".into(),
    };
    let storing = scheduler.bus.store(foreign, Expect::First).await?;
    storing.done().await?;
    scheduler.assign(1, vec![task.clone()]).await?;
    assert_eq!(scheduler.outcome().await?.ending, Ending::Stored);
    let stored = scheduler.bus.result(&task.id).await?.expect("a result");
    assert_eq!((&stored.body[..], stored.genuine), (&b"mine"[..], true));
    worker.stop_after(&mut scheduler).await
}

/// Puts a message into ROTA_READY as the submitter does, and gives its sequence.
async fn put_ready(scheduler: &Scheduler, task: &Assignment, body: &Bytes) -> Result<u64> {
    let lane = Lane {
        kind: task.kind.clone(),
        priority: Priority::default(),
    };
    let message = Message {
        subject: scheduler.bus.subjects().ready(&lane),
        headers: [("Rota-Id", task.id.as_str())].into_iter().collect(),
        payload: body.clone(),
    };
    let storing = scheduler.bus.store(message, Expect::Nothing).await?;
    let (Stored::New { seq } | Stored::Duplicate { seq }) = storing.done().await?;
    Ok(seq)
}

fn in_stream(mut task: Assignment, seq: u64, body: &Bytes) -> Assignment {
    task.holding.delivery.seq = seq;
    task.input = Input::InStream {
        bytes: body.len() as u64,
    };
    task
}

#[tokio::test]
async fn an_input_that_stayed_in_the_stream_is_fetched_by_its_sequence() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().builtins().slots(4)).await;
    scheduler.meet_worker().await?;
    let body = Bytes::from(b"0123456789abcdef".repeat(50_000));
    let large = task("echo", 77, "");
    let seq = put_ready(&scheduler, &large, &body).await?;
    let large = in_stream(large, seq, &body);
    scheduler.assign(1, vec![large.clone()]).await?;
    assert_eq!(scheduler.outcome_of(seq).await?.ending, Ending::Stored);
    let stored = scheduler.bus.result(&large.id).await?.expect("a result");
    assert_eq!(stored.body, body);
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn a_task_whose_message_is_gone_or_anothers_is_handed_back_and_never_run() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().builtins().slots(4)).await;
    scheduler.meet_worker().await?;
    let body = Bytes::from_static(b"another's");
    let seq = put_ready(&scheduler, &task("echo", 5, ""), &body).await?;
    let strange = in_stream(task("echo", 6, ""), seq, &body);
    let gone = in_stream(task("echo", 7, ""), seq + 10, &body);
    scheduler.assign(1, vec![strange.clone(), gone]).await?;
    for seq in [seq, seq + 10] {
        let ending = scheduler.outcome_of(seq).await?.ending;
        assert!(matches!(ending, Ending::Returned { .. }), "{ending:?}");
    }
    assert!(scheduler.bus.result(&strange.id).await?.is_none());
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn a_worker_speaks_its_leaders_dialect_and_names_what_it_holds() -> Result<()> {
    let server = NatsServer::start(ServerOptions::default()).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let worker = Single::start(&server, Worker::builder().builtins()).await;
    let first = scheduler.meet_worker().await?;
    assert_eq!(first.dialect, Dialect::V1, "nobody leads yet");
    scheduler.assign(1, vec![task("sleep", 9, "600s")]).await?;
    let beat = scheduler
        .wait_for_beat(|beat| !beat.held.is_empty())
        .await?;
    assert_eq!(beat.dialect, Dialect::V2);
    let held = beat.held[0].task.as_ref().expect("named");
    assert_eq!((held.id.as_str(), held.attempt), ("9", 1));
    assert_eq!(held.lane.to_string(), "sleep.5");

    let other = Single::start(&server, Worker::builder().builtins()).await;
    let from_other = |beat: &Heartbeat| beat.worker != first.worker;
    let beat = scheduler.wait_for_beat(from_other).await?;
    assert_eq!(
        (beat.number, beat.dialect),
        (1, Dialect::V2),
        "from the start"
    );
    other.stop().await?;
    worker.stop_after(&mut scheduler).await
}

/// Each attempt fails with four KiB of reasons and of stderr, and all end at once.
#[tokio::test]
async fn no_frame_is_larger_than_the_server_takes() -> Result<()> {
    let options = ServerOptions {
        max_payload: Some(64 * 1024),
        ..ServerOptions::default()
    };
    let server = NatsServer::start(options).await?;
    let mut scheduler = Scheduler::start(&server).await?;
    let fail = |_: Task| async { Err::<String, _>(Failure::retry("é".repeat(10_000))) };
    let loud = Entry::command(CommandHandler {
        program: "sh".to_owned(),
        args: [
            "-c",
            "head -c 9000 /dev/zero | tr '\\000' '\\377' >&2; exit 3",
        ]
        .map(str::to_owned)
        .into(),
        ..CommandHandler::default()
    });
    let builder = Worker::builder().handler("fail", fail).entry("loud", loud);
    let worker = Single::start(&server, builder.slots(200)).await;
    scheduler.meet_worker().await?;
    let mut tasks: Vec<_> = (1..=180).map(|seq| task("fail", seq, "")).collect();
    tasks.extend((181..=200).map(|seq| task("loud", seq, "")));
    for tasks in tasks.chunks(50) {
        scheduler.assign(1, tasks.to_vec()).await?;
    }
    for seq in [1, 90, 180, 181, 200] {
        let ending = scheduler.outcome_of(seq).await?.ending;
        assert!(matches!(ending, Ending::Failed(_)), "{ending:?}");
    }
    worker.stop_after(&mut scheduler).await
}

#[tokio::test]
async fn more_slots_than_a_heartbeat_has_room_for_are_refused_with_the_reason() -> Result<()> {
    let options = ServerOptions {
        max_payload: Some(64 * 1024),
        ..ServerOptions::default()
    };
    let server = NatsServer::start(options).await?;
    let builder = Worker::builder().builtins().slots(4_096);
    let worker = Single::start(&server, builder).await;
    let told = worker.stop().await.expect_err("it is refused").to_string();
    for part in ["4096 slots", "65536 bytes", "max_payload", "fewer slots"] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }
    Ok(())
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
