//! One term: events in, decisions by the core, actions out, turn by turn.
//!
//! A turn takes in all that has arrived, up to a bound, and decides once: under load many tasks share a
//! frame and a wake-up, and when there is little to do nothing waits for company.

mod arrivals;
mod upkeep;

use std::collections::BTreeSet;
use std::time::Duration;

use rota_bus::{Bus, LeaseValidity, Received, SendError};
use rota_scheduler_core::{Action, Beginning, Event, Options, Scheduler};
use rota_wire::dispatch::{Ending, Report};
use rota_wire::fleet::{Heartbeat, Obituary};
use rota_wire::frame::{self, Frame};
use rota_wire::{Dialect, Lane, LeaderMemory, Term, WorkerId};
use tokio::time::Instant;
use tracing::warn;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::executor::{ActError, Executor};
use crate::flow::Flow;
use crate::hearing::Hearing;
use crate::inputs::{Input, Inputs};
use crate::obituaries::{Obituaries, Taken};
use crate::reporting::Outlets;
use crate::requests::{Answer, Request};

/// Messages taken in before the core decides.
const TURN_MAX: usize = 2_048;
/// How often pulls are written off, and what was learned may be stored.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two answers to the question why a task is where it is.
const EXPLAIN_PAUSE: Duration = Duration::from_millis(5);

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
    #[error(transparent)]
    Act(#[from] ActError),
}

impl From<SendError> for SessionError {
    fn from(error: SendError) -> Self {
        Self::Act(error.into())
    }
}

/// What a session begins with.
pub(crate) struct Start {
    pub(crate) term: Term,
    pub(crate) validity: LeaseValidity,
    /// Decides where there is a choice; the time of day when nothing is given.
    pub(crate) seed: Option<u64>,
    /// The workers that are known to be there.
    pub(crate) known: BTreeSet<WorkerId>,
    pub(crate) memory: Option<LeaderMemory>,
}

pub(crate) struct Session {
    bus: Bus,
    clock: Clock,
    executor: Executor,
    core: Scheduler,
    hearing: Hearing,
    audit: Audit,
    flow: Flow,
    obituaries: Obituaries,
    /// Lanes in which something was left for a newer scheduler: nobody knows how much is un-acked in them.
    uncounted: BTreeSet<Lane>,
    /// When a worker was heard last that reads no inputs from the stream.
    old_worker: Option<Instant>,
    /// What was stored of the core's memory, and when.
    stored: (u64, Instant),
    actions: Vec<Action>,
}

impl Session {
    pub(crate) fn new(
        bus: &Bus,
        clock: Clock,
        options: Options,
        outlets: &Outlets,
        start: Start,
    ) -> Self {
        let executor = Executor::new(bus.clone(), outlets.clone(), start.term, start.validity);
        let now = clock.now();
        let mut actions = Vec::new();
        let beginning = Beginning {
            term: start.term,
            seed: start.seed.unwrap_or(now.0),
            now,
            expected: start.known,
            memory: start.memory,
        };
        let core = Scheduler::new(options, beginning, &mut actions);
        Self {
            bus: bus.clone(),
            clock,
            executor,
            stored: (core.memory_version(), Instant::now()),
            core,
            hearing: Hearing::new(now),
            audit: Audit::new(),
            flow: Flow::default(),
            obituaries: Obituaries::default(),
            uncounted: BTreeSet::new(),
            old_worker: None,
            actions,
        }
    }

    /// The workers to be expected, and what was learned, for the next term.
    pub(crate) fn into_known(self) -> (BTreeSet<WorkerId>, LeaderMemory) {
        (self.core.roll().cloned().collect(), self.core.memory())
    }

    /// Schedules until the connection is interrupted or something fails.
    pub(crate) async fn run(&mut self) -> Result<Ended, SessionError> {
        let mut inputs = Inputs::open(&self.bus, self.executor.validity()).await?;
        if !inputs.link.borrow().up {
            return Ok(Ended::CutOff);
        }
        self.hearing = Hearing::new(self.clock.now());
        self.executor.requests.start(Request::ListLanes);
        loop {
            let now = self.clock.now();
            self.note_deafness(now);
            if self.core.next_deadline() <= now {
                self.core.handle_timeout(now, &mut self.actions);
            }
            self.core.dispatch(now, &mut self.actions);
            self.executor
                .carry_out(&mut self.actions, &mut inputs.lanes)
                .await?;
            let deadline = self.clock.instant(self.core.next_deadline());
            let input = inputs.next(deadline, &mut self.executor).await;
            if matches!(input, Input::Cut) {
                return Ok(Ended::CutOff);
            }
            self.take_in(input, &mut inputs).await?;
            self.take_in_waiting(&mut inputs).await?;
        }
    }

    /// Takes in what has arrived meanwhile, so that the turn decides on all of it.
    async fn take_in_waiting(&mut self, inputs: &mut Inputs) -> Result<(), SessionError> {
        for _ in 0..TURN_MAX {
            let Some(input) = inputs.try_next(&mut self.executor) else {
                break;
            };
            self.take_in(input, inputs).await?;
        }
        Ok(())
    }

    async fn take_in(&mut self, input: Input, inputs: &mut Inputs) -> Result<(), SessionError> {
        match input {
            Input::Lane(event) => self.lane_event(event),
            Input::Heartbeat(message) => self.heartbeat(&message),
            Input::Report(message) => self.report(&message),
            Input::Obituary(message) => self.obituary(&message),
            Input::Undelivered(tag) => {
                if let Some(event) = self.executor.frames.unreachable(tag) {
                    self.decide(event);
                }
            }
            Input::Hint(message) => match self.bus.subjects().hinted_lane(&message.subject) {
                Some(lane) => self.decide(Event::LaneFound { lane }),
                None => ignored(&message.subject, &"not a lane"),
            },
            Input::Explain(message) => {
                self.explain(message);
                inputs.rest_from_explaining(Instant::now() + EXPLAIN_PAUSE);
            }
            Input::Answer(answer) => self.answer(answer, inputs).await?,
            Input::Echo => {
                let now = self.clock.now();
                self.note_deafness(now);
                self.hearing.handle_echo(now);
            }
            Input::EchoDue => inputs.echo.send(self.clock.now().0).await?,
            Input::Look => self.look(inputs),
            Input::Deadline | Input::Cut => {}
        }
        Ok(())
    }

    fn note_deafness(&mut self, now: rota_wire::Micros) {
        if let Some(span) = self.hearing.deafness(now) {
            self.core
                .handle_event(now, Event::Deaf { span }, &mut self.actions);
        }
    }

    /// Whether a frame names the worker on whose subject it came.
    fn speaks_for_itself(&self, message: &Received, named: &WorkerId) -> bool {
        let speaker = self.bus.subjects().speaking_worker(&message.subject);
        let same = speaker.as_ref() == Some(named);
        if !same {
            ignored(&message.subject, &"it names another worker");
        }
        same
    }

    fn heartbeat(&mut self, message: &Received) {
        let Some(heartbeat) = decode::<Heartbeat>(message) else {
            return;
        };
        if !self.speaks_for_itself(message, &heartbeat.worker) {
            return;
        }
        if heartbeat.dialect == Dialect::V1 {
            self.old_worker = Some(Instant::now());
        }
        self.decide(Event::Heartbeat(Box::new(heartbeat)));
    }

    fn report(&mut self, message: &Received) {
        let Some(Report { worker, outcomes }) = decode(message) else {
            return;
        };
        if !self.speaks_for_itself(message, &worker) {
            return;
        }
        for outcome in outcomes {
            match outcome.ending {
                Ending::Failed(_) => {
                    let seq = outcome.holding.delivery.seq;
                    self.executor.messages.note_ran(seq, outcome.ran);
                }
                Ending::Stored | Ending::Returned { .. } => {}
            }
            let (worker, outcome) = (worker.clone(), Box::new(outcome));
            self.decide(Event::Reported { worker, outcome });
        }
    }

    /// Of a worker that we know, it is checked; of any other it is nobody's business.
    fn obituary(&mut self, message: &Received) {
        let Some(Obituary { worker }) = decode(message) else {
            return;
        };
        if !self.speaks_for_itself(message, &worker) {
            return;
        }
        if !self.core.workers().any(|known| *known == worker) {
            return;
        }
        match self.obituaries.take(&worker) {
            Taken::Begin => self.executor.requests.start(Request::ConfirmDeath(worker)),
            Taken::Later | Taken::Known => {}
            Taken::Dropped => {
                warn!(%worker, "too many workers are said to have died: whether this one has is left to its silence");
            }
        }
    }

    fn death_checked(&mut self, worker: WorkerId, died: bool) {
        if let Some(next) = self.obituaries.checked(&worker) {
            self.executor.requests.start(Request::ConfirmDeath(next));
        }
        if died {
            self.decide(Event::Died { worker });
        }
    }

    /// What the core has not got may have ended, or may still lie in a stream.
    fn explain(&mut self, message: Received) {
        let Some(reply) = message.reply else {
            return;
        };
        let subjects = self.bus.subjects();
        // The answer must not be stored, or obeyed, by naming a subject of ours for it.
        if subjects.is_own(reply.as_str()) {
            return ignored(
                &message.subject,
                &"its answer would go to a subject of Rota's own",
            );
        }
        let Some(task) = subjects.explained(&message.subject) else {
            return ignored(&message.subject, &"not the id of a task");
        };
        let known = self.core.explain(&task, self.clock.now()).map(Box::new);
        self.executor
            .requests
            .start(Request::Explain { task, known, reply });
    }

    async fn answer(&mut self, answer: Answer, inputs: &mut Inputs) -> Result<(), SessionError> {
        match answer {
            Answer::Event(event) => {
                if let Event::Gone { seq } = event {
                    self.executor.messages.forget(seq);
                }
                self.decide(event);
            }
            Answer::Events(events) => events.into_iter().for_each(|event| self.decide(event)),
            Answer::LanesListed(lanes) => self.decide(Event::LanesListed { lanes }),
            Answer::LaneOpened(lane, opened) => {
                inputs.lanes.add(lane.clone(), &opened);
                self.flow.opened(&lane);
                let (unacked, delivered_to) = (opened.unacked, opened.delivered_to);
                self.decide(Event::LaneOpened {
                    lane,
                    unacked,
                    delivered_to,
                });
            }
            Answer::LaneClosed(lane) => {
                inputs.lanes.remove(&lane);
                self.flow.closed(&lane);
                self.decide(Event::LaneClosed { lane });
            }
            Answer::Unacked(counts) => self.counted(counts, inputs),
            Answer::StraysFound(lane, found) => {
                for seq in found {
                    self.settle_stray(lane.clone(), seq);
                }
            }
            Answer::LanesRead(readings) => self.lanes_read(readings),
            Answer::DeliveryFound { lane, seq, found } => {
                self.delivery_found(&lane, seq, found).await?;
            }
            Answer::DeathChecked { worker, died } => self.death_checked(worker, died),
            Answer::Discarded(seq) => self.executor.discard(seq).await?,
            Answer::Again(request) => self.executor.requests.start_later(request),
            Answer::Ask(request) => self.executor.requests.start(request),
            Answer::Done => {}
        }
        Ok(())
    }

    fn decide(&mut self, event: Event) {
        let now = self.clock.now();
        self.core.handle_event(now, event, &mut self.actions);
    }
}

fn decode<F: Frame>(message: &Received) -> Option<F> {
    match frame::decode(&message.payload) {
        Ok(value) => Some(value),
        Err(error) => {
            ignored(&message.subject, &error);
            None
        }
    }
}

/// What anybody may have sent to a subject of ours.
fn ignored(subject: &str, error: &dyn std::fmt::Display) {
    warn!(subject, %error, "ignoring what is no message of ours");
}
