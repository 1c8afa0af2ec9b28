//! One term: events in, decisions by the core, actions out, turn by turn.
//!
//! A turn takes in all that has arrived, up to a bound, and decides once: under load many tasks share a
//! frame and a wake-up, and when there is little to do nothing waits for company.

use std::collections::BTreeSet;
use std::time::Duration;

use rota_bus::{Bus, LaneError, LaneEvent, LaneReader, Link, Received, SendError, Subscription};
use rota_scheduler_core::{Action, Beginning, Event, Options, PullEnd, Scheduler};
use rota_wire::dispatch::Report;
use rota_wire::fleet::Heartbeat;
use rota_wire::frame::{self, Frame};
use rota_wire::{Lane, Micros, TaskSpec, Term, WorkerId};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until};
use tracing::{debug, warn};

use crate::actions::Executor;
use crate::errands::{Errand, ErrandEnd};
use crate::telling::Outlets;

/// Messages taken in before the core decides.
const TURN_MAX: usize = 2_048;
/// How often lanes are looked for that no hint has told of, and pulls are written off.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Warnings about garbage on internal subjects, at most one in this time.
const GARBAGE_EVERY: Duration = Duration::from_secs(10);

/// Why a session ended, when nothing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process is told to stop.
    Draining,
    /// The connection was interrupted, or messages were dropped on it: what rests on it begins anew.
    CutOff,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the lease is not held any more")]
    Lease(#[source] rota_bus::LeaseError),
    #[error("the bus takes no more")]
    Send(#[from] SendError),
    #[error("the lanes cannot be found")]
    Lanes(#[from] LaneError),
}

pub(crate) struct Session {
    bus: Bus,
    options: Options,
    term: Term,
    executor: Executor,
    core: Option<Scheduler>,
    garbage: Garbage,
}

/// What a session listens to.
struct Inputs {
    lanes: LaneReader,
    heartbeats: Subscription,
    reports: Subscription,
    hints: Subscription,
    explains: Subscription,
    link: watch::Receiver<Link>,
}

/// Something that has arrived.
enum Input {
    Lane(LaneEvent),
    Heartbeat(Received),
    Report(Received),
    Hint(Received),
    Explain(Received),
    ErrandDone(ErrandEnd),
    Deadline,
    Look,
    Cut,
}

impl Session {
    pub(crate) fn new(bus: &Bus, options: Options, outlets: &Outlets, term: Term) -> Self {
        let executor = Executor::new(bus.clone(), outlets.clone(), term);
        let garbage = Garbage {
            count: 0,
            told: None,
        };
        Self {
            bus: bus.clone(),
            options,
            term,
            executor,
            core: None,
            garbage,
        }
    }

    /// The workers that it knew, for the roll call of the next term.
    pub(crate) fn into_workers(self) -> BTreeSet<WorkerId> {
        self.core
            .iter()
            .flat_map(Scheduler::workers)
            .cloned()
            .collect()
    }

    /// Schedules until the connection is interrupted or something fails.
    pub(crate) async fn run(&mut self, known: BTreeSet<WorkerId>) -> Result<Ended, SessionError> {
        let mut inputs = Inputs {
            link: self.bus.link(),
            lanes: self.bus.lane_reader().await?,
            heartbeats: self
                .bus
                .subscribe(&self.bus.subjects().heartbeats())
                .await?,
            reports: self.bus.subscribe(&self.bus.subjects().reports()).await?,
            hints: self
                .bus
                .subscribe(&self.bus.subjects().lane_hints())
                .await?,
            explains: self.bus.subscribe(&self.bus.subjects().explains()).await?,
        };
        inputs.link.mark_unchanged();
        if !inputs.link.borrow().up {
            return Ok(Ended::CutOff);
        }
        let mut actions = Vec::new();
        let now = Micros::now();
        let beginning = Beginning {
            term: self.term,
            seed: now.0,
            now,
            expected: known,
            memory: None,
        };
        let core = Scheduler::new(self.options.clone(), beginning, &mut actions);
        self.core = Some(core);
        self.executor.start(Errand::FindLanes);
        self.executor
            .carry_out(&mut actions, &mut inputs.lanes)
            .await?;
        self.turns(inputs, actions).await
    }

    async fn turns(
        &mut self,
        mut inputs: Inputs,
        mut actions: Vec<Action>,
    ) -> Result<Ended, SessionError> {
        let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        loop {
            let deadline = self
                .core
                .as_ref()
                .map_or(Micros::default(), Scheduler::next_deadline);
            let input = inputs.next(deadline, &mut look, &mut self.executor).await;
            if matches!(input, Input::Cut) {
                return Ok(Ended::CutOff);
            }
            self.take_in(input, &mut inputs, &mut actions);
            self.take_in_waiting(&mut inputs, &mut actions);
            let now = Micros::now();
            if let Some(core) = &mut self.core {
                if core.next_deadline() <= now {
                    core.handle_timeout(now, &mut actions);
                }
                core.dispatch(now, &mut actions);
            }
            self.executor
                .carry_out(&mut actions, &mut inputs.lanes)
                .await?;
        }
    }

    /// Takes in what has arrived meanwhile, so that the turn decides on all of it.
    fn take_in_waiting(&mut self, inputs: &mut Inputs, actions: &mut Vec<Action>) {
        for _ in 0..TURN_MAX {
            let Some(input) = inputs.try_next(&mut self.executor) else {
                return;
            };
            self.take_in(input, inputs, actions);
        }
    }

    fn take_in(&mut self, input: Input, inputs: &mut Inputs, actions: &mut Vec<Action>) {
        match input {
            Input::Lane(event) => self.lane_event(event, actions),
            Input::Heartbeat(message) => {
                if let Some(heartbeat) = self.decode::<Heartbeat>(&message) {
                    self.decide(Event::Heartbeat(Box::new(heartbeat)), actions);
                }
            }
            Input::Report(message) => {
                let Some(Report { worker, outcomes }) = self.decode(&message) else {
                    return;
                };
                for outcome in outcomes {
                    self.executor.note_run(&outcome);
                    let (worker, outcome) = (worker.clone(), Box::new(outcome));
                    self.decide(Event::Reported { worker, outcome }, actions);
                }
            }
            Input::Hint(message) => match self.bus.subjects().hinted_lane(&message.subject) {
                Some(lane) => self.executor.open(lane),
                None => self.garbage.note(&message.subject, &"not a lane"),
            },
            Input::Explain(message) => self.explain(message),
            Input::ErrandDone(end) => self.errand_done(end, &mut inputs.lanes, actions),
            Input::Look => {
                self.executor.start(Errand::FindLanes);
                for event in inputs.lanes.write_off() {
                    self.lane_event(event, actions);
                }
            }
            Input::Deadline | Input::Cut => {}
        }
    }

    /// What the core has not got may have ended, or may still lie in a stream.
    fn explain(&mut self, message: Received) {
        let Some(reply) = message.reply else {
            return;
        };
        let Some(task) = self.bus.subjects().explained(&message.subject) else {
            self.garbage.note(&message.subject, &"not the id of a task");
            return;
        };
        let core = self.core.as_ref();
        let known = core.and_then(|core| core.explain(&task, Micros::now()));
        self.executor.start(Errand::Explain {
            task,
            known: known.map(Box::new),
            reply,
        });
    }

    fn errand_done(&mut self, end: ErrandEnd, lanes: &mut LaneReader, actions: &mut Vec<Action>) {
        match end {
            ErrandEnd::Event(event) => self.decide(event, actions),
            ErrandEnd::LanesFound(found) => {
                for lane in found {
                    self.executor.open(lane);
                }
                // Those found first are opened first: that all are open is told after them.
                self.executor
                    .start(Errand::Tell(Event::LanesListed { lanes: Vec::new() }));
            }
            ErrandEnd::LaneOpened(lane, opened) => {
                lanes.add(lane.clone());
                let (unacked, delivered_to) = (opened.unacked, opened.delivered_to);
                self.decide(
                    Event::LaneOpened {
                        lane,
                        unacked,
                        delivered_to,
                    },
                    actions,
                );
            }
            ErrandEnd::Done => {}
            ErrandEnd::Failed(failure) => self.executor.failed(failure),
        }
    }

    fn lane_event(&mut self, event: LaneEvent, actions: &mut Vec<Action>) {
        match event {
            LaneEvent::Delivered(delivered) => {
                let rota_bus::Delivered {
                    lane,
                    delivery,
                    pending,
                    headers,
                    payload,
                    ack,
                } = *delivered;
                match TaskSpec::from_ready(&lane.kind, &headers) {
                    Ok(task) => {
                        let input_bytes = payload.len() as u64;
                        self.executor.keep(delivery.seq, ack, payload);
                        let event = Event::Delivered {
                            lane,
                            delivery,
                            pending,
                            task,
                            input_bytes,
                        };
                        self.decide(event, actions);
                    }
                    Err(unreadable) => self.refuse(&lane, delivery.seq, ack, &unreadable, actions),
                }
            }
            LaneEvent::PullEnded { lane, unused } => {
                let end = PullEnd::Nothing;
                self.decide(Event::PullEnded { lane, unused, end }, actions);
            }
            LaneEvent::Gone { lane } => {
                warn!(%lane, "the lane's consumer is gone, making it again");
                self.executor.closed(&lane);
                self.decide(Event::LaneGone { lane }, actions);
            }
        }
    }

    /// A message that the submitter did not write has no task to end: it is taken off the queue, and said.
    fn refuse(
        &mut self,
        lane: &Lane,
        seq: u64,
        ack: rota_bus::AckHandle,
        unreadable: &rota_wire::Unreadable,
        actions: &mut Vec<Action>,
    ) {
        warn!(%lane, seq, %unreadable, "not a task: taken off the queue");
        self.executor.keep(seq, ack, bytes::Bytes::new());
        actions.push(Action::Ack { seq });
        self.decide(
            Event::PullEnded {
                lane: lane.clone(),
                unused: 1,
                end: PullEnd::Cut,
            },
            actions,
        );
    }

    fn decide(&mut self, event: Event, actions: &mut Vec<Action>) {
        if let Some(core) = &mut self.core {
            core.handle_event(Micros::now(), event, actions);
        }
    }

    fn decode<F: Frame>(&mut self, message: &Received) -> Option<F> {
        match frame::decode(&message.payload) {
            Ok(value) => Some(value),
            Err(error) => {
                self.garbage.note(&message.subject, &error);
                None
            }
        }
    }
}

impl Inputs {
    /// Waits for something to happen.
    async fn next(
        &mut self,
        deadline: Micros,
        look: &mut tokio::time::Interval,
        executor: &mut Executor,
    ) -> Input {
        tokio::select! {
            biased;
            _ = self.link.changed() => Input::Cut,
            () = sleep_until(instant(deadline)) => Input::Deadline,
            Some(message) = self.heartbeats.next() => Input::Heartbeat(message),
            Some(message) = self.reports.next() => Input::Report(message),
            end = executor.next_end() => Input::ErrandDone(end),
            Some(event) = self.lanes.next() => Input::Lane(event),
            Some(message) = self.hints.next() => Input::Hint(message),
            // One in a turn at most: an explanation looks at all workers.
            Some(message) = self.explains.next() => Input::Explain(message),
            _ = look.tick() => Input::Look,
            else => Input::Cut,
        }
    }

    /// Something that has happened already, if anything.
    fn try_next(&mut self, executor: &mut Executor) -> Option<Input> {
        self.heartbeats
            .try_next()
            .map(Input::Heartbeat)
            .or_else(|| self.reports.try_next().map(Input::Report))
            .or_else(|| executor.try_next_end().map(Input::ErrandDone))
            .or_else(|| self.lanes.try_next().map(Input::Lane))
    }
}

/// Undecodable messages on internal subjects: counted, told now and then, and otherwise ignored.
struct Garbage {
    count: u64,
    told: Option<Instant>,
}

impl Garbage {
    fn note(&mut self, subject: &str, error: &dyn std::fmt::Display) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= GARBAGE_EVERY) {
            warn!(subject, %error, count = self.count, "ignoring what is no message of ours");
            self.told = Some(Instant::now());
        } else {
            debug!(subject, %error, "ignoring what is no message of ours");
        }
    }
}

fn instant(at: Micros) -> Instant {
    let wait = at.0.saturating_sub(Micros::now().0);
    Instant::now() + Duration::from_micros(wait)
}
