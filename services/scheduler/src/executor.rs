//! Carrying out what the core decided.
//!
//! What is quick is done at once and in order: frames, pulls, acks, naks. What waits for an answer of the server
//! becomes a request, whose answer is an event.
//!
//! What must hold: nothing is done once the lease has run out. A process that was frozen between two actions finds
//! that out before the next.

use std::sync::Arc;

use rota_bus::{AckHandle, Bus, LaneReader, LeaseValidity, Message, SendError};
use rota_scheduler_core::{Action, Freshness};
use rota_wire::fleet::RollCall;
use rota_wire::{TaskSpec, Term};
use tokio::time::Instant;
use tracing::warn;

use crate::frames::Frames;
use crate::messages::Messages;
use crate::reporting::{self, Outlets};
use crate::requests::{Answer, DeadLetter, LOOK_UP_MAX, Request, Requests};

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    #[error("the lease has run out")]
    LeaseOver,
    #[error("the bus takes no more")]
    Send(#[from] SendError),
}

pub(crate) struct Executor {
    bus: Bus,
    outlets: Outlets,
    term: Term,
    validity: LeaseValidity,
    pub(crate) requests: Requests,
    pub(crate) messages: Messages<AckHandle>,
    pub(crate) frames: Frames,
    look_ups: LookUps,
}

/// Look-ups of one turn, gathered so that many share a request.
#[derive(Default)]
struct LookUps {
    latest: Vec<(u64, Arc<TaskSpec>)>,
    any_copy: Vec<(u64, Arc<TaskSpec>)>,
}

impl Executor {
    pub(crate) fn new(bus: Bus, outlets: Outlets, term: Term, validity: LeaseValidity) -> Self {
        Self {
            requests: Requests::new(bus.clone()),
            frames: Frames::new(bus.clone(), term),
            bus,
            outlets,
            term,
            validity,
            messages: Messages::new(),
            look_ups: LookUps::default(),
        }
    }

    pub(crate) fn validity(&self) -> LeaseValidity {
        self.validity.clone()
    }

    /// Carries out the actions of a turn, in order.
    pub(crate) async fn carry_out(
        &mut self,
        actions: &mut Vec<Action>,
        lanes: &mut LaneReader,
    ) -> Result<(), ActError> {
        for action in actions.drain(..) {
            if !self.validity.is_valid() {
                return Err(ActError::LeaseOver);
            }
            self.act(action, lanes).await?;
        }
        self.look_ups.ask(&mut self.requests);
        Ok(())
    }

    async fn act(&mut self, action: Action, lanes: &mut LaneReader) -> Result<(), ActError> {
        match action {
            Action::CallRoll => {
                let call = RollCall { term: self.term };
                let subject = self.bus.subjects().roll_call();
                self.bus.send(Message::frame(subject, &call)).await?;
            }
            Action::Pull { lane, count } => lanes.pull(&lane, count).await?,
            Action::Assign(frame) => self.frames.send(frame, &mut self.messages).await?,
            Action::Ack { seq } => {
                if let Some(ack) = self.messages.take_ack(seq) {
                    self.bus.ack(&ack).await?;
                }
            }
            Action::Nak { seq } => {
                if let Some(ack) = self.messages.take_ack(seq) {
                    self.give_back(seq, &ack).await?;
                }
            }
            Action::LookUp {
                seq,
                task,
                freshness,
            } => self.look_ups.push(seq, task, freshness),
            Action::Refuse { worker, reason } => warn!(%worker, reason, "worker refused"),
            Action::Record { task, ran } => self.outlets.record(task, ran),
            Action::Tell(event) => {
                reporting::log(&event);
                self.outlets.tell(event);
            }
            Action::OpenLane { .. }
            | Action::CloseLane { .. }
            | Action::FindLanes { .. }
            | Action::Probe { .. }
            | Action::StoreRetry { .. }
            | Action::Bury { .. } => self.ask(action),
        }
        Ok(())
    }

    /// What becomes a request.
    fn ask(&mut self, action: Action) {
        let request = match action {
            Action::OpenLane { lane } => Request::OpenLane(lane),
            Action::CloseLane { lane } => Request::CloseLane(lane),
            Action::FindLanes { kind } => Request::FindLanes(kind),
            Action::Probe { worker } => Request::Probe(worker),
            Action::StoreRetry { seq, task, wait } => Request::StoreRetry { seq, task, wait },
            Action::Bury {
                seq,
                task,
                reason,
                worker,
                failure,
            } => {
                let run = self.messages.last_run(seq);
                Request::StoreDeadLetter(Box::new(DeadLetter {
                    seq,
                    task,
                    reason,
                    worker,
                    failure,
                    run,
                }))
            }
            other => unreachable!("{other:?} is carried out at once"),
        };
        self.requests.start(request);
    }

    /// Acks a message that is no task and was put away.
    pub(crate) async fn discard(&mut self, seq: u64) -> Result<(), ActError> {
        if !self.validity.is_valid() {
            return Err(ActError::LeaseOver);
        }
        if let Some(ack) = self.messages.take_ack(seq) {
            self.bus.ack(&ack).await?;
        }
        Ok(())
    }

    /// Has a delivery come again that nobody has.
    pub(crate) async fn call_back(&mut self, seq: u64, ack: &AckHandle) -> Result<(), ActError> {
        if !self.validity.is_valid() {
            return Err(ActError::LeaseOver);
        }
        self.give_back(seq, ack).await
    }

    async fn give_back(&mut self, seq: u64, ack: &AckHandle) -> Result<(), ActError> {
        self.messages.give_back(seq, Instant::now());
        Ok(self.bus.nak(ack).await?)
    }

    pub(crate) async fn next_answer(&mut self) -> Answer {
        self.requests.next().await
    }

    pub(crate) fn try_next_answer(&mut self) -> Option<Answer> {
        self.requests.try_next()
    }
}

impl LookUps {
    fn push(&mut self, seq: u64, task: Arc<TaskSpec>, freshness: Freshness) {
        match freshness {
            Freshness::Latest => self.latest.push((seq, task)),
            Freshness::AnyCopy => self.any_copy.push((seq, task)),
        }
    }

    fn ask(&mut self, requests: &mut Requests) {
        for (tasks, freshness) in [
            (&mut self.latest, Freshness::Latest),
            (&mut self.any_copy, Freshness::AnyCopy),
        ] {
            while !tasks.is_empty() {
                let rest = tasks.split_off(tasks.len().min(LOOK_UP_MAX));
                let tasks = std::mem::replace(tasks, rest);
                requests.start(Request::LookUp { tasks, freshness });
            }
        }
    }
}
