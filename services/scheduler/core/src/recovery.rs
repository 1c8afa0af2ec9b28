//! What a new leader has to find out: who holds what, before it hands on what earlier terms left.
//!
//! ```text
//! CallRoll ──► heartbeats claim deliveries ──────────────┐
//!                                                        ▼
//! lane opened ──► un-acked deliveries come again: adopted if claimed,
//!        │          else held back until the roll call is over for them, then looked up and placed
//!        └──► all came: what is still claimed of this lane is over, revoked or settled
//! ```
//!
//! What is fresh nobody can have: it is placed at once. A claim is kept until its delivery comes again, or its
//! lane is recovered; one that does not name its lane, until all are. Claims are bounded by what workers hold.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::dispatch::Outcome;
use rota_wire::fleet::{HeldTask, Stage};
use rota_wire::{Holding, Lane, Micros, Span, WorkerId};

use crate::fleet::WorkerKey;

/// Workers of the last term are waited for so much longer than others: so long that they would count as lost.
const EXPECTED_PATIENCE: Span = Span::from_secs(2);

/// A worker's word that it holds a delivery which we do not know yet.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) worker: WorkerKey,
    pub(crate) holding: Holding,
    /// What it is, if the worker tells.
    pub(crate) task: Option<HeldTask>,
    pub(crate) stage: Stage,
    /// How long it has run there.
    pub(crate) ran: Span,
    /// What it reported of it.
    pub(crate) outcome: Option<Box<Outcome>>,
}

/// Claims by their messages.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_seq: BTreeMap<u64, Claim>,
    by_lane: BTreeMap<Option<Lane>, BTreeSet<u64>>,
}

#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) claims: Claims,
    /// When the roll call ends; nothing once it has.
    pub(crate) listening_until: Option<Micros>,
    roll_call: Span,
    /// When it was last noticed that nothing had been heard for a while.
    deaf_at: Micros,
    /// Whether anybody was expected.
    expecting: bool,
    /// Workers of the last term that have not answered yet.
    missing: BTreeSet<WorkerId>,
    /// What earlier terms left and nobody claims, and how long it is held back.
    held_back: BTreeMap<u64, Micros>,
    release: BTreeSet<(Micros, u64)>,
    pub(crate) lanes_listed: bool,
    /// Whether it was told that all that earlier terms left has been found.
    pub(crate) complete: bool,
    pub(crate) adopted: u32,
}

impl Recovery {
    pub(crate) fn new(now: Micros, roll_call: Span, expected: BTreeSet<WorkerId>) -> Self {
        let patience = if expected.is_empty() {
            Span::default()
        } else {
            EXPECTED_PATIENCE
        };
        Self {
            claims: Claims::default(),
            listening_until: Some(now.plus(roll_call).plus(patience)),
            roll_call,
            deaf_at: Micros::default(),
            expecting: !expected.is_empty(),
            missing: expected,
            held_back: BTreeMap::new(),
            release: BTreeSet::new(),
            lanes_listed: false,
            complete: false,
            adopted: 0,
        }
    }

    /// A worker has answered. The last of those expected ends the roll call.
    pub(crate) fn heard(&mut self, worker: &WorkerId, now: Micros) {
        if self.missing.remove(worker) && self.missing.is_empty() && self.listening_until.is_some()
        {
            self.listening_until = Some(now);
        }
    }

    /// The workers that were expected and may still answer.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &WorkerId> {
        let listening = self.listening_until.is_some();
        self.missing.iter().filter(move |_| listening)
    }

    /// Until when a delivery that was left, came then and is claimed by nobody is held back; nothing if
    /// whoever could claim it has been heard.
    pub(crate) fn hold_until(&self, came: Micros, now: Micros) -> Option<Micros> {
        let came = came.max(self.deaf_at);
        let until = match (self.expecting, self.missing.is_empty()) {
            (true, true) => return None,
            (true, false) => came.plus(self.roll_call).plus(EXPECTED_PATIENCE),
            (false, _) => came.plus(self.roll_call),
        };
        Some(until).filter(|until| *until > now)
    }

    pub(crate) fn hold_back(&mut self, seq: u64, until: Micros) {
        self.held_back.insert(seq, until);
        self.release.insert((until, seq));
    }

    /// A delivery is not held back any more. Tells whether it was.
    pub(crate) fn let_go(&mut self, seq: u64) -> bool {
        let until = self.held_back.remove(&seq);
        until.is_some_and(|until| self.release.remove(&(until, seq)))
    }

    /// Until when a delivery is held back.
    pub(crate) fn held_back_until(&self, seq: u64) -> Option<Micros> {
        self.held_back.get(&seq).copied()
    }

    /// The next that is to be let go by now.
    pub(crate) fn next_to_go(&self, now: Micros) -> Option<u64> {
        let all_heard = self.expecting && self.missing.is_empty();
        let (until, seq) = self.release.first()?;
        (all_heard || *until <= now).then_some(*seq)
    }

    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        let release = self.release.first().map(|(until, _)| *until);
        self.listening_until.into_iter().chain(release).min()
    }

    /// Ends the roll call if its time is up.
    pub(crate) fn end_roll_call(&mut self, now: Micros) {
        if self.listening_until.is_some_and(|until| until <= now) {
            self.listening_until = None;
        }
    }

    /// Nothing was heard for so long.
    pub(crate) fn extend(&mut self, span: Span, now: Micros) {
        self.deaf_at = now;
        self.listening_until = self.listening_until.map(|until| until.plus(span));
        for (seq, until) in &mut self.held_back {
            self.release.remove(&(*until, *seq));
            *until = until.plus(span);
            self.release.insert((*until, *seq));
        }
    }

    /// Nothing of earlier terms is held back, and the roll call is over.
    pub(crate) fn is_over(&self) -> bool {
        self.listening_until.is_none() && self.held_back.is_empty()
    }
}

impl Claim {
    fn lane(&self) -> Option<Lane> {
        self.task.as_ref().map(|task| task.lane.clone())
    }
}

impl Claims {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Claim> {
        self.by_seq.get(&seq)
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Claim> {
        let claim = self.by_seq.remove(&seq)?;
        let lane = claim.lane();
        if let Some(seqs) = self.by_lane.get_mut(&lane) {
            seqs.remove(&seq);
            if seqs.is_empty() {
                self.by_lane.remove(&lane);
            }
        }
        Some(claim)
    }

    fn put(&mut self, seq: u64, claim: Claim) {
        self.by_lane.entry(claim.lane()).or_default().insert(seq);
        self.by_seq.insert(seq, claim);
    }

    /// Whether any claim names a lane.
    pub(crate) fn concern(&self, lane: &Lane) -> bool {
        self.by_lane.contains_key(&Some(lane.clone()))
    }

    /// The claims that name a lane, or those that name none.
    pub(crate) fn of(&self, lane: Option<&Lane>) -> Vec<u64> {
        let seqs = self.by_lane.get(&lane.cloned());
        seqs.into_iter().flatten().copied().collect()
    }

    /// The claims of a worker.
    pub(crate) fn by(&self, worker: WorkerKey) -> Vec<u64> {
        let claims = self.by_seq.iter();
        let theirs = claims.filter(|(_, claim)| claim.worker == worker);
        theirs.map(|(seq, _)| *seq).collect()
    }

    /// Keeps a claim; of two for the same message the newer holding counts. Returns the one that does
    /// not count, if there were two.
    pub(crate) fn add(&mut self, seq: u64, claim: Claim) -> Option<Claim> {
        let Some(known) = self.remove(seq) else {
            self.put(seq, claim);
            return None;
        };
        let (kept, loser) = if known.worker == claim.worker {
            (merged(known, claim), None)
        } else if known.holding < claim.holding {
            (claim, Some(known))
        } else {
            (known, Some(claim))
        };
        self.put(seq, kept);
        loser
    }

    /// The two books agree.
    pub(crate) fn check(&self) -> Result<(), String> {
        let by_lane: usize = self.by_lane.values().map(BTreeSet::len).sum();
        let found = self.by_seq.iter().all(|(seq, claim)| {
            let seqs = self.by_lane.get(&claim.lane());
            seqs.is_some_and(|seqs| seqs.contains(seq))
        });
        if found && by_lane == self.by_seq.len() {
            Ok(())
        } else {
            Err("claims by lane and by message differ".to_owned())
        }
    }
}

/// Two words of one worker about the same message.
fn merged(known: Claim, claim: Claim) -> Claim {
    if claim.holding < known.holding {
        // A report of a holding that the worker has again: late.
        return known;
    }
    if known.holding < claim.holding {
        return claim;
    }
    Claim {
        outcome: claim.outcome.or(known.outcome),
        task: claim.task.or(known.task),
        ..claim
    }
}

#[cfg(test)]
mod tests;
