//! The submitter against a real nats-server: what goes in at the door, and where it then lies.

mod process;
mod raw;
mod world;

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rota_bus::{Expect, FeedSource, Message, StoredRetry, StreamName};
use rota_wire::event::{Event, EventBatch};
use rota_wire::frame;
use rota_wire::headers::{
    ATTEMPT, ID, MSG_ID, PRIORITY, REASON, RECHECK, STATE, SUBMITTED, TIMEOUT,
};
use rota_wire::result::FinalState;
use rota_wire::{Headers, Kind, Lane, Micros, Priority, Span, TaskId, TaskSpec};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::process::Process;
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
    let task = world.ready(1).await?;
    assert_eq!(task.payload, body);
    assert_eq!(task.headers.value(ID), Some("report-1"));
    assert_eq!(task.headers.value(PRIORITY), Some("8"));
    assert_eq!(task.headers.value(TIMEOUT), Some("30s"));
    assert_eq!(
        task.headers.value(RECHECK),
        Some("named"),
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
        let task = world.ready(number).await?;
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
    let task = world.ready(1).await?;
    assert_eq!(task.headers.value(ID), Some("1"));
    assert_eq!(task.headers.value(RECHECK), Some("1"));
    world.until_empty(StreamName::Intake).await;
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_fall_due_lie_in_their_lane_and_may_have_run() -> Result<()> {
    let world = World::start().await?;
    let submitter = world.submitter(None);
    for attempt in ["2", "3"] {
        fall_due(&world, due(&world, "mine", attempt, &[])).await?;
    }
    world.until_empty(StreamName::Schedule).await;
    assert_eq!(world.state(StreamName::Ready).await.messages, 2);
    for (sequence, attempt) in [(1, "2"), (2, "3")] {
        let task = world.ready(sequence).await?;
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

/// A message as the scheduler puts it into the schedule for an attempt that is due.
fn due(world: &World, id: &str, attempt: &str, more: &[(&'static str, &str)]) -> Message {
    let own = [
        (ID, id),
        (SUBMITTED, "2026-11-23T08:00:00Z"),
        (PRIORITY, "8"),
        (ATTEMPT, attempt),
    ];
    Message {
        subject: world.bus.subjects().due(&lane("echo", 8)),
        headers: own.iter().chain(more).copied().collect(),
        payload: "again".into(),
    }
}

async fn fall_due(world: &World, message: Message) -> Result<()> {
    let storing = world.bus.store(message, Expect::Nothing).await?;
    storing.done().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_messages_for_the_same_attempt_none_is_swallowed() -> Result<()> {
    let world = World::start().await?;
    let submitter = world.submitter(None);
    // A dropped ack or a resubmission leaves two copies of a task. The older fails while the newer waits for
    // its retry: then the same attempt falls due twice, and the scheduler needs both to know which is left.
    for _ in 0..2 {
        fall_due(&world, due(&world, "mine", "2", &[])).await?;
    }
    world.until_empty(StreamName::Schedule).await;
    assert_eq!(world.state(StreamName::Ready).await.messages, 2);
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_message_that_comes_again_lies_in_its_lane_once() -> Result<()> {
    let world = World::start().await?;
    fall_due(&world, due(&world, "mine", "2", &[])).await?;
    // One that dies after the lane and before the ack leaves just this behind.
    let first = world.submitter(None);
    world.until_stored(StreamName::Ready, 1).await;
    world.until_empty(StreamName::Schedule).await;
    first.stop().await?;
    let stored = world.ready(1).await?;
    assert_eq!(stored.headers.value(ATTEMPT), Some("2"));
    let id = stored.headers.value(MSG_ID).context("an id")?;
    assert!(id.starts_with("due:1:"), "{id}");
    submit_again_under(&world, id).await
}

/// The stream takes a message of that id for the one that it has.
async fn submit_again_under(world: &World, id: &str) -> Result<()> {
    let message = due(world, "mine", "2", &[]);
    let ready = Message {
        subject: world.bus.subjects().ready(&lane("echo", 8)),
        ..message
    };
    let again = world.bus.store(ready, Expect::NewId(id.to_owned())).await?;
    again.done().await?;
    assert_eq!(world.state(StreamName::Ready).await.messages, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_message_that_cannot_be_read_becomes_a_dead_letter_and_a_result() -> Result<()> {
    let world = World::start().await?;
    let submitter = world.submitter(None);
    let mut raw = world.raw()?;
    raw.store(
        "rota.due.echo.8",
        &[(ID, "mine"), (SUBMITTED, "yesterday")],
        b"kept",
    )?;
    raw.store("rota.due.echo.8", &[], b"nameless")?;
    world.until_empty(StreamName::Schedule).await;
    assert_eq!(world.state(StreamName::Dead).await.messages, 2);
    assert_eq!(world.state(StreamName::Ready).await.last_sequence, 0);
    let result = world.bus.result(&TaskId::parse("mine")?).await?;
    let result = result.and_then(|found| found.result).context("a result")?;
    assert_eq!(result.state, FinalState::Failed);
    let reason = result.reason.unwrap_or_default();
    assert!(reason.contains("Rota-Submitted `yesterday`"), "{reason}");
    assert_eq!(world.state(StreamName::Results).await.messages, 1);
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_message_of_a_newer_rota_stays_until_one_reads_it() -> Result<()> {
    let world = World::start().await?;
    let submitter = world.submitter(None);
    fall_due(&world, due(&world, "newer", "2", &[("Rota-Unheard", "1")])).await?;
    fall_due(&world, due(&world, "known", "2", &[])).await?;
    world.until_stored(StreamName::Ready, 1).await;
    submitter.stop().await?;
    assert_eq!(world.state(StreamName::Schedule).await.messages, 1);
    assert_eq!(world.state(StreamName::Ready).await.messages, 1);
    assert_eq!(world.state(StreamName::Dead).await.messages, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_newer_rota_hold_up_no_others_however_many_they_are() -> Result<()> {
    const MANY: u64 = 9_000;
    let world = World::start().await?;
    let submitter = world.submitter(None);
    for number in 0..MANY {
        let id = format!("newer-{number}");
        let newer = due(&world, &id, "2", &[("Rota-Unheard", "1")]);
        world.bus.send(newer).await?;
    }
    world.until_stored(StreamName::Schedule, MANY).await;
    fall_due(&world, due(&world, "known", "2", &[])).await?;
    world.until_stored(StreamName::Ready, 1).await;
    assert_eq!(world.ready(1).await?.headers.value(ID), Some("known"));
    assert_eq!(world.state(StreamName::Schedule).await.messages, MANY);
    submitter.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_beyond_the_limit_are_refused_and_those_that_wait_are_not() -> Result<()> {
    const KINDS: u64 = 12_000;
    const LIMIT: u64 = 1_000;
    let world = World::start().await?;
    let submitter = world.submitter_of(None, LIMIT as usize);
    world.submit("waits", &[], b"1".to_vec()).await?;
    world.until_empty(StreamName::Intake).await;
    for number in 0..KINDS {
        let subject = world
            .bus
            .subjects()
            .submit(&Kind::parse(&format!("k{number}"))?);
        world.bus.send(Message::new(subject, "x".into())).await?;
    }
    world.until_stored(StreamName::Intake, KINDS + 1).await;
    world.until_empty(StreamName::Intake).await;
    let waiting = world.state(StreamName::Ready).await.messages;
    let refused = world.state(StreamName::Results).await.messages;
    assert_eq!(waiting + refused, KINDS + 1);
    // What is on its way when the lanes are counted can exceed the limit.
    assert!((LIMIT..=LIMIT + 1_000).contains(&waiting), "{waiting}");
    let last = TaskId::parse(&(KINDS + 1).to_string())?;
    let last = world.bus.result(&last).await?.context("a result")?;
    let reason = last.headers.value(REASON).unwrap_or_default();
    assert!(
        reason.starts_with("kind `k11999`: must be one of those that wait already"),
        "{reason}"
    );

    // For a submitter that has seen none of them, a kind that waits is as good as known.
    submitter.stop().await?;
    let next = world.submitter_of(None, LIMIT as usize);
    world.submit("waits", &[], b"2".to_vec()).await?;
    world.submit("k0", &[], b"2".to_vec()).await?;
    world.until_empty(StreamName::Intake).await;
    assert_eq!(world.state(StreamName::Ready).await.messages, waiting + 2);
    next.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitter_that_stood_still_does_not_pass_on_what_another_has_got_meanwhile() -> Result<()>
{
    const MANY: u64 = 100;
    let world = World::start().await?;
    let mut stopped = Process::start(&world.server, &[])?;
    stopped.line_with("ready").await?;
    // Its pull waits at the server when it is stopped, so that the messages go to it.
    eventually("it pulls", async || {
        let mut raw = world.raw().expect("a connection");
        let info = raw.request("$JS.API.CONSUMER.INFO.ROTA_INTAKE.submitter", "");
        info.is_ok_and(|info| info["num_waiting"] == 1)
    })
    .await;
    stopped.signal(Signal::STOP)?;
    for _ in 0..MANY {
        world.submit("echo", &[], b"x".to_vec()).await?;
    }
    let other = world.submitter(None);
    world.until_stored(StreamName::Ready, MANY).await;
    world.until_empty(StreamName::Intake).await;
    stopped.signal(Signal::CONT)?;
    stopped.line_with("stood still").await?;
    world.submit("echo", &[], b"last".to_vec()).await?;
    world.until_stored(StreamName::Ready, MANY + 1).await;
    world.until_empty(StreamName::Intake).await;
    assert_eq!(world.state(StreamName::Ready).await.last_sequence, MANY + 1);
    other.stop().await
}

/// Puts a failed task's second attempt into the schedule, as the scheduler does.
async fn store_retry(world: &World, seq: u64, wait: Span) -> Result<()> {
    let submitted = TaskSpec::from_submission("echo", &Headers::default(), seq, Micros::now());
    let mut task = submitted.map_err(|refused| anyhow!("{refused:?}"))?;
    task.attempt = 2;
    let stored = world.bus.store_retry(&task, "again".into(), wait).await?;
    anyhow::ensure!(stored == StoredRetry::New, "{stored:?}");
    Ok(())
}

/// The ids in the lanes, in the order in which they came there.
async fn ids(world: &World) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for sequence in 1..=world.state(StreamName::Ready).await.last_sequence {
        let task = world.ready(sequence).await?;
        ids.push(task.headers.value(ID).context("an id")?.to_owned());
    }
    Ok(ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_too_much_is_scheduled_submissions_wait_at_the_door_and_what_is_due_passes()
-> Result<()> {
    let world = World::start().await?;
    for seq in [101, 102] {
        store_retry(&world, seq, Span::from_secs(6)).await?;
    }
    for seq in [201, 202, 203] {
        store_retry(&world, seq, Span::from_secs(3_600)).await?;
    }
    let mut submitter = Process::start(&world.server, &["--schedule-max", "3"])?;
    submitter.line_with("taking no new submissions").await?;
    world.submit("echo", &[], b"new".to_vec()).await?;
    fall_due(&world, due(&world, "passes", "2", &[])).await?;
    world.until_stored(StreamName::Ready, 1).await;
    assert_eq!(world.state(StreamName::Intake).await.messages, 1);

    // As many as may wait are no hindrance.
    world.until_stored(StreamName::Ready, 4).await;
    world.until_empty(StreamName::Intake).await;
    let mut ids = ids(&world).await?;
    ids[1..3].sort();
    assert_eq!(ids, ["passes", "101", "102", "1"]);
    assert_eq!(world.state(StreamName::Schedule).await.messages, 3);
    submitter.line_with("taking submissions again").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_servers_consumer_has_forgotten_is_found_and_passed_on() -> Result<()> {
    let world = World::start().await?;
    // The consumer is told to go on behind messages that it has not delivered.
    drop(world.bus.feed(FeedSource::Submissions).await?);
    for text in ["one", "two", "three"] {
        world.submit("echo", &[], text.into()).await?;
    }
    let mut raw = world.raw()?;
    let reset = raw.request(
        "$JS.API.CONSUMER.RESET.ROTA_INTAKE.submitter",
        r#"{"seq":4}"#,
    )?;
    assert!(reset.get("error").is_none(), "{reset}");
    let submitter = world.submitter(None);
    world.submit("echo", &[], b"four".to_vec()).await?;
    world.until_stored(StreamName::Ready, 1).await;
    assert_eq!(
        world.state(StreamName::Intake).await.messages,
        3,
        "as if acked"
    );
    world.until_empty(StreamName::Intake).await;
    for (sequence, id, recheck) in [(1, "4", None), (2, "1", Some("1")), (4, "3", Some("1"))] {
        let task = world.ready(sequence).await?;
        assert_eq!(task.headers.value(ID), Some(id));
        assert_eq!(task.headers.value(RECHECK), recheck);
    }
    submitter.stop().await
}
