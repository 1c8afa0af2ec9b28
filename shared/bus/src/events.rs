//! Telling what happened: events are gathered into frames and stored in ROTA_EVENTS.
//!
//! ```text
//! tell() ──► buffer of EVENTS_MAX ──► at most one batch each 100 ms ──► <p>.events.<service>
//!              └─ full: counted as dropped, and told with the next batch
//! ```
//!
//! What must hold: telling never blocks and never fails. A lost event is no loss, since every state of a
//! task can be read from the streams; so a batch is sent once and not repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rota_wire::Micros;
use rota_wire::event::{EVENTS_MAX, Event, EventBatch, TimedEvent};
use rota_wire::frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::connect::Bus;
use crate::message::Message;
use crate::store::Expect;
use crate::subjects::Subject;

/// The time between two batches.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Events wait for those before them no longer than this, and the end of a service neither.
const STORE_LIMIT: Duration = Duration::from_secs(1);

/// Where a service tells its events. Clones share one buffer.
#[derive(Debug, Clone)]
pub struct EventSender {
    buffer: mpsc::Sender<TimedEvent>,
    dropped: Arc<AtomicU64>,
}

impl EventSender {
    /// A sender for a service, `scheduler` or `submitter`, and the future that stores what it is told.
    ///
    /// The future is to be spawned. It ends when all clones of the sender are gone and the last batch is
    /// stored or given up.
    pub fn new(
        bus: Bus,
        service: &'static str,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, buffer) = Self::buffered();
        let dropped = sender.dropped.clone();
        (sender, store_batches(bus, service, buffer, dropped))
    }

    /// Tells an event, now. When the buffer is full, the event is dropped and counted.
    pub fn tell(&self, event: Event) {
        let at = Micros::now();
        if self.buffer.try_send(TimedEvent { at, event }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn buffered() -> (Self, mpsc::Receiver<TimedEvent>) {
        let (buffer, receiver) = mpsc::channel(EVENTS_MAX);
        let dropped = Arc::default();
        (Self { buffer, dropped }, receiver)
    }
}

async fn store_batches(
    bus: Bus,
    service: &'static str,
    mut buffer: mpsc::Receiver<TimedEvent>,
    dropped: Arc<AtomicU64>,
) {
    let subject = bus.subjects().events(service);
    let mut events = Vec::with_capacity(EVENTS_MAX);
    // Waits for the first event, then for the interval, so that a lone event is told at once.
    while let Some(first) = buffer.recv().await {
        events.push(first);
        while events.len() < EVENTS_MAX
            && let Ok(event) = buffer.try_recv()
        {
            events.push(event);
        }
        let batch = EventBatch {
            events: std::mem::take(&mut events),
            dropped: dropped.swap(0, Ordering::Relaxed),
        };
        let next = Instant::now() + BATCH_INTERVAL;
        for frame in frames(batch, bus.body_bytes_max()) {
            store(&bus, &subject, frame).await;
        }
        if !buffer.is_closed() {
            tokio::time::sleep_until(next).await;
        }
    }
}

async fn store(bus: &Bus, subject: &Subject, frame: Bytes) {
    let message = Message::new(subject.clone(), frame);
    match timeout(STORE_LIMIT, bus.store_now(message, Expect::Nothing)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => debug!(%error, "events were not stored"),
        Err(_) => debug!("events were perhaps not stored: no answer within {STORE_LIMIT:?}"),
    }
}

/// One frame, or several when one would be over the limit. An event that alone is over it counts as
/// dropped.
fn frames(mut batch: EventBatch, bytes_max: usize) -> Vec<Bytes> {
    let frame = frame::encode(&batch);
    if frame.len() <= bytes_max {
        return vec![frame];
    }
    if batch.events.len() <= 1 {
        batch.dropped += batch.events.len() as u64;
        batch.events.clear();
        return vec![frame::encode(&batch)];
    }
    let later = batch.events.split_off(batch.events.len() / 2);
    let mut both = frames(batch, bytes_max);
    let rest = EventBatch {
        events: later,
        dropped: 0,
    };
    both.extend(frames(rest, bytes_max));
    both
}

#[cfg(test)]
mod tests {
    use rota_wire::TaskId;

    use super::*;

    fn rejected(number: u64, reason: &str) -> Event {
        Event::Rejected {
            task: TaskId::from_sequence(number),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_full_buffer_drops_and_counts_and_does_not_block() {
        let (sender, mut buffer) = EventSender::buffered();
        for number in 0..EVENTS_MAX as u64 + 3 {
            sender.tell(rejected(number, "no"));
        }
        assert_eq!(sender.dropped.load(Ordering::Relaxed), 3);
        let first = buffer.try_recv().expect("the buffer is full");
        assert_eq!(first.event, rejected(0, "no"));
    }

    #[test]
    fn a_batch_over_the_limit_is_told_in_several_frames() {
        let long = "x".repeat(1_000);
        let event = |number, reason| TimedEvent {
            at: Micros(number),
            event: rejected(number, reason),
        };
        let mut events: Vec<_> = (0..9).map(|number| event(number, "no")).collect();
        events.push(event(9, &long));
        let batch = EventBatch {
            events: events.clone(),
            dropped: 5,
        };
        let frames = frames(batch, 100);
        assert!(frames.iter().all(|frame| frame.len() <= 100));
        let read: Vec<EventBatch> = frames
            .iter()
            .map(|bytes| frame::decode(bytes).expect("a frame"))
            .collect();
        let told: Vec<_> = read.iter().flat_map(|batch| batch.events.clone()).collect();
        assert_eq!(told, events[..9]);
        let dropped: u64 = read.iter().map(|batch| batch.dropped).sum();
        assert_eq!(dropped, 6, "five before, and the one that fits nowhere");
    }
}
