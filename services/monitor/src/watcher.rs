//! The shell around [`View`]: select, decode, fold, say.

use std::convert::Infallible;
use std::time::Duration;

use rota_bus::{Bus, Link, Received, Subjects, Subscription};
use rota_service::LogFormat;
use rota_wire::event::EventBatch;
use rota_wire::fleet::Heartbeat;
use rota_wire::frame;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::say::say;
use crate::view::{Line, Reading, View};

/// How often limits on lines are renewed and silence is looked for.
const TICK: Duration = Duration::from_secs(1);

/// What the monitor hears.
pub(crate) struct Subscriptions {
    pub(crate) heartbeats: Subscription,
    pub(crate) events: Subscription,
}

/// Hears, and says what the view makes of it.
pub(crate) struct Watcher {
    subjects: Subjects,
    subscriptions: Subscriptions,
    link: watch::Receiver<Link>,
    readings: mpsc::Receiver<Reading>,
    format: LogFormat,
    born: Instant,
    view: View,
    /// Emptied after each input; kept for its room.
    lines: Vec<Line>,
}

enum Input {
    Stop,
    Tick,
    Link(Link),
    Reading(Reading),
    Heartbeat(Received),
    Events(Received),
}

impl Watcher {
    pub(crate) fn new(
        bus: &Bus,
        subscriptions: Subscriptions,
        readings: mpsc::Receiver<Reading>,
        format: LogFormat,
    ) -> Self {
        Self {
            subjects: bus.subjects().clone(),
            subscriptions,
            link: bus.link(),
            readings,
            format,
            born: Instant::now(),
            view: View::default(),
            lines: Vec::new(),
        }
    }

    /// Until told to stop, or the connection is closed for good.
    pub(crate) async fn run(mut self, draining: CancellationToken) -> Result<(), Infallible> {
        let mut pace = tokio::time::interval(TICK);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let subscriptions = &mut self.subscriptions;
            // Heartbeats come before events: a flood of events must not make the fleet look silent.
            let input = tokio::select! {
                biased;
                () = draining.cancelled() => Input::Stop,
                _ = pace.tick() => Input::Tick,
                Ok(()) = self.link.changed() => Input::Link(*self.link.borrow_and_update()),
                Some(reading) = self.readings.recv() => Input::Reading(reading),
                heartbeat = subscriptions.heartbeats.next() => {
                    heartbeat.map_or(Input::Stop, Input::Heartbeat)
                }
                events = subscriptions.events.next() => events.map_or(Input::Stop, Input::Events),
            };
            if let Input::Stop = input {
                break;
            }
            self.fold(input);
        }
        // What was held back for a later tick must still be told.
        self.fold(Input::Stop);
        info!("watching no more");
        Ok(())
    }

    fn fold(&mut self, input: Input) {
        let now = self.born.elapsed();
        let (subjects, view, lines) = (&self.subjects, &mut self.view, &mut self.lines);
        match input {
            Input::Stop => view.handle_end(now, lines),
            Input::Tick => view.handle_tick(now, lines),
            Input::Link(link) => view.handle_link(now, link, lines),
            Input::Reading(reading) => view.handle_reading(now, reading, lines),
            Input::Heartbeat(message) => match frame::decode::<Heartbeat>(&message.payload) {
                Ok(heartbeat) if !is_its_own(subjects, &heartbeat, &message) => {
                    let why = format!("a heartbeat in the name of {}", heartbeat.worker);
                    view.handle_undecodable(now, &message.subject, &why, lines);
                }
                Ok(heartbeat) => view.handle_heartbeat(now, heartbeat, lines),
                Err(error) => view.handle_undecodable(now, &message.subject, &error, lines),
            },
            Input::Events(message) => match frame::decode::<EventBatch>(&message.payload) {
                Ok(batch) => view.handle_events(now, batch, lines),
                Err(error) => view.handle_undecodable(now, &message.subject, &error, lines),
            },
        }
        for line in self.lines.drain(..) {
            say(line, self.format);
        }
    }
}

/// Whether a heartbeat came on the subject of the worker that it names.
fn is_its_own(subjects: &Subjects, heartbeat: &Heartbeat, message: &Received) -> bool {
    subjects.heartbeat(&heartbeat.worker).as_str() == message.subject
}
