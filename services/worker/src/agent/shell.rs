//! What stands around the [`Agent`]: NATS, the clock, the attempts.
//!
//! ```text
//! assign, roll call ─┐                         ┌─► heartbeat, report
//! ended attempts ────┼─► Agent ─► actions ─────┼─► start, stop, suspend, resume
//! clock, link, drain ┘                         └─► log
//! ```
//!
//! One turn: wait for something to happen, take what else has happened already, carry out what the
//! agent says. So reports batch themselves: the more there is to do, the larger the frames.
//!
//! What must hold: no turn waits for an attempt; only one turn's worth of messages is taken at a
//! time; while the connection is down nothing is sent, for what was not heard is said again when it
//! is up.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rota_bus::{Bus, LeaseName, Link, Message, Received, Subscription};
use rota_service::{Shutdown, chain};
use rota_wire::dispatch::{Assign, Assignment};
use rota_wire::fleet::{Heartbeat, RollCall};
use rota_wire::frame::{self, Frame};
use rota_wire::{Kind, Span, WorkerId};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::running::Runner;
use super::throttle::Throttle;
use super::{Action, Agent, AttemptEnd, AttemptNumber, Event, Leader, Note};
use crate::attempt::control::AttemptControl;
use crate::machine::MachineSampler;
use crate::worker::RunError;

/// Frames taken in one turn. Their tasks are bounded by the slots and the queue behind them.
const TURN_FRAMES_MAX: usize = 64;

/// How long a worker that begins waits to learn who leads.
const FIRST_READ_LIMIT: Duration = Duration::from_secs(1);

type Ended = (AttemptNumber, Span, AttemptEnd);

/// The worker in action.
pub(crate) struct Shell {
    bus: Bus,
    worker: WorkerId,
    agent: Agent,
    began: Instant,
    runner: Arc<Runner>,
    /// Dropped with the shell, and all that runs with it.
    attempts: JoinSet<Ended>,
    controls: BTreeMap<AttemptNumber, AttemptControl>,
    /// The lease being read; one at a time.
    asking: JoinSet<Option<Leader>>,
    /// Kinds that are looked at; each once at a time.
    looking: JoinSet<(Kind, Option<String>)>,
    actions: Vec<Action>,
    machine: MachineSampler,
    link: Link,
    undecodable: Throttle,
    unsent: Throttle,
    withdrawn: BTreeMap<Kind, Throttle>,
}

/// What the shell waits for beside its attempts.
pub(crate) struct Inputs {
    pub(crate) assigns: Subscription,
    pub(crate) roll_calls: Subscription,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) shutdown: Shutdown,
    /// How long attempts may go on once the worker is told to stop.
    pub(crate) grace: Duration,
}

/// What woke the shell.
enum Woken {
    Drain,
    Time,
    Link(Link),
    RollCall(Option<Received>),
    Leader(Option<Leader>),
    Looked(Result<(Kind, Option<String>), JoinError>),
    Ended(Result<Ended, JoinError>),
    Assign(Option<Received>),
}

impl Shell {
    pub(crate) fn new(
        bus: Bus,
        worker: WorkerId,
        agent: Agent,
        runner: Runner,
        machine: MachineSampler,
    ) -> Self {
        Self {
            bus,
            worker,
            agent,
            began: Instant::now(),
            runner: Arc::new(runner),
            attempts: JoinSet::new(),
            controls: BTreeMap::new(),
            asking: JoinSet::new(),
            looking: JoinSet::new(),
            actions: Vec::new(),
            machine,
            link: Link::default(),
            undecodable: Throttle::default(),
            unsent: Throttle::default(),
            withdrawn: BTreeMap::new(),
        }
    }

    /// Works until it is told to stop, and all is said.
    pub(crate) async fn run(mut self, mut inputs: Inputs) -> Result<(), RunError> {
        self.link = *inputs.link.borrow();
        // So that the first heartbeat is in the leader's own dialect. Without a leader it is in the first.
        let reading = timeout(FIRST_READ_LIMIT, read_leader(self.bus.clone()));
        let leader = reading.await.ok().flatten();
        self.tell(Event::LeaderRead(leader));
        let mut drain = Drain::NotYet;
        loop {
            self.agent.end_turn(self.began.elapsed(), &mut self.actions);
            if self.carry_out().await.is_break() {
                return Ok(());
            }
            let woken = self.wait(&mut inputs, drain).await;
            if let Woken::Drain = woken {
                drain = Drain::Begun;
            }
            self.handle(woken, inputs.grace)?;
            // Attempts that are as good as over come first: their outcomes then share one report.
            tokio::task::yield_now().await;
            self.take_ready(&mut inputs)?;
        }
    }

    async fn wait(&mut self, inputs: &mut Inputs, drain: Drain) -> Woken {
        let deadline = self.agent.next_deadline().unwrap_or_default();
        tokio::select! {
            biased;
            () = inputs.shutdown.draining().cancelled(), if drain == Drain::NotYet => Woken::Drain,
            () = sleep_until(self.began + deadline) => Woken::Time,
            Ok(()) = inputs.link.changed() => Woken::Link(*inputs.link.borrow_and_update()),
            frame = inputs.roll_calls.next() => Woken::RollCall(frame),
            Some(leader) = self.asking.join_next() => Woken::Leader(leader.unwrap_or_default()),
            Some(looked) = self.looking.join_next() => Woken::Looked(looked),
            Some(ended) = self.attempts.join_next() => Woken::Ended(ended),
            frame = inputs.assigns.next() => Woken::Assign(frame),
        }
    }

    fn handle(&mut self, woken: Woken, grace: Duration) -> Result<(), RunError> {
        match woken {
            Woken::Drain => self.tell(Event::DrainBegun { grace }),
            Woken::Time => {
                let now = self.began.elapsed();
                self.agent.handle_timeout(now, &mut self.actions);
            }
            Woken::Link(link) => self.handle_link(link),
            Woken::RollCall(frame) => {
                self.read::<RollCall>(&frame.ok_or(RunError::Closed)?, Event::RollCalled);
            }
            Woken::Leader(leader) => self.tell(Event::LeaderRead(leader)),
            Woken::Looked(looked) => {
                let (kind, unfit) = looked.map_err(RunError::AttemptLost)?;
                self.tell(Event::Looked { kind, unfit });
            }
            Woken::Ended(ended) => self.handle_ended(ended)?,
            Woken::Assign(frame) => {
                self.read::<Assign>(&frame.ok_or(RunError::Closed)?, Event::Assigned);
            }
        }
        Ok(())
    }

    /// Takes what is there already, without waiting, so that one turn answers all of it.
    fn take_ready(&mut self, inputs: &mut Inputs) -> Result<(), RunError> {
        while let Some(ended) = self.attempts.try_join_next() {
            self.handle_ended(ended)?;
        }
        for _ in 0..TURN_FRAMES_MAX {
            let Some(frame) = inputs.assigns.try_next() else {
                break;
            };
            self.read::<Assign>(&frame, Event::Assigned);
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        let now = self.began.elapsed();
        self.agent.handle_event(now, event, &mut self.actions);
    }

    /// What is no frame is not for us, whoever sent it.
    fn read<F: Frame>(&mut self, received: &Received, event: fn(F) -> Event) {
        match frame::decode(&received.payload) {
            Ok(frame) => self.tell(event(frame)),
            Err(error) => {
                if let Some(times) = self.undecodable.count(Instant::now()) {
                    let (subject, error) = (&received.subject, chain(&error));
                    warn!(subject, times, %error, "ignored what is not a frame");
                }
            }
        }
    }

    fn handle_link(&mut self, link: Link) {
        let restored = link.up && (!self.link.up || link.breaks != self.link.breaks);
        self.link = link;
        if restored {
            self.tell(Event::LinkRestored);
        }
    }

    fn handle_ended(&mut self, ended: Result<Ended, JoinError>) -> Result<(), RunError> {
        // A handler's panic is caught where it runs: this one is our own mistake.
        let (attempt, ran, end) = ended.map_err(RunError::AttemptLost)?;
        self.controls.remove(&attempt);
        self.tell(Event::AttemptEnded { attempt, ran, end });
        Ok(())
    }

    async fn carry_out(&mut self) -> ControlFlow<()> {
        let mut actions = std::mem::take(&mut self.actions);
        let mut flow = ControlFlow::Continue(());
        for action in actions.drain(..) {
            match action {
                Action::Start {
                    attempt,
                    assignment,
                } => self.start(attempt, assignment),
                Action::Stop(attempt) => self.steer(attempt, AttemptControl::stop),
                Action::Suspend(attempt) => self.steer(attempt, AttemptControl::suspend),
                Action::Resume(attempt) => self.steer(attempt, AttemptControl::resume),
                Action::AskLeader => {
                    self.asking.spawn(read_leader(self.bus.clone()));
                }
                Action::Look(kind) => {
                    let runner = Arc::clone(&self.runner);
                    self.looking.spawn(async move {
                        let unfit = runner.look(&kind).await;
                        (kind, unfit)
                    });
                }
                Action::Beat(heartbeat) => self.beat(heartbeat).await,
                Action::Report(report) => {
                    let subject = self.bus.subjects().report(&self.worker);
                    self.send(Message::frame(subject, &report)).await;
                }
                Action::Note(note) => self.note(&note),
                Action::Leave => {
                    self.leave().await;
                    flow = ControlFlow::Break(());
                }
            }
        }
        // Its memory is used again.
        self.actions = actions;
        flow
    }

    fn start(&mut self, attempt: AttemptNumber, assignment: Assignment) {
        let control = AttemptControl::new();
        self.controls.insert(attempt, control.clone());
        let runner = Arc::clone(&self.runner);
        self.attempts.spawn(async move {
            let (ran, end) = runner.run(assignment, &control).await;
            (attempt, ran, end)
        });
    }

    /// One that has ended meanwhile has no control any more.
    fn steer(&self, attempt: AttemptNumber, order: fn(&AttemptControl)) {
        if let Some(control) = self.controls.get(&attempt) {
            order(control);
        }
    }

    async fn beat(&mut self, mut heartbeat: Heartbeat) {
        heartbeat.machine = self.machine.sample();
        let subject = self.bus.subjects().heartbeat(&self.worker);
        let frame = heartbeat.encode_in(heartbeat.dialect);
        self.send(Message::new(subject, frame)).await;
    }

    async fn send(&mut self, message: Message) {
        if !self.link.up {
            return;
        }
        if let Err(error) = self.bus.send(message).await
            && let Some(times) = self.unsent.count(Instant::now())
        {
            warn!(times, error = %chain(&error), "message not sent");
        }
    }

    /// A person must see that a kind cannot be started, once; not each time that it is tried again.
    fn note(&mut self, note: &Note) {
        if let Note::Withdrawn { kind, reason } = note
            && let throttle = self.withdrawn.entry(kind.clone()).or_default()
            && let Some(times) = throttle.count(Instant::now())
        {
            error!(%kind, reason, times, "this kind cannot be started here, not offering it");
        } else {
            log(note);
        }
    }

    async fn leave(&mut self) {
        if self.link.up
            && let Err(error) = self.bus.flush().await
        {
            warn!(error = %chain(&error), "left without the server's confirmation");
        }
        info!(worker = %self.worker, "left");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    NotYet,
    Begun,
}

/// Who leads, if it can be read.
async fn read_leader(bus: Bus) -> Option<Leader> {
    match bus.lease_holder(LeaseName::Scheduler).await {
        Ok(holder) => {
            let holder = holder?;
            Some(Leader {
                term: holder.term?,
                dialect: holder.dialect,
            })
        }
        Err(error) => {
            warn!(error = %chain(&error), "who leads is not known, following the former leader");
            None
        }
    }
}

fn log(note: &Note) {
    match note {
        Note::NotLeading { found, leads } => {
            debug!(term = %found, ?leads, "refused a frame of a term that does not lead");
        }
        Note::Follows(term) => info!(%term, "following the leader"),
        Note::FramesMissed { expected, found } => {
            warn!(
                expected,
                found, "assign frames were lost, telling what is held"
            );
        }
        Note::AlreadyHeld(task) => debug!(%task, "assigned again, kept as it is"),
        Note::HandedBack { task, reason } => info!(%task, reason, "handed back"),
        Note::Withdrawn { kind, reason } => {
            debug!(%kind, reason, "this kind cannot be started here, not offering it");
        }
        Note::Offered(kind) => info!(%kind, "offering this kind again"),
        Note::Shed(task) => warn!(%task, "not taken: too many outcomes are not settled"),
        Note::Suspended(task) => debug!(%task, "suspended"),
        Note::Resumed(task) => debug!(%task, "resumed"),
        Note::Revoked(task) => info!(%task, "revoked"),
        Note::GivenUp(task) => warn!(%task, "attempt does not end, handed back"),
    }
}
