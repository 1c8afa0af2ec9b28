//! What is known of the fleet while the demo runs, from heartbeats and events, and how it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rota_wire::WorkerId;
use rota_wire::event::{Event, EventBatch};
use rota_wire::fleet::{Heartbeat, Stage, WorkerState};

use super::fleet::WORKERS;

/// Without a heartbeat for so long, a worker is shown as silent: two are missing.
const SILENT_AFTER: Duration = Duration::from_millis(1_100);

/// The fleet as it was last heard of.
#[derive(Debug, Default)]
pub(super) struct Scene {
    workers: BTreeMap<WorkerId, Seen>,
    lost: BTreeSet<WorkerId>,
    /// Times that a delivery went to another worker.
    pub(super) redelivered: u64,
    /// Whether a scheduler leads and has heard all workers.
    is_led: bool,
}

#[derive(Debug)]
struct Seen {
    running: usize,
    at: Instant,
}

impl Scene {
    pub(super) fn on_heartbeat(&mut self, heartbeat: &Heartbeat, now: Instant) {
        let held = heartbeat.held.iter();
        let running = held.filter(|held| held.stage == Stage::Running).count();
        if heartbeat.state == WorkerState::Gone {
            self.workers.remove(&heartbeat.worker);
            return;
        }
        let seen = Seen { running, at: now };
        self.workers.insert(heartbeat.worker.clone(), seen);
    }

    /// Takes in what the services tell; gives what a person wants to read of it.
    pub(super) fn on_events(&mut self, batch: EventBatch) -> Vec<String> {
        let events = batch.events.into_iter();
        events
            .filter_map(|timed| self.on_event(timed.event))
            .collect()
    }

    fn on_event(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Recovered { .. } => self.is_led = true,
            Event::Redelivered { .. } => self.redelivered += 1,
            Event::WorkerLost {
                worker,
                silent,
                holding,
            } => {
                let ms = silent.ms();
                let told = format!(
                    "the scheduler: {worker} is silent for {ms} ms, it is lost; \
                     the {holding} tasks it held are redelivered"
                );
                self.workers.remove(&worker);
                self.lost.insert(worker);
                return Some(told);
            }
            Event::WorkerDied { worker, holding } => {
                let told = format!(
                    "the scheduler: {worker} has died; the {holding} tasks it held are redelivered"
                );
                self.workers.remove(&worker);
                self.lost.insert(worker);
                return Some(told);
            }
            Event::WorkerJoined { worker, slots, .. } if !self.lost.is_empty() => {
                return Some(format!("{worker} joins with {slots} slots"));
            }
            Event::WorkerJoined { .. }
            | Event::Leading { .. }
            | Event::WorkerDraining { .. }
            | Event::WorkerLeft { .. }
            | Event::Retrying { .. }
            | Event::DeadLettered { .. }
            | Event::Rejected { .. }
            | Event::Duplicate { .. }
            | Event::WorkerReturned { .. }
            | Event::KindWithdrawn { .. }
            | Event::Reserved { .. }
            | Event::Counted(_) => {}
        }
        None
    }

    /// Whether all workers are there and somebody assigns.
    pub(super) fn is_ready(&self) -> bool {
        self.is_led && self.workers.len() >= WORKERS.len()
    }

    /// The worker that runs the most, and how much: its loss is the worst.
    pub(super) fn busiest(&self) -> Option<(&WorkerId, usize)> {
        let running = self
            .workers
            .iter()
            .map(|(worker, seen)| (worker, seen.running));
        running.max_by_key(|(_, running)| *running)
    }

    /// Where tasks run: a bar of slots for each worker.
    pub(super) fn bars(&self, now: Instant) -> String {
        let bars = WORKERS.map(|(name, slots)| {
            let named = self
                .workers
                .iter()
                .filter(|(worker, _)| process_of(worker) == name);
            // Of two with one name the newer one lives.
            let seen = named.map(|(_, seen)| seen).max_by_key(|seen| seen.at);
            let width = slots as usize;
            match seen {
                Some(seen) if now.duration_since(seen.at) < SILENT_AFTER => {
                    let running = seen.running.min(width);
                    let bar = "■".repeat(running) + &"·".repeat(width - running);
                    format!("{name} {bar}")
                }
                Some(_) | None => format!("{name} {:<width$}", "✗"),
            }
        });
        bars.join("  ")
    }
}

/// A worker's id is the name of its process, a dash, and what it drew at its start.
pub(super) fn process_of(worker: &WorkerId) -> &str {
    let id = worker.as_str();
    id.rsplit_once('-').map_or(id, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use rota_wire::fleet::{Held, MachineLoad};
    use rota_wire::{Delivery, Holding, Micros, Resources, Span, Term};

    use super::*;

    fn heartbeat(worker: &str, slots: u32, running: u64) -> Heartbeat {
        let held = |seq| Held {
            holding: Holding {
                term: Term(1),
                delivery: Delivery { seq, count: 1 },
            },
            stage: Stage::Running,
            ran: Span::default(),
            task: None,
        };
        Heartbeat {
            worker: WorkerId::parse(worker).unwrap(),
            number: 1,
            started: Micros(1),
            interval: Span::from_ms(500),
            state: WorkerState::Up,
            slots,
            resources: Resources::NONE,
            kinds: Vec::new(),
            labels: Vec::new(),
            seen: None,
            held: (0..running).map(held).collect(),
            machine: MachineLoad::default(),
            withdrawn: Vec::new(),
            dialect: rota_wire::Dialect::V2,
        }
    }

    #[test]
    fn the_bars_show_where_tasks_run_and_who_is_silent() {
        let now = Instant::now();
        let mut scene = Scene::default();
        scene.on_heartbeat(&heartbeat("small-aaaaaa", 2, 2), now);
        scene.on_heartbeat(&heartbeat("medium-bbbbbb", 4, 1), now);
        assert_eq!(scene.bars(now), "small ■■  medium ■···  large ✗       ");
        assert_eq!(
            scene.bars(now + SILENT_AFTER),
            "small ✗   medium ✗     large ✗       "
        );
        let (worker, running) = scene.busiest().unwrap();
        assert_eq!((process_of(worker), running), ("small", 2));
    }
}
