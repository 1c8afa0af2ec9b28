//! How much a worker may say at once: no frame is larger than a message that the server takes.
//!
//! Pure. The sizes are upper bounds of what postcard writes, so that nothing has to be written to know its
//! size. What must hold: a heartbeat names every delivery that is held, so no more are held than it has room
//! for; the names of tasks are an addition that is left out first.

use rota_wire::fleet::{Heartbeat, HeldTask};
use rota_wire::{Dialect, Micros, Span};

/// The most deliveries held, ended ones included, however large messages may be.
const HELD_MAX: usize = 16 * 1024;
/// The most bytes in a report.
const REPORT_BYTES_MAX: usize = 256 * 1024;
/// What a frame has around its lists.
const FRAME_RESERVE: usize = 512;
/// A delivery without the name of its task: three numbers of ten bytes, one of five, two of one.
const HELD_BYTES: usize = 40;
/// What a name takes beside its two texts.
const NAME_BYTES: usize = 12;
/// The share of a heartbeat for the reasons why kinds are withdrawn.
const REASONS_SHARE: usize = 8;

/// What fits into this worker's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// The most deliveries that it may hold.
    pub(crate) held: usize,
    /// The most bytes of a report's outcomes.
    pub(crate) report: usize,
    /// The most bytes of all reasons why kinds are withdrawn.
    pub(crate) reasons: usize,
    /// What is left for deliveries and names.
    list: usize,
}

impl Room {
    /// For a worker whose heartbeats are like this one, which lists all its kinds and holds nothing.
    pub(crate) fn new(empty: &Heartbeat, payload_max: usize) -> Self {
        let largest = Heartbeat {
            number: u64::MAX,
            started: Micros(u64::MAX),
            interval: Span::MAX,
            ..empty.clone()
        };
        let fixed = largest.encode_in(Dialect::V2).len() + FRAME_RESERVE;
        // Withdrawn, a kind has a reason, whose length takes two bytes.
        let fixed = fixed + 2 * empty.kinds.len();
        let reasons = payload_max / REASONS_SHARE;
        let list = payload_max.saturating_sub(fixed + reasons);
        Self {
            held: (list / HELD_BYTES).min(HELD_MAX),
            report: payload_max
                .saturating_sub(FRAME_RESERVE)
                .min(REPORT_BYTES_MAX),
            reasons,
            list,
        }
    }

    /// What is left for names when so many deliveries are listed.
    pub(super) fn for_names(&self, held: usize) -> usize {
        self.list.saturating_sub(held * HELD_BYTES)
    }
}

/// What the name of a task takes, at most.
pub(super) fn name_bytes(task: &HeldTask) -> usize {
    task.id.as_str().len() + task.lane.kind.as_str().len() + NAME_BYTES
}
