//! Whether somebody has each message of the lanes that flow.
//!
//! Acks and naks are sent and not confirmed, and while a consumer changes its leader among the servers nobody takes
//! them. In a lane at rest it is enough to count (see [`Audit`](crate::audit::Audit)); in one that flows much is
//! always on its way, and no count tells. But a work queue deletes what is acked: what lies in a lane and was handed
//! out must be known here. So the lanes that flow are read through in stretches, a few messages each second, and what
//! nobody knows of becomes a suspect:
//!
//! ```text
//! (read, and not known) ──► suspect ──5 s, still there──► called back: its delivery is given back
//!                             ▲ │                               │
//!                             │ └─ known, or gone ─► (nothing)  │ comes again ─► (recognised like any other)
//!                             └──────── does not come ──────────┘ twice ─► settled as a stray
//! ```
//!
//! What must hold: nothing healthy is disturbed. What is on its way, either way, is there within five seconds, or is not
//! believed to be; and calling back costs one delivery and changes nothing else in its lane. Bounded: so many reads and
//! bytes a second, whatever flows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rota_wire::Lane;
use tokio::time::Instant;

/// Of a lane of which nothing came for longer the messages are counted.
const FLOWING: Duration = Duration::from_secs(3);
/// Lanes read at a time, once a second.
const LANES_MAX: usize = 8;
/// How long anything may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// How often a message is called back before it counts as a stray.
const CALLS_MAX: u32 = 2;
/// Suspects at a time. Others are found at the next reading.
const SUSPECTS_MAX: usize = 1_024;
/// Of those that are due, how many are looked at in a second.
const DUE_MAX: usize = 8;

/// Where a message is by the books of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Custody {
    /// In memory: waiting, running, or being settled.
    Held,
    /// Given back then, and it has not come again.
    GivenBack(Instant),
    /// Acked, or never seen.
    Unknown,
}

/// What is to be read of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) lane: Lane,
    pub(crate) from: u64,
    /// The last message that was handed out.
    pub(crate) to: u64,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) lane: Lane,
    pub(crate) found: Vec<u64>,
    /// Where to go on; nothing at the end.
    pub(crate) next: Option<u64>,
}

/// What is to be done about a message that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    CallBack,
    SettleStray,
}

#[derive(Debug, Default)]
pub(crate) struct Flow {
    lanes: BTreeMap<Lane, LaneFlow>,
    /// The last lane that was read.
    turn: Option<Lane>,
    reading: bool,
    suspects: BTreeMap<u64, Suspect>,
}

#[derive(Debug)]
struct LaneFlow {
    /// The last message that came. They come in order, but for those that come again.
    newest: u64,
    /// When anything came.
    came_at: Option<Instant>,
    /// When one came that was newer than all before.
    fresh_at: Option<Instant>,
    /// Where the next reading begins.
    cursor: u64,
}

#[derive(Debug)]
struct Suspect {
    lane: Lane,
    since: Instant,
    calls: u32,
}

impl Flow {
    /// A lane was opened: all that is un-acked in it comes again, in order.
    pub(crate) fn opened(&mut self, lane: &Lane) {
        self.closed(lane);
        let flow = LaneFlow {
            newest: 0,
            came_at: None,
            fresh_at: None,
            cursor: 1,
        };
        self.lanes.insert(lane.clone(), flow);
    }

    /// A lane is not read any more.
    pub(crate) fn closed(&mut self, lane: &Lane) {
        self.lanes.remove(lane);
        self.suspects.retain(|_, suspect| suspect.lane != *lane);
    }

    /// A message has come.
    pub(crate) fn came(&mut self, lane: &Lane, seq: u64, now: Instant) {
        let Some(flow) = self.lanes.get_mut(lane) else {
            return;
        };
        flow.came_at = Some(now);
        if seq > flow.newest {
            (flow.newest, flow.fresh_at) = (seq, Some(now));
        }
    }

    /// What is to be read now, unless a reading is under way.
    pub(crate) fn begin_reading(
        &mut self,
        except: &BTreeSet<Lane>,
        now: Instant,
    ) -> Option<Vec<Stretch>> {
        if self.reading {
            return None;
        }
        let turn = self.turn.as_ref();
        let flows = |(lane, flow): &(&Lane, &LaneFlow)| {
            flow.came_at.is_some_and(|at| now < at + FLOWING) && !except.contains(*lane)
        };
        let after = self.lanes.iter().filter(|(lane, _)| Some(*lane) > turn);
        let again = self.lanes.iter().filter(|(lane, _)| Some(*lane) <= turn);
        let stretches = after.chain(again).filter(flows).take(LANES_MAX);
        let stretches: Vec<Stretch> = stretches
            .map(|(lane, flow)| Stretch {
                lane: lane.clone(),
                from: flow.cursor,
                to: flow.newest,
            })
            .collect();
        self.turn = stretches.last()?.lane.clone().into();
        self.reading = true;
        Some(stretches)
    }

    /// Takes in what was read.
    pub(crate) fn read(
        &mut self,
        readings: Vec<Reading>,
        custody: impl Fn(u64) -> Custody,
        now: Instant,
    ) {
        self.reading = false;
        for Reading { lane, found, next } in readings {
            let Some(flow) = self.lanes.get_mut(&lane) else {
                continue;
            };
            flow.cursor = next.unwrap_or(1);
            for seq in found {
                let full = self.suspects.len() >= SUSPECTS_MAX;
                if !full && flow.has_lost(seq, custody(seq)) {
                    self.suspects.entry(seq).or_insert_with(|| Suspect {
                        lane: lane.clone(),
                        since: now,
                        calls: 0,
                    });
                }
            }
        }
    }

    /// What is to be done now about suspects.
    pub(crate) fn take_due(
        &mut self,
        custody: impl Fn(u64) -> Custody,
        now: Instant,
    ) -> Vec<(Lane, u64, Remedy)> {
        let lanes = &self.lanes;
        self.suspects.retain(|seq, suspect| {
            let flow = lanes.get(&suspect.lane);
            // One that was called back is given time, as everything is.
            let waits = suspect.calls > 0 && matches!(custody(*seq), Custody::GivenBack(_));
            flow.is_some_and(|flow| waits || flow.has_lost(*seq, custody(*seq)))
        });
        let mut due = Vec::new();
        for (seq, suspect) in &mut self.suspects {
            let lost = lanes
                .get(&suspect.lane)
                .is_some_and(|flow| flow.has_lost(*seq, custody(*seq)));
            if !lost || now < suspect.since + ON_ITS_WAY {
                continue;
            }
            if due.len() == DUE_MAX {
                break;
            }
            suspect.since = now;
            let remedy = if suspect.calls < CALLS_MAX {
                Remedy::CallBack
            } else {
                Remedy::SettleStray
            };
            due.push((suspect.lane.clone(), *seq, remedy));
        }
        due
    }

    /// A message is still to be called back: nobody has got it meanwhile.
    pub(crate) fn is_suspect(&self, lane: &Lane, seq: u64, custody: Custody) -> bool {
        let flow = self.lanes.get(lane);
        self.suspects.contains_key(&seq) && flow.is_some_and(|flow| flow.has_lost(seq, custody))
    }

    /// A suspect was called back.
    pub(crate) fn called(&mut self, seq: u64, now: Instant) {
        if let Some(suspect) = self.suspects.get_mut(&seq) {
            suspect.since = now;
            suspect.calls += 1;
        }
    }

    /// A suspect is not in the stream any more, or is seen to otherwise.
    pub(crate) fn clear(&mut self, seq: u64) {
        self.suspects.remove(&seq);
    }
}

impl LaneFlow {
    /// Whether a message that lies in the lane is with nobody, and not on its way for the first time. What was given
    /// back comes before all that is new.
    fn has_lost(&self, seq: u64, custody: Custody) -> bool {
        match custody {
            Custody::Held => false,
            Custody::GivenBack(at) => self.fresh_at.is_some_and(|fresh| fresh >= at + ON_ITS_WAY),
            Custody::Unknown => seq <= self.newest,
        }
    }
}

#[cfg(test)]
mod tests;
