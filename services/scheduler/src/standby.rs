//! Standing by: hearing the workers while another leads.
//!
//! A leader that has just taken over waits for the answers of the workers that it knows of, and no longer. So whoever
//! may take over keeps a list of who spoke lately.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::Duration;

use rota_bus::{Bus, Subscription};
use rota_wire::WorkerId;
use tokio::time::Instant;

/// Whoever has not spoken for so long is not waited for.
const LATELY: Duration = Duration::from_secs(2);
/// Workers on the list, at most; a roll call is over in time without the others.
const WORKERS_MAX: usize = 20_000;

pub(crate) struct Standby {
    bus: Bus,
    heartbeats: Option<Subscription>,
    heard: BTreeMap<WorkerId, Instant>,
}

impl Standby {
    /// `known` are those that this process heard while it led.
    pub(crate) async fn begin(bus: &Bus, known: impl Iterator<Item = WorkerId>) -> Self {
        let now = Instant::now();
        Self {
            // Without it the roll call takes its time.
            heartbeats: bus.subscribe(&bus.subjects().heartbeats()).await.ok(),
            heard: known.map(|worker| (worker, now)).collect(),
            bus: bus.clone(),
        }
    }

    /// Listens; ends when nothing can be heard any more. Safe to cancel.
    pub(crate) async fn listen(&mut self) {
        let Some(heartbeats) = &mut self.heartbeats else {
            return pending().await;
        };
        while let Some(message) = heartbeats.next().await {
            if let Some(worker) = self.bus.subjects().speaking_worker(&message.subject) {
                note(&mut self.heard, worker, Instant::now());
            }
        }
    }

    /// Who spoke lately.
    pub(crate) fn workers(self) -> BTreeSet<WorkerId> {
        let now = Instant::now();
        let lately = self.heard.into_iter().filter(|(_, at)| now - *at <= LATELY);
        lately.map(|(worker, _)| worker).collect()
    }
}

fn note(heard: &mut BTreeMap<WorkerId, Instant>, worker: WorkerId, now: Instant) {
    if heard.len() >= WORKERS_MAX && !heard.contains_key(&worker) {
        heard.retain(|_, at| now - *at <= LATELY);
        if heard.len() >= WORKERS_MAX {
            return;
        }
    }
    heard.insert(worker, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_makes_room_for_those_who_speak() {
        let worker = |n: usize| WorkerId::parse(&format!("w{n}-abcdef")).expect("an id");
        let mut heard = BTreeMap::new();
        let early = Instant::now();
        for n in 0..=WORKERS_MAX {
            note(&mut heard, worker(n), early);
        }
        assert_eq!(heard.len(), WORKERS_MAX);
        note(&mut heard, worker(WORKERS_MAX + 1), early + LATELY * 2);
        assert_eq!(heard.len(), 1, "the silent ones have made room");
    }
}
