//! Submitting tasks at a rate, and noting when each was published, started and had its result.
//!
//! A task is known here by a number: its sequence in ROTA_INTAKE, or, when the submitter names it, what
//! its id ends with.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rota_bus::{Bus, Expect, Message, StoreError};
use rota_wire::headers::STARTED;
use rota_wire::{Kind, Micros};
use tokio::time::{Instant, sleep_until, timeout};

use crate::client;

/// Submissions whose confirmation is awaited.
const WINDOW: usize = 1_000;

/// What is submitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) tasks: u64,
    /// In a second; 0 means as fast as they are taken.
    pub(crate) rate: u64,
    /// Whether each task is given an id by `Nats-Msg-Id`.
    pub(crate) named: bool,
    /// How long without any result until what is left counts as lost.
    pub(crate) patience: Duration,
}

/// What became of each task, by its number.
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
            .filter(|number| !self.results.contains_key(number))
            .count() as u64
    }
}

/// Submits so many tasks and waits for their results, as long as some come.
pub(crate) async fn run(bus: &Bus, load: Load) -> anyhow::Result<Trace> {
    let Load {
        tasks, patience, ..
    } = load;
    // No two runs share ids.
    let names = load.named.then(|| format!("bench-{}-", Micros::now().0));
    let results = bus.subscribe(&bus.subjects().results()).await?;
    bus.flush().await?;
    let begin = Instant::now();
    let publishing = tokio::spawn(publish(bus.clone(), load, names.clone(), begin));
    let collected = collect(bus, results, load, names.as_deref()).await;
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
    load: Load,
    names: Option<String>,
    begin: Instant,
) -> anyhow::Result<BTreeMap<u64, Micros>> {
    let subject = bus.subjects().submit(&Kind::parse("noop")?);
    let mut published = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    for number in 0..load.tasks {
        if let Some(nanos) = number.saturating_mul(1_000_000_000).checked_div(load.rate) {
            let due = begin + Duration::from_nanos(nanos);
            if due > Instant::now() {
                sleep_until(due).await;
            }
        }
        let at = Micros::now();
        let message = Message::new(subject.clone(), Bytes::from_static(b"x"));
        let id = names.as_ref().map(|names| format!("{names}{number}"));
        let named = id.is_some();
        let expect = id.map_or(Expect::Nothing, Expect::NewId);
        let storing = bus.store(message, expect).await?;
        under_way.push(async move {
            let stored = storing.done().await?;
            Ok::<_, StoreError>((if named { number } else { stored.seq() }, at))
        });
        while under_way.len() >= WINDOW
            && let Some(stored) = under_way.next().await
        {
            let (number, at) = stored?;
            published.insert(number, at);
        }
    }
    while let Some(stored) = under_way.next().await {
        let (number, at) = stored?;
        published.insert(number, at);
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
    load: Load,
    names: Option<&str>,
) -> Collected {
    let mut collected = Collected {
        results: BTreeMap::new(),
        doubled: 0,
        last: Instant::now(),
    };
    while (collected.results.len() as u64) < load.tasks {
        let Ok(Some(message)) = timeout(load.patience, subscription.next()).await else {
            break;
        };
        let result = Micros::now();
        let started = message.headers.value(STARTED).and_then(Micros::parse);
        let genuine = client::told_result(bus, &message);
        let number = genuine.and_then(|id| {
            let number = id.as_str().strip_prefix(names.unwrap_or_default())?;
            number.parse().ok()
        });
        let Some(number) = number else {
            continue;
        };
        collected.last = Instant::now();
        if collected
            .results
            .insert(number, TaskTimes { started, result })
            .is_some()
        {
            collected.doubled += 1;
        }
    }
    collected
}
