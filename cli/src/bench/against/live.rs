//! The comparison's tasks on a live installation: submitted at their times, measured by their results.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rota_bus::{Bus, Expect, Message, Received, Subscription};
use rota_wire::event::{Counts, Event, EventBatch};
use rota_wire::fleet::Heartbeat;
use rota_wire::headers::{DURATION, MSG_ID, STATE};
use rota_wire::result::FinalState;
use rota_wire::{Headers, Kind, Span, TaskId, WorkerId, frame};
use tokio::time::{Instant, sleep_until, timeout};

use super::Args;
use super::arrivals::Planned;
use crate::client;

/// Tasks that each slot runs before the clock does, so that lanes, leases and connections are there.
const WARM_UP: u64 = 5;
/// Submissions whose confirmation is awaited.
const WINDOW: usize = 10_000;
/// From the start of the services until all workers are heard.
const START_MAX: Duration = Duration::from_secs(30);
/// From the last result until the scheduler has told its totals, which it does every second.
const COUNTS_MAX: Duration = Duration::from_secs(5);

/// What an installation has done.
#[derive(Debug)]
pub(super) struct Live {
    /// Of tasks that completed.
    pub(super) responses: Vec<Duration>,
    /// Running attempts that were suspended, if the scheduler has told.
    pub(super) preemptions: Option<u64>,
    /// Tasks without a result, or with one that is not `completed`.
    pub(super) lost: u64,
    /// Results beyond the first of a task.
    pub(super) doubled: u64,
}

/// Submits the tasks at their times and waits for their results, as long as some come.
pub(super) async fn measure(bus: &Bus, args: &Args, planned: &[Planned]) -> anyhow::Result<Live> {
    until_heard(bus, args.workers).await?;
    let patience = args.patience.duration();
    let instant = Planned {
        at: Duration::ZERO,
        runs: Span::from_ms(1),
    };
    let slots = u64::from(args.workers) * u64::from(args.slots);
    let warming = vec![instant; usize::try_from(slots * WARM_UP)?];
    let warm = run(bus, "warm", &warming, patience).await?;
    ensure!(
        warm.lost == 0,
        "{} tasks of the warm-up have no result",
        warm.lost
    );
    // Once more, for the scheduler that has just begun to lead.
    until_heard(bus, args.workers).await?;
    let events = bus.subscribe(&bus.subjects().all_events()).await?;
    let longest = planned.iter().map(|task| task.runs).max();
    let patience = patience + longest.unwrap_or_default().duration();
    let live = run(bus, "task", planned, patience).await?;
    let done = (warming.len() + planned.len()) as u64;
    let counts = timeout(COUNTS_MAX, counts_of(events, done)).await;
    let preemptions = counts.ok().flatten().map(|counts| counts.preempted);
    Ok(Live {
        preemptions,
        ..live
    })
}

/// Waits until each worker was heard.
async fn until_heard(bus: &Bus, workers: u32) -> anyhow::Result<()> {
    let mut heartbeats = bus.subscribe(&bus.subjects().heartbeats()).await?;
    let mut heard: BTreeSet<WorkerId> = BTreeSet::new();
    let hearing = async {
        while heard.len() < workers as usize {
            let message = heartbeats
                .next()
                .await
                .context("the connection is closed")?;
            heard.insert(frame::decode::<Heartbeat>(&message.payload)?.worker);
        }
        anyhow::Ok(())
    };
    timeout(START_MAX, hearing)
        .await
        .context("the workers are not heard")?
}

/// The scheduler's totals once it has counted so many completed tasks.
async fn counts_of(mut events: Subscription, completed: u64) -> Option<Counts> {
    loop {
        let message = events.next().await?;
        let Ok(batch) = frame::decode::<EventBatch>(&message.payload) else {
            continue;
        };
        let counted = batch.events.into_iter().rev().find_map(|timed| {
            let Event::Counted(counts) = timed.event else {
                return None;
            };
            Some(counts)
        });
        if let Some(counts) = counted.filter(|counts| counts.completed >= completed) {
            return Some(counts);
        }
    }
}

async fn run(
    bus: &Bus,
    name: &'static str,
    planned: &[Planned],
    patience: Duration,
) -> anyhow::Result<Live> {
    let results = bus.subscribe(&bus.subjects().results()).await?;
    bus.flush().await?;
    let begin = Instant::now();
    let submitting = submit(bus, name, planned, begin);
    let collecting = collect(bus, results, name, planned, begin, patience);
    // A submission that fails ends the measurement; one that is confirmed late does not.
    tokio::pin!(submitting, collecting);
    let mut submitted = false;
    loop {
        tokio::select! {
            outcome = &mut submitting, if !submitted => {
                outcome.context("submitting")?;
                submitted = true;
            }
            live = &mut collecting => return Ok(live),
        }
    }
}

async fn submit(bus: &Bus, name: &str, planned: &[Planned], begin: Instant) -> anyhow::Result<()> {
    let subject = bus.subjects().submit(&Kind::parse("sleep")?);
    let mut under_way = FuturesUnordered::new();
    for (number, task) in planned.iter().enumerate() {
        sleep_until(begin + task.at).await;
        let runs = format!("{}ms", task.runs.ms());
        let mut headers = Headers::new();
        headers.push(MSG_ID, format!("{name}-{number}"));
        headers.push(DURATION, runs.clone());
        let message = Message {
            subject: subject.clone(),
            headers,
            payload: runs.into(),
        };
        under_way.push(bus.store(message, Expect::Nothing).await?.done());
        // What is confirmed is let go; nothing is waited for unless too much is under way.
        while let Some(Some(stored)) = under_way.next().now_or_never() {
            stored?;
        }
        while under_way.len() >= WINDOW
            && let Some(stored) = under_way.next().await
        {
            stored?;
        }
    }
    while let Some(stored) = under_way.next().await {
        stored?;
    }
    Ok(())
}

async fn collect(
    bus: &Bus,
    mut results: Subscription,
    name: &str,
    planned: &[Planned],
    begin: Instant,
    patience: Duration,
) -> Live {
    let mut ended = vec![false; planned.len()];
    let (mut responses, mut doubled, mut failed) = (Vec::new(), 0, 0);
    while responses.len() + failed < planned.len() {
        let Ok(Some(message)) = timeout(patience, results.next()).await else {
            break;
        };
        let now = Instant::now();
        let genuine = client::told_result(bus, &message);
        let number = genuine.and_then(|id| number_of(&id, name));
        let Some(number) = number.filter(|number| *number < ended.len()) else {
            continue;
        };
        if std::mem::replace(&mut ended[number], true) {
            doubled += 1;
        } else if state_of(&message) == Some(FinalState::Completed) {
            responses.push(now.duration_since(begin + planned[number].at));
        } else {
            failed += 1;
        }
    }
    Live {
        lost: (planned.len() - responses.len()) as u64,
        responses,
        preemptions: None,
        doubled,
    }
}

fn number_of(id: &TaskId, name: &str) -> Option<usize> {
    let number = id.as_str().strip_prefix(name)?.strip_prefix('-')?;
    number.parse().ok()
}

fn state_of(message: &Received) -> Option<FinalState> {
    message.headers.value(STATE).and_then(FinalState::parse)
}
