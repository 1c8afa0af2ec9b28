//! What a new leader has to find out: who holds what, before anything is assigned.
//!
//! ```text
//! CallRoll ──► heartbeats claim deliveries ──► roll call ends ──► assigning begins
//!                       │                                             │
//! lanes opened ──► un-acked deliveries come again: adopted if claimed ┘
//!                       └──► all came: what is still claimed is over, revoked or settled
//! ```
//!
//! A claim is kept until its delivery comes again. Claims are bounded by what workers hold.

use std::collections::{BTreeMap, BTreeSet};

use rota_wire::dispatch::Outcome;
use rota_wire::fleet::Stage;
use rota_wire::{Holding, Micros, Span, WorkerId};

use crate::fleet::WorkerKey;

/// A worker's word that it holds a delivery which we do not know yet.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) worker: WorkerKey,
    pub(crate) holding: Holding,
    pub(crate) stage: Stage,
    /// How long it has run there.
    pub(crate) ran: Span,
    /// What it reported of it.
    pub(crate) outcome: Option<Box<Outcome>>,
}

#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) claims: BTreeMap<u64, Claim>,
    /// When assigning begins; nothing once it has begun.
    pub(crate) listening_until: Option<Micros>,
    /// Workers of the last term that have not answered yet.
    pub(crate) missing: BTreeSet<WorkerId>,
    pub(crate) lanes_listed: bool,
    /// Whether all that earlier terms left has been found.
    pub(crate) complete: bool,
    pub(crate) adopted: u32,
}

impl Recovery {
    pub(crate) fn new(listening_until: Micros, expected: BTreeSet<WorkerId>) -> Self {
        Self {
            claims: BTreeMap::new(),
            listening_until: Some(listening_until),
            missing: expected,
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

    /// Keeps a claim; of two for the same message the newer holding counts. Returns the one that does
    /// not count, if there were two.
    pub(crate) fn claim(&mut self, seq: u64, claim: Claim) -> Option<Claim> {
        match self.claims.get_mut(&seq) {
            None => {
                self.claims.insert(seq, claim);
                None
            }
            // A report of a holding that the worker has again: late.
            Some(known) if known.worker == claim.worker && claim.holding < known.holding => None,
            Some(known) if known.worker == claim.worker && known.holding < claim.holding => {
                *known = claim;
                None
            }
            Some(known) if known.worker == claim.worker => {
                let outcome = claim.outcome.or_else(|| known.outcome.take());
                *known = Claim { outcome, ..claim };
                None
            }
            Some(known) if known.holding < claim.holding => Some(std::mem::replace(known, claim)),
            Some(_) => Some(claim),
        }
    }
}

#[cfg(test)]
mod tests;
