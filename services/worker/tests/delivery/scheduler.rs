//! The test in the place of the scheduler: it assigns, settles, revokes and listens.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use rota_bus::{Bus, BusOptions, Lease, LeaseName, Message, Prefix, Received, Subscription};
use rota_local::NatsServer;
use rota_wire::dispatch::{Assign, Assignment, Input, Outcome, Report};
use rota_wire::fleet::{FrameMark, Heartbeat, RollCall, Stage, WorkerState};
use rota_wire::frame::{Frame, decode};
use rota_wire::{Delivery, Holding, Kind, Micros, Priority, Span, TaskId, Term, WorkerId};
use tokio::time::timeout;

/// Longer than anything takes; whoever waits so long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Scheduler {
    pub(crate) bus: Bus,
    reports: Subscription,
    beats: Subscription,
    worker: Option<WorkerId>,
    /// What it leads by: the worker obeys nobody else.
    lease: Option<Lease>,
    frames: BTreeMap<u64, u64>,
    newest: Option<FrameMark>,
    heard: Vec<Outcome>,
}

impl Scheduler {
    /// Connects before any worker is there, so that nothing is missed.
    pub(crate) async fn start(server: &NatsServer) -> Result<Self> {
        let options = BusOptions {
            servers: server.url(),
            credentials: None,
            name: "scheduler of a test".to_owned(),
            prefix: Prefix::default(),
            inbox_prefix: None,
        };
        let bus = Bus::connect(options).await?;
        let reports = bus.subscribe(&bus.subjects().reports()).await?;
        let beats = bus.subscribe(&bus.subjects().heartbeats()).await?;
        bus.flush().await?;
        Ok(Self {
            bus,
            reports,
            beats,
            worker: None,
            lease: None,
            frames: BTreeMap::new(),
            newest: None,
            heard: Vec::new(),
        })
    }

    /// Waits for the first heartbeat of the only worker.
    pub(crate) async fn meet_worker(&mut self) -> Result<Heartbeat> {
        let beat = self
            .wait_for_beat(|beat| beat.state == WorkerState::Up)
            .await?;
        assert_eq!((beat.number, beat.held.len()), (1, 0));
        self.worker = Some(beat.worker.clone());
        assert_eq!(self.lead().await?, 1, "the first term on a new server");
        Ok(beat)
    }

    /// Begins a new term, and gives it.
    pub(crate) async fn lead(&mut self) -> Result<u64> {
        if let Some(lease) = self.lease.take() {
            lease.release().await?;
        }
        let lease = self.bus.acquire_lease(LeaseName::Scheduler, "test").await?;
        let term = lease.as_ref().context("nobody else leads")?.term();
        self.lease = lease;
        Ok(term.0)
    }

    pub(crate) fn worker(&self) -> &WorkerId {
        self.worker.as_ref().expect("the worker was met")
    }

    /// Assigns tasks under holdings of the given term.
    pub(crate) async fn assign(&mut self, term: u64, mut tasks: Vec<Assignment>) -> Result<()> {
        for task in &mut tasks {
            task.holding.term = Term(term);
        }
        self.frame(term, Vec::new(), Vec::new(), tasks).await
    }

    pub(crate) async fn settle(&mut self, term: u64, numbers: Vec<u64>) -> Result<()> {
        self.frame(term, numbers, Vec::new(), Vec::new()).await
    }

    pub(crate) async fn revoke(&mut self, term: u64, holding: Holding) -> Result<()> {
        self.frame(term, Vec::new(), vec![holding], Vec::new())
            .await
    }

    pub(crate) async fn suspend(&mut self, term: u64, holding: Holding) -> Result<()> {
        let frame = Assign {
            suspended: vec![holding],
            ..self.next_frame(term)
        };
        self.send(frame).await
    }

    pub(crate) async fn resume(&mut self, term: u64, holding: Holding) -> Result<()> {
        let frame = Assign {
            resumed: vec![holding],
            ..self.next_frame(term)
        };
        self.send(frame).await
    }

    async fn frame(
        &mut self,
        term: u64,
        settled: Vec<u64>,
        revoked: Vec<Holding>,
        tasks: Vec<Assignment>,
    ) -> Result<()> {
        let frame = Assign {
            settled,
            revoked,
            tasks,
            ..self.next_frame(term)
        };
        self.send(frame).await
    }

    /// An empty one.
    fn next_frame(&mut self, term: u64) -> Assign {
        let number = self.frames.entry(term).or_default();
        *number += 1;
        let mark = FrameMark {
            term: Term(term),
            number: *number,
        };
        self.newest = self.newest.max(Some(mark));
        Assign {
            mark,
            settled: Vec::new(),
            revoked: Vec::new(),
            suspended: Vec::new(),
            resumed: Vec::new(),
            tasks: Vec::new(),
        }
    }

    async fn send(&self, frame: Assign) -> Result<()> {
        let subject = self.bus.subjects().assign(self.worker());
        Ok(self.bus.send(Message::frame(subject, &frame)).await?)
    }

    /// Calls the roll in a term and waits until the worker, all frames seen, says that it holds just
    /// this.
    pub(crate) async fn wait_until_held(
        &mut self,
        term: u64,
        wanted: &[(Holding, Stage)],
    ) -> Result<()> {
        let call = RollCall { term: Term(term) };
        let subject = self.bus.subjects().roll_call();
        self.bus.send(Message::frame(subject, &call)).await?;
        let newest = self.newest;
        self.wait_for_beat(|beat| {
            let held = beat.held.iter().map(|held| (held.holding, held.stage));
            beat.seen == newest && held.eq(wanted.iter().copied())
        })
        .await?;
        Ok(())
    }

    /// The next outcome that is reported, be it for the first time or again.
    pub(crate) async fn outcome(&mut self) -> Result<Outcome> {
        while self.heard.is_empty() {
            let report: Report = next(&mut self.reports).await?;
            self.heard = report.outcomes;
        }
        Ok(self.heard.remove(0))
    }

    /// The next outcome of one delivery; others are skipped.
    pub(crate) async fn outcome_of(&mut self, seq: u64) -> Result<Outcome> {
        let found = async {
            loop {
                let outcome = self.outcome().await?;
                if outcome.holding.delivery.seq == seq {
                    return Ok(outcome);
                }
            }
        };
        timeout(LIMIT, found).await.context("no such outcome")?
    }

    /// The next heartbeat that is as wanted.
    pub(crate) async fn wait_for_beat(
        &mut self,
        wanted: impl Fn(&Heartbeat) -> bool,
    ) -> Result<Heartbeat> {
        let found = async {
            loop {
                let beat: Heartbeat = next(&mut self.beats).await?;
                if wanted(&beat) {
                    return Ok(beat);
                }
            }
        };
        timeout(LIMIT, found).await.context("no such heartbeat")?
    }

    /// Settles whatever is reported until the worker says goodbye.
    pub(crate) async fn settle_until_gone(&mut self) -> Result<()> {
        let term = self.lease.as_ref().context("it leads")?.term().0;
        let gone = async {
            loop {
                tokio::select! {
                    report = next::<Report>(&mut self.reports) => {
                        let numbers = report?.outcomes.iter().map(|outcome| outcome.number).collect();
                        self.settle(term, numbers).await?;
                    }
                    beat = next::<Heartbeat>(&mut self.beats) => {
                        if beat?.state == WorkerState::Gone {
                            return Ok(());
                        }
                    }
                }
            }
        };
        timeout(LIMIT, gone)
            .await
            .context("the worker does not leave")?
    }
}

pub(crate) fn holding(term: u64, seq: u64) -> Holding {
    Holding {
        term: Term(term),
        delivery: Delivery { seq, count: 1 },
    }
}

pub(crate) fn task(kind: &str, seq: u64, input: &'static str) -> Assignment {
    Assignment {
        holding: holding(0, seq),
        id: TaskId::from_sequence(seq),
        kind: Kind::parse(kind).expect("a good kind"),
        attempt: 1,
        timeout: Span::from_secs(3_600),
        estimate: Some(Span::from_secs(2)),
        submitted: Micros(1_795_420_800_000_000),
        traceparent: None,
        priority: Some(Priority::default()),
        input: Input::Inline(Bytes::from_static(input.as_bytes())),
    }
}

async fn next<F: Frame>(subscription: &mut Subscription) -> Result<F> {
    let received: Option<Received> = timeout(LIMIT, subscription.next())
        .await
        .with_context(|| format!("no {} in time", F::NAME))?;
    Ok(decode(
        &received.context("the connection is closed")?.payload,
    )?)
}
