//! Submitting tasks at a rate, and noting when each was published, started and had its result.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rota_bus::{Bus, Expect, Message};
use rota_wire::headers::STARTED;
use rota_wire::{Kind, Micros};
use tokio::time::{Instant, sleep_until, timeout};

use crate::client;

/// Submissions whose confirmation is awaited.
const WINDOW: usize = 1_000;

/// What became of each task, by its sequence in ROTA_INTAKE.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) published: BTreeMap<u64, Micros>,
    pub(crate) results: BTreeMap<u64, TaskTimes>,
    /// Results beyond the first of a task: it ran twice.
    pub(crate) doubled: u64,
    /// Of the whole run: from the first publish to the last result.
    pub(crate) took: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskTimes {
    pub(crate) started: Option<Micros>,
    pub(crate) result: Micros,
}

impl Trace {
    pub(crate) fn missing(&self) -> u64 {
        self.published
            .keys()
            .filter(|seq| !self.results.contains_key(seq))
            .count() as u64
    }
}

/// Submits so many tasks and waits for their results, as long as some come.
pub(crate) async fn run(
    bus: &Bus,
    tasks: u64,
    rate: u64,
    patience: Duration,
) -> anyhow::Result<Trace> {
    let results = bus.subscribe(&bus.subjects().results()).await?;
    bus.flush().await?;
    let begin = Instant::now();
    let publishing = tokio::spawn(publish(bus.clone(), tasks, rate, begin));
    let collected = collect(bus, results, tasks, patience).await;
    let published = if collected.results.len() as u64 >= tasks {
        publishing.await.context("publishing")??
    } else {
        // Results have stopped coming: the publisher is given its own limit to say why.
        timeout(patience, publishing)
            .await
            .context("publishing did not end")?
            .context("publishing")??
    };
    let took = collected.last.duration_since(begin);
    Ok(Trace {
        published,
        results: collected.results,
        doubled: collected.doubled,
        took,
    })
}

async fn publish(
    bus: Bus,
    tasks: u64,
    rate: u64,
    begin: Instant,
) -> anyhow::Result<BTreeMap<u64, Micros>> {
    let subject = bus.subjects().submit(&Kind::parse("noop")?);
    let mut published = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    for number in 0..tasks {
        if let Some(nanos) = number.saturating_mul(1_000_000_000).checked_div(rate) {
            let due = begin + Duration::from_nanos(nanos);
            if due > Instant::now() {
                sleep_until(due).await;
            }
        }
        let at = Micros::now();
        let message = Message::new(subject.clone(), Bytes::from_static(b"x"));
        let storing = bus.store(message, Expect::Nothing).await?;
        under_way.push(async move { storing.done().await.map(|stored| (stored.seq(), at)) });
        while under_way.len() >= WINDOW
            && let Some(stored) = under_way.next().await
        {
            let (sequence, at) = stored?;
            published.insert(sequence, at);
        }
    }
    while let Some(stored) = under_way.next().await {
        let (sequence, at) = stored?;
        published.insert(sequence, at);
    }
    Ok(published)
}

struct Collected {
    results: BTreeMap<u64, TaskTimes>,
    doubled: u64,
    last: Instant,
}

async fn collect(
    bus: &Bus,
    mut subscription: rota_bus::Subscription,
    tasks: u64,
    patience: Duration,
) -> Collected {
    let mut collected = Collected {
        results: BTreeMap::new(),
        doubled: 0,
        last: Instant::now(),
    };
    while (collected.results.len() as u64) < tasks {
        let Ok(Some(message)) = timeout(patience, subscription.next()).await else {
            break;
        };
        let result = Micros::now();
        let started = message.headers.value(STARTED).and_then(Micros::parse);
        let genuine = client::told_result(bus, &message);
        let Some(seq) = genuine.and_then(|id| id.as_str().parse().ok()) else {
            continue;
        };
        collected.last = Instant::now();
        if collected
            .results
            .insert(seq, TaskTimes { started, result })
            .is_some()
        {
            collected.doubled += 1;
        }
    }
    collected
}
