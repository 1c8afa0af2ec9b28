//! Submits orders, and remembers which the server has confirmed.
//!
//! What has a name and is not confirmed is submitted again until it is: the id makes that safe. What has none
//! is not, because it would be another task: it may have been stored or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Again, Load, Order};
use crate::client::Client;
use crate::clock::Moment;
use crate::facts::Task;

const CONFIRM_LIMIT: Duration = Duration::from_secs(3);
const TRIES_MAX: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);
/// Submissions that wait for their confirmation.
const UNDER_WAY_MAX: usize = 256;
/// Tasks that wait for a worker. Where faults are so dense that fewer tasks end than are submitted, the load
/// would grow into something else: a server that is busy with nothing but a heap of old messages.
const WAITING_MAX: u64 = 1_500;
const WAITING_LOOKS: Duration = Duration::from_millis(500);

/// What was submitted.
#[derive(Debug, Clone, Default)]
pub struct Submitted {
    /// Confirmed, by id.
    pub tasks: BTreeMap<String, Task>,
    /// Not confirmed, by the number of the job.
    pub unconfirmed: BTreeMap<u64, Task>,
    /// Ids that were chosen and are confirmed, the newest last.
    pub names: Vec<String>,
}

/// Submits.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    submitted: Arc<Mutex<Submitted>>,
}

impl Sender {
    /// One that uses a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            submitted: Arc::default(),
        }
    }

    /// What was submitted so far.
    pub fn submitted(&self) -> std::sync::MutexGuard<'_, Submitted> {
        self.submitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits a load until it is told that the storm is over; then what is under way, for a while.
    pub async fn run(self, load: Load, over: impl Future<Output = ()>, patience: Duration) {
        let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut under_way = JoinSet::new();
        let submitting = async {
            let mut looked = Instant::now();
            for order in load {
                sleep(order.after).await;
                if looked.elapsed() >= WAITING_LOOKS {
                    self.wait_for_room().await;
                    looked = Instant::now();
                }
                // It is never closed.
                let Ok(place) = room.clone().acquire_owned().await else {
                    return;
                };
                let sender = self.clone();
                under_way.spawn(async move {
                    sender.submit(&order, false).await;
                    drop(place);
                    sender.submit_again(&order).await;
                });
                while under_way.try_join_next().is_some() {}
            }
        };
        tokio::select! {
            () = over => {}
            () = submitting => {}
        }
        let rest = async { while under_way.join_next().await.is_some() {} };
        // Submissions that were to come later than that are not made.
        let _ = timeout(patience, rest).await;
    }

    /// Waits while the server says that too many tasks wait; without an answer the load goes on.
    async fn wait_for_room(&self) {
        let subject = "$JS.API.STREAM.INFO.ROTA_READY";
        loop {
            let answer = self.client.api(subject, &json!({}), WAITING_LOOKS).await;
            let waiting = answer.and_then(|answer| answer["state"]["messages"].as_u64());
            if waiting.is_none_or(|waiting| waiting < WAITING_MAX) {
                return;
            }
            sleep(WAITING_LOOKS).await;
        }
    }

    /// Submits a task, and gives its id when the server confirms it.
    pub async fn submit_once(&self, order: &Order) -> Option<String> {
        let seq = self.try_submit(order, false).await?;
        Some(order.name.clone().unwrap_or_else(|| seq.to_string()))
    }

    /// A submission whose answer the server is told to store where a result belongs.
    pub async fn forge(&self, order: &Order) -> Option<String> {
        let victim = self.submitted().names.last().cloned()?;
        let subject = format!("rota.submit.{}", order.kind);
        let trace = traceparent(order.job.number);
        let headers = [("traceparent", trace.as_str())];
        let reply_to = format!("rota.result.{victim}");
        let input = order.job.input();
        self.submitted()
            .unconfirmed
            .insert(order.job.number, task(order));
        let sent = self
            .client
            .publish(&subject, Some(&reply_to), &headers, &input);
        sent.await.ok().map(|()| victim)
    }

    async fn submit_again(&self, order: &Order) {
        let mut again = order.again.clone();
        again.sort_by_key(|again| again.after);
        let mut waited = Duration::ZERO;
        for Again { after, hidden } in again {
            sleep(after.saturating_sub(waited)).await;
            waited = after;
            self.submit(order, hidden).await;
        }
    }

    async fn submit(&self, order: &Order, hidden: bool) {
        self.submitted()
            .unconfirmed
            .entry(order.job.number)
            .or_insert_with(|| task(order));
        let tries = if order.name.is_some() { TRIES_MAX } else { 1 };
        for _ in 0..tries {
            if let Some(seq) = self.try_submit(order, hidden).await {
                self.confirmed(order, seq);
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_submit(&self, order: &Order, hidden: bool) -> Option<u64> {
        let subject = format!("rota.submit.{}", order.kind);
        let (priority, attempts) = (order.priority.to_string(), order.attempts_max.to_string());
        let trace = traceparent(order.job.number);
        let mut headers = vec![
            ("Rota-Priority", priority.as_str()),
            ("Rota-Attempts", attempts.as_str()),
            ("Rota-Backoff", order.backoff),
            ("traceparent", trace.as_str()),
        ];
        if let Some(name) = &order.name {
            let header = if hidden { "nats-msg-id" } else { "Nats-Msg-Id" };
            headers.push((header, name));
        }
        let input = order.job.input();
        let answer = self
            .client
            .request(&subject, &headers, &input, CONFIRM_LIMIT)
            .await?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        match answer.get("error") {
            None => answer["seq"].as_u64(),
            Some(_) => None,
        }
    }

    fn confirmed(&self, order: &Order, seq: u64) {
        let mut submitted = self.submitted();
        let first = submitted.unconfirmed.remove(&order.job.number);
        let id = order.name.clone().unwrap_or_else(|| seq.to_string());
        match submitted.tasks.get_mut(&id) {
            Some(task) => task.submissions += 1,
            None => {
                submitted.names.extend(order.name.clone());
                let task = first.unwrap_or_else(|| task(order));
                submitted.tasks.insert(id, task);
            }
        }
    }
}

fn task(order: &Order) -> Task {
    Task {
        job: order.job,
        kind: order.kind.clone(),
        attempts_max: order.attempts_max,
        sent: Moment::now(),
        submissions: 1,
    }
}

/// The number of a job as a trace context, which comes back with the result.
fn traceparent(job: u64) -> String {
    format!("00-{job:032x}-00000000000c4a05-01")
}

/// The number in a trace context.
pub(crate) fn job_of(traceparent: &str) -> Option<u64> {
    let id = traceparent.strip_prefix("00-")?.split('-').next()?;
    u64::try_from(u128::from_str_radix(id, 16).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_found_in_its_trace_context() {
        assert_eq!(job_of(&traceparent(77)), Some(77));
        assert_eq!(job_of("nonsense"), None);
    }
}
