//! Carrying out what the core decided.
//!
//! What is quick is done at once and in order: frames, pulls, acks, naks. What waits for an answer of the
//! server becomes an errand, whose end is an event. The inputs of tasks are kept here, by message, from
//! their delivery until they are assigned.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rota_bus::{AckHandle, Bus, LaneReader, Message, SendError};
use rota_scheduler_core::{Action, AssignFrame};
use rota_wire::dispatch::{Assign, Assignment, Ending, Input, Outcome};
use rota_wire::fleet::{FrameMark, RollCall};
use rota_wire::{Lane, Span, Term};
use tracing::{debug, warn};

use crate::errands::{Course, Errand, ErrandEnd, ErrandFailed, Errands};
use crate::telling::{self, Outlets};

pub(crate) struct Executor {
    bus: Bus,
    outlets: Outlets,
    term: Term,
    errands: Errands,
    kept: BTreeMap<u64, Kept>,
    /// Lanes that are open or being opened.
    lanes: BTreeSet<Lane>,
}

/// What is needed of a message until it is acked.
struct Kept {
    ack: AckHandle,
    /// Gone once it is assigned: it is read again if it is needed again.
    input: Option<Bytes>,
    /// For the result, should the task end as failed.
    course: Course,
}

impl Executor {
    pub(crate) fn new(bus: Bus, outlets: Outlets, term: Term) -> Self {
        let errands = Errands::new(bus.clone());
        Self {
            bus,
            outlets,
            term,
            errands,
            kept: BTreeMap::new(),
            lanes: BTreeSet::new(),
        }
    }

    /// Keeps a message that was delivered.
    pub(crate) fn keep(&mut self, seq: u64, ack: AckHandle, input: Bytes) {
        self.kept.insert(
            seq,
            Kept {
                ack,
                input: Some(input),
                course: Course::default(),
            },
        );
    }

    /// Keeps how long a failed attempt ran: its task's result tells it, if there is no other attempt.
    pub(crate) fn note_run(&mut self, outcome: &Outcome) {
        match outcome.ending {
            Ending::Failed(_) => {
                if let Some(kept) = self.kept.get_mut(&outcome.holding.delivery.seq) {
                    kept.course.ran = Some(outcome.ran);
                }
            }
            Ending::Stored | Ending::Returned { .. } => {}
        }
    }

    fn note_estimate(&mut self, seq: u64, estimate: Option<Span>) {
        if let Some(kept) = self.kept.get_mut(&seq) {
            kept.course = Course {
                ran: None,
                estimate,
            };
        }
    }

    /// Opens a lane unless it is open.
    pub(crate) fn open(&mut self, lane: Lane) {
        if self.lanes.insert(lane.clone()) {
            self.errands.start(Errand::OpenLane(lane));
        }
    }

    /// A lane is not open any more.
    pub(crate) fn closed(&mut self, lane: &Lane) {
        self.lanes.remove(lane);
    }

    pub(crate) fn start(&mut self, errand: Errand) {
        self.errands.start(errand);
    }

    pub(crate) async fn next_end(&mut self) -> ErrandEnd {
        self.errands.next_end().await
    }

    pub(crate) fn try_next_end(&mut self) -> Option<ErrandEnd> {
        self.errands.try_next_end()
    }

    /// An errand that the core does not wait for has failed; it is begun anew at the next look.
    pub(crate) fn failed(&mut self, failure: ErrandFailed) {
        let error = rota_service::chain(&failure.error);
        match failure.lane {
            Some(lane) => {
                warn!(%lane, %error, "the lane is not open yet, trying again");
                self.closed(&lane);
            }
            None => warn!(%error, "the lanes are not known, trying again"),
        }
    }

    /// Carries out the actions of a turn, in order.
    pub(crate) async fn carry_out(
        &mut self,
        actions: &mut Vec<Action>,
        lanes: &mut LaneReader,
    ) -> Result<(), SendError> {
        for action in actions.drain(..) {
            self.act(action, lanes).await?;
        }
        Ok(())
    }

    async fn act(&mut self, action: Action, lanes: &mut LaneReader) -> Result<(), SendError> {
        match action {
            Action::CallRoll => {
                let call = RollCall { term: self.term };
                self.bus
                    .send(Message::frame(self.bus.subjects().roll_call(), &call))
                    .await
            }
            Action::OpenLane { lane } => {
                self.open(lane);
                Ok(())
            }
            Action::Pull { lane, count } => lanes.pull(&lane, count).await,
            Action::Assign(frame) => self.assign(frame).await,
            Action::Ack { seq } => match self.kept.remove(&seq) {
                Some(kept) => self.bus.ack(&kept.ack).await,
                None => Ok(()),
            },
            Action::Nak { seq } => match self.kept.remove(&seq) {
                Some(kept) => self.bus.nak(&kept.ack).await,
                None => Ok(()),
            },
            Action::CloseLane { .. } | Action::FindLanes { .. } | Action::Probe { .. } => Ok(()),
            Action::Refuse { worker, reason } => {
                warn!(%worker, reason, "the worker is not heard");
                Ok(())
            }
            Action::LookUp { seq, task, .. } => {
                self.errands.start(Errand::LookUp { seq, task });
                Ok(())
            }
            Action::StoreRetry { seq, task, wait } => {
                self.errands.start(Errand::StoreRetry { seq, task, wait });
                Ok(())
            }
            Action::Bury {
                seq,
                task,
                reason,
                worker,
                failure,
            } => {
                let course = self.kept.get(&seq).map(|kept| kept.course);
                self.errands.start(Errand::Bury {
                    seq,
                    task,
                    reason,
                    worker,
                    failure,
                    course: course.unwrap_or_default(),
                });
                Ok(())
            }
            Action::Record { task, ran } => {
                self.outlets.record(task, ran);
                Ok(())
            }
            Action::Tell(event) => {
                telling::log(&event);
                self.outlets.tell(event);
                Ok(())
            }
        }
    }

    async fn assign(&mut self, frame: AssignFrame) -> Result<(), SendError> {
        let AssignFrame {
            worker,
            dialect: _,
            number,
            settled,
            revoked,
            suspended,
            resumed,
            tasks,
        } = frame;
        let mut assignments = Vec::with_capacity(tasks.len());
        for placed in tasks {
            let seq = placed.holding.delivery.seq;
            let Some(input) = self.kept.get_mut(&seq).and_then(|kept| kept.input.take()) else {
                // The worker will not list it, and the core has it delivered again.
                debug!(seq, "an assigned task has no input here");
                continue;
            };
            self.note_estimate(seq, placed.estimate);
            let task = placed.task;
            debug!(task = %task.id, kind = %task.kind, attempt = task.attempt, %worker, "assigned");
            assignments.push(Assignment {
                holding: placed.holding,
                id: task.id.clone(),
                kind: task.kind.clone(),
                attempt: task.attempt,
                timeout: task.options.timeout,
                estimate: placed.estimate,
                submitted: task.submitted,
                traceparent: task.options.traceparent.clone(),
                priority: Some(task.options.priority),
                input: Input::Inline(input),
            });
        }
        let mark = FrameMark {
            term: self.term,
            number,
        };
        let assign = Assign {
            mark,
            settled,
            revoked,
            suspended,
            resumed,
            tasks: assignments,
        };
        // Workers of the first release read no other.
        let subject = self.bus.subjects().assign(&worker);
        self.bus
            .send(Message::new(subject, assign.encode_v1()))
            .await
    }
}
