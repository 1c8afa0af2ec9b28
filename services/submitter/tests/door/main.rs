//! The submitter against a real nats-server: what goes in at the door, and where it then lies.

mod raw;
mod world;

use std::time::Duration;

use anyhow::{Context, Result};
use rota_bus::{Expect, FeedSource, Message, StreamName};
use rota_wire::event::{Event, EventBatch};
use rota_wire::frame;
use rota_wire::headers::{
    ATTEMPT, ID, MSG_ID, PRIORITY, REASON, RECHECK, STATE, SUBMITTED, TIMEOUT,
};
use rota_wire::{Headers, Kind, Lane, Priority, TaskId};
use tokio::time::timeout;

use crate::world::{World, eventually};

fn lane(kind: &str, level: u8) -> Lane {
    let kind = Kind::parse(kind).expect("a kind");
    let priority = Priority::new(level).expect("a priority");
    Lane { kind, priority }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_submission_lies_in_its_lane_with_its_body_untouched() -> Result<()> {
    let world = World::start().await?;
    let mut hints = world
        .bus
        .subscribe(&world.bus.subjects().lane_hints())
        .await?;
    world.bus.flush().await?;
    let submitter = world.submitter(None);
    let body: Vec<u8> = (0..=255).chain(*b"\r\nPUB x 1\r\n\0").collect();
    let headers = [
        (PRIORITY, "8"),
        (TIMEOUT, "30s"),
        (MSG_ID, "report-1"),
        ("Mine", "x"),
    ];
    world.submit("report", &headers, body.clone()).await?;
    world.until_empty(StreamName::Intake).await;

    let lanes = world.bus.lanes().await?;
    assert_eq!(lanes, [lane("report", 8)]);
    let task = world.bus.ready_message(1).await?.context("gone")?;
    assert_eq!(task.payload, body);
    assert_eq!(task.headers.value(ID), Some("report-1"));
    assert_eq!(task.headers.value(PRIORITY), Some("8"));
    assert_eq!(task.headers.value(TIMEOUT), Some("30s"));
    assert_eq!(
        task.headers.value(RECHECK),
        Some("1"),
        "a chosen id may have been used before"
    );
    assert_eq!(task.headers.value("Mine"), None);
    let hint = timeout(Duration::from_secs(5), hints.next())
        .await?
        .context("no hint")?;
    assert_eq!(
        world.bus.subjects().hinted_lane(&hint.subject),
        Some(lane("report", 8))
    );
    submitter.stop().await
}

/// A submission that breaks a rule, the id that its result has, and how its reason begins.
struct Broken {
    subject: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: &'static [u8],
    id: &'static str,
    reason: &'static str,
}

const BROKEN: [Broken; 5] = [
    Broken {
        subject: "rota.submit.echo",
        header: Some((PRIORITY, "11")),
        body: b"",
        id: "1",
        reason: "Rota-Priority `11`: must be 0 to 9",
    },
    Broken {
        subject: "rota.submit.echo",
        header: Some(("Rota-Colour", "red")),
        body: b"",
        id: "2",
        reason: "Rota-Colour `red`: must be an option",
    },
    Broken {
        subject: "rota.submit.Big.Kind",
        header: Some((MSG_ID, "mine")),
        body: b"",
        id: "mine",
        reason: "kind `Big.Kind`: must be 1 to 64",
    },
    Broken {
        subject: "rota.submit.echo",
        header: Some((MSG_ID, "4711")),
        body: b"",
        id: "4",
        reason: "Nats-Msg-Id `4711`: must be 1 to 64",
    },
    Broken {
        subject: "rota.submit.echo",
        header: None,
        body: &[0; 101],
        id: "5",
        reason: "body `101 bytes`: must be at most 100 bytes",
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_breaks_a_rule_gets_a_result_that_says_which() -> Result<()> {
    let world = World::start().await?;
    let all_events = world.bus.subjects().all_events();
    let mut events = world.bus.subscribe(&all_events).await?;
    world.bus.flush().await?;
    let submitter = world.submitter(Some(100));
    let mut raw = world.raw()?;
    for broken in &BROKEN {
        raw.store(broken.subject, broken.header.as_slice(), broken.body)?;
    }
    world.until_empty(StreamName::Intake).await;
    for Broken { id, reason, .. } in &BROKEN {
        let result = world.bus.result(&TaskId::parse(id)?).await?.context(*id)?;
        assert_eq!(result.headers.value(STATE), Some("rejected"));
        let told = result.headers.value(REASON).unwrap_or_default();
        assert!(told.starts_with(reason), "{told}");
    }
    assert_eq!(world.state(StreamName::Ready).await.last_sequence, 0);

    let mut told = 0;
    while told < BROKEN.len() {
        let frame = timeout(Duration::from_secs(5), events.next()).await?;
        let batch: EventBatch = frame::decode(&frame.context("no events")?.payload)?;
        let rejected = |event: &Event| matches!(event, Event::Rejected { .. });
        told += batch
            .events
            .iter()
            .filter(|timed| rejected(&timed.event))
            .count();
    }
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_submissions_keep_their_order_and_none_is_lost() -> Result<()> {
    const MANY: u64 = 5_000;
    let world = World::start().await?;
    let submitter = world.submitter(None);
    let mut storing = Vec::new();
    for number in 1..=MANY {
        let subject = world.bus.subjects().submit(&Kind::parse("echo")?);
        let message = Message::new(subject, number.to_string().into());
        storing.push(world.bus.store(message, Expect::Nothing).await?);
        if storing.len() == 500 {
            for stored in storing.drain(..) {
                stored.done().await?;
            }
        }
    }
    world.until_stored(StreamName::Ready, MANY).await;
    world.until_empty(StreamName::Intake).await;
    for number in 1..=MANY {
        let task = world.bus.ready_message(number).await?.context("gone")?;
        let text = number.to_string();
        assert_eq!(task.payload, text);
        assert_eq!(task.headers.value(ID), Some(text.as_str()));
        assert_eq!(task.headers.value(RECHECK), None);
    }
    assert_eq!(world.state(StreamName::Ready).await.messages, MANY);
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_submitter_left_without_an_ack_comes_again_and_is_marked() -> Result<()> {
    let world = World::start().await?;
    world.submit("echo", &[], b"hi".to_vec()).await?;
    // One that dies between the lane and the ack leaves just this behind.
    let mut feed = world.bus.feed(FeedSource::Submissions).await?;
    let message = feed.next().await?;
    assert_eq!(message.deliveries, 1);
    drop((message, feed));

    let submitter = world.submitter(None);
    world.until_stored(StreamName::Ready, 1).await;
    let task = world.bus.ready_message(1).await?.context("gone")?;
    assert_eq!(task.headers.value(ID), Some("1"));
    assert_eq!(task.headers.value(RECHECK), Some("1"));
    world.until_empty(StreamName::Intake).await;
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_falls_due_twice_is_ready_once_and_junk_is_cleared_away() -> Result<()> {
    let world = World::start().await?;
    let submitter = world.submitter(None);
    let due = |attempt: &str| Message {
        subject: world.bus.subjects().due(&lane("echo", 8)),
        headers: Headers::from_iter([
            (ID, "mine"),
            (SUBMITTED, "2026-11-23T08:00:00Z"),
            (PRIORITY, "8"),
            (ATTEMPT, attempt),
        ]),
        payload: "again".into(),
    };
    world
        .raw()?
        .store("rota.due.echo.8", &[("Rota-Id", "x")], b"junk")?;
    for attempt in ["2", "2", "3"] {
        world
            .bus
            .store(due(attempt), Expect::Nothing)
            .await?
            .done()
            .await?;
    }
    world.until_empty(StreamName::Schedule).await;
    assert_eq!(world.state(StreamName::Ready).await.messages, 2);
    for (sequence, attempt) in [(1, "2"), (2, "3")] {
        let task = world.bus.ready_message(sequence).await?.context("gone")?;
        assert_eq!(task.headers.value(ATTEMPT), Some(attempt));
        assert_eq!(task.headers.value(RECHECK), Some("1"));
        assert_eq!(task.payload, "again");
    }
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_queue_is_full_tasks_wait_at_the_door() -> Result<()> {
    let world = World::start().await?;
    let submitter = world.submitter(None);
    // Only one that is up already takes a stream with another limit.
    world.submit("echo", &[], vec![b'x'; 100]).await?;
    world.until_empty(StreamName::Intake).await;
    let mut raw = world.raw()?;
    raw.set_stream("ROTA_READY", "max_bytes", 1_000.into())?;
    for _ in 1..20 {
        world.submit("echo", &[], vec![b'x'; 100]).await?;
    }
    eventually("the queue is full", async || {
        // Each takes some 200 bytes; one more does not fit.
        (1_000 - 250..=1_000).contains(&world.state(StreamName::Ready).await.bytes)
    })
    .await;
    let (ready, waiting) = (
        world.state(StreamName::Ready).await,
        world.state(StreamName::Intake).await,
    );
    assert!(
        ready.messages + waiting.messages >= 20,
        "{ready:?} {waiting:?}"
    );
    assert!(ready.messages < 20, "{ready:?}");
    raw.set_stream("ROTA_READY", "max_bytes", 1_000_000.into())?;
    world.until_empty(StreamName::Intake).await;
    assert_eq!(world.state(StreamName::Ready).await.messages, 20);
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitter_waits_out_a_server_that_was_killed() -> Result<()> {
    let mut world = World::start().await?;
    let submitter = world.submitter(None);
    world.submit("echo", &[], b"before".to_vec()).await?;
    world.until_empty(StreamName::Intake).await;
    world.server.kill()?;
    world.server.start_again().await?;
    eventually("a submission is taken again", async || {
        world.submit("echo", &[], b"after".to_vec()).await.is_ok()
    })
    .await;
    world.until_stored(StreamName::Ready, 2).await;
    world.until_empty(StreamName::Intake).await;
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitter_that_stops_leaves_its_work_to_the_next() -> Result<()> {
    const MANY: u64 = 3_000;
    let world = World::start().await?;
    for _ in 0..MANY {
        let subject = world.bus.subjects().submit(&Kind::parse("echo")?);
        world.bus.send(Message::new(subject, "x".into())).await?;
    }
    world.until_stored(StreamName::Intake, MANY).await;
    let first = world.submitter(None);
    world.until_stored(StreamName::Ready, 1).await;
    first.stop().await?;
    let next = world.submitter(None);
    world.until_empty(StreamName::Intake).await;
    assert!(world.state(StreamName::Ready).await.messages >= MANY);
    next.stop().await
}
