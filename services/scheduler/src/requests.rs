//! Requests: what waits for an answer of the server, many at a time and without holding up a turn.
//!
//! Each ends in events for the core, or in something that the session does itself. Bounded: a fixed number are under
//! way, the rest wait in order; their number is bounded by the tasks in memory and by the lanes.

mod death;
mod explain;
mod flow;
mod lanes;
mod look_up;
mod settle;
mod strays;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rota_bus::{Bus, Opened, Subject};
use rota_scheduler_core::{Event, Freshness};
use rota_wire::dispatch::Failure;
use rota_wire::explain::Explanation;
use rota_wire::{Kind, Lane, LeaderMemory, Span, TaskId, TaskSpec, WorkerId};

use crate::flow::{Reading, Stretch};
use crate::messages::LastRun;

pub(crate) use flow::LostDelivery;
pub(crate) use look_up::LOOK_UP_MAX;

/// Requests under way at a time.
const UNDER_WAY_MAX: usize = 256;

/// Before what failed is asked once more.
const AGAIN_PAUSE: Duration = Duration::from_millis(500);

/// Something to ask the server, or to have it do.
#[derive(Debug)]
pub(crate) enum Request {
    /// Which lanes earlier terms have opened.
    ListLanes,
    /// Which lanes of a kind have messages.
    FindLanes(Kind),
    OpenLane(Lane),
    CloseLane(Lane),
    /// How many messages of lanes are un-acked, each with how many the core knew of when it was asked.
    CountUnacked(Vec<(Lane, u64)>),
    /// Whether messages lie in a lane at rest that nobody brings.
    FindStrays(Lane),
    /// What becomes of one of them.
    SettleStray {
        lane: Lane,
        seq: u64,
    },
    /// Which messages lie in lanes that flow.
    ReadLanes(Vec<Stretch>),
    /// Whether a message is there that nobody has, and how it is given back.
    FindDelivery {
        lane: Lane,
        seq: u64,
    },
    /// Answers why a task is where it is: with what the core knows, else with what the streams tell.
    Explain {
        task: TaskId,
        known: Option<Box<Explanation>>,
        reply: Subject,
    },
    /// At most [`LOOK_UP_MAX`] of them.
    LookUp {
        tasks: Vec<(u64, Arc<TaskSpec>)>,
        freshness: Freshness,
    },
    StoreRetry {
        seq: u64,
        task: Arc<TaskSpec>,
        wait: Span,
    },
    StoreDeadLetter(Box<DeadLetter>),
    /// A message of a lane that Rota did not write becomes a dead letter.
    StoreMalformed {
        seq: u64,
        lane: Lane,
        reason: String,
    },
    /// Whether a worker that is said to have died is gone.
    ConfirmDeath(WorkerId),
    /// Whether a worker is there at all.
    Probe(WorkerId),
    StoreMemory(Box<LeaderMemory>),
}

/// A task that has failed for good.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) seq: u64,
    pub(crate) task: Arc<TaskSpec>,
    pub(crate) reason: String,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) failure: Option<Box<Failure>>,
    pub(crate) run: LastRun,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Answer {
    Event(Event),
    Events(Vec<Event>),
    LanesListed(Vec<Lane>),
    LaneOpened(Lane, Opened),
    LaneClosed(Lane),
    /// Lanes, how many of their un-acked messages were known, and how many there are.
    Unacked(Vec<(Lane, u64, u64)>),
    StraysFound(Lane, Vec<u64>),
    LanesRead(Vec<Reading>),
    DeliveryFound {
        lane: Lane,
        seq: u64,
        found: LostDelivery,
    },
    /// Whether a worker that was said to have died has; if so the core is to be told.
    DeathChecked {
        worker: WorkerId,
        died: bool,
    },
    /// A message that Rota did not write is stored elsewhere.
    Discarded(u64),
    /// It is to be asked once more after a while.
    Again(Request),
    /// That while is over.
    Ask(Request),
    Done,
}

/// The requests of one session.
pub(crate) struct Requests {
    bus: Bus,
    waiting: VecDeque<Request>,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
}

impl Requests {
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            bus,
            waiting: VecDeque::new(),
            under_way: FuturesUnordered::new(),
        }
    }

    pub(crate) fn start(&mut self, request: Request) {
        self.waiting.push_back(request);
        self.begin_waiting();
    }

    /// Asks once more what could not be done, after a pause.
    pub(crate) fn start_later(&mut self, request: Request) {
        let later = async move {
            tokio::time::sleep(AGAIN_PAUSE).await;
            Answer::Ask(request)
        };
        self.under_way.push(later.boxed());
    }

    /// The next answer; never, while nothing is asked. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Answer {
        loop {
            self.begin_waiting();
            match self.under_way.next().await {
                Some(answer) => return answer,
                None => std::future::pending::<()>().await,
            }
        }
    }

    pub(crate) fn try_next(&mut self) -> Option<Answer> {
        self.begin_waiting();
        self.under_way.next().now_or_never().flatten()
    }

    fn begin_waiting(&mut self) {
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(request) = self.waiting.pop_front()
        {
            self.under_way.push(ask(self.bus.clone(), request).boxed());
        }
    }
}

async fn ask(bus: Bus, request: Request) -> Answer {
    match request {
        Request::ListLanes => lanes::list(&bus).await,
        Request::FindLanes(kind) => lanes::find(&bus, kind).await,
        Request::OpenLane(lane) => lanes::open(&bus, lane).await,
        Request::CloseLane(lane) => lanes::close(&bus, lane).await,
        Request::FindStrays(lane) => strays::find(&bus, lane).await,
        Request::SettleStray { lane, seq } => strays::settle(&bus, lane, seq).await,
        Request::ReadLanes(stretches) => flow::read(&bus, stretches).await,
        Request::FindDelivery { lane, seq } => flow::find_delivery(&bus, lane, seq).await,
        Request::CountUnacked(lanes) => lanes::count_unacked(&bus, lanes).await,
        Request::Explain { task, known, reply } => {
            explain::answer(&bus, task, known, reply).await;
            Answer::Done
        }
        Request::LookUp { tasks, freshness } => look_up::ask(&bus, &tasks, freshness).await,
        Request::StoreRetry { seq, task, wait } => {
            settle::store_retry(&bus, seq, &task, wait).await
        }
        Request::StoreDeadLetter(letter) => settle::store_dead_letter(&bus, *letter).await,
        Request::StoreMalformed { seq, lane, reason } => {
            settle::store_malformed(&bus, seq, lane, reason).await
        }
        Request::ConfirmDeath(worker) => death::confirm(&bus, worker).await,
        Request::Probe(worker) => death::probe(&bus, worker).await,
        Request::StoreMemory(memory) => {
            store_memory(&bus, &memory).await;
            Answer::Done
        }
    }
}

/// Losing it costs quality only.
pub(crate) async fn store_memory(bus: &Bus, memory: &LeaderMemory) {
    if let Err(error) = bus.store_memory(memory).await {
        tracing::warn!(error = %rota_service::chain(&error), "what was learned is not stored");
    }
}
