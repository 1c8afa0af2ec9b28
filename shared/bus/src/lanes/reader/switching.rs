//! What waits for the server without holding up the reading: changing how a lane's inputs come, and looking
//! whether its consumer is there.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{InputPolicy, LaneReader};
use crate::lanes::LaneInputs;
use crate::limit::Cause;

/// The least time between two changes of a lane.
const SWITCH_PAUSE: Duration = Duration::from_secs(10);
/// A lane is not asked while it is changed, which takes no longer than this.
const SWITCH_LIMIT: Duration = Duration::from_secs(6);
/// A grant of so many bytes that brings nothing shows a large input.
const LARGE_BYTES: usize = 8 * 1024;

/// How an errand ended.
pub(super) enum ErrandEnd {
    /// The lane's inputs were to come in another way; false when it has no consumer.
    Switched {
        index: usize,
        inputs: LaneInputs,
        done: Result<bool, Cause>,
    },
    /// Whether the lane has a consumer.
    Checked {
        index: usize,
        found: Result<bool, Cause>,
    },
}

impl LaneReader {
    /// Changes how a lane's inputs come, if another way is better.
    pub(super) fn reconsider_inputs(&mut self, index: usize) {
        let Some(open) = self.open.get(&index) else {
            return;
        };
        let better = match self.policy {
            InputPolicy::WithMessages => LaneInputs::Along,
            InputPolicy::MayBeLeft => open.input_sizes.better(open.inputs),
        };
        if better != open.inputs {
            self.switch(index, better);
        }
    }

    /// A message is larger than a grant that it was too large for.
    pub(super) fn met_large_input(&mut self, index: usize, grant: usize) {
        let apart = self
            .open
            .get(&index)
            .is_some_and(|open| open.inputs == LaneInputs::Apart);
        if self.policy == InputPolicy::MayBeLeft && !apart && grant >= LARGE_BYTES {
            self.switch(index, LaneInputs::Apart);
        }
    }

    fn switch(&mut self, index: usize, inputs: LaneInputs) {
        let Some(open) = self.open.get_mut(&index) else {
            return;
        };
        // Those who cannot fetch inputs cannot wait for them either.
        let must = self.policy == InputPolicy::WithMessages;
        let lately = |at: Instant| at.elapsed() < SWITCH_PAUSE;
        if open.switching || (!must && open.switched.is_some_and(lately)) {
            return;
        }
        open.switching = true;
        open.switched = Some(Instant::now());
        let (bus, lane) = (self.bus.clone(), open.lane.clone());
        let switching = async move {
            let done = bus.set_lane_inputs(&lane, inputs).await;
            ErrandEnd::Switched {
                index,
                inputs,
                done,
            }
        };
        self.errands.push(switching.boxed());
        self.rest(index, SWITCH_LIMIT);
    }

    /// Looks whether a lane has a consumer.
    pub(super) fn check(&mut self, index: usize) {
        let Some(open) = self.open.get_mut(&index) else {
            return;
        };
        if std::mem::replace(&mut open.checking, true) {
            return;
        }
        let (bus, lane) = (self.bus.clone(), open.lane.clone());
        let checking = async move {
            let found = bus.has_consumer(&lane).await;
            ErrandEnd::Checked { index, found }
        };
        self.errands.push(checking.boxed());
    }

    pub(super) fn errand_done(&mut self, end: ErrandEnd) {
        match end {
            ErrandEnd::Switched {
                index,
                inputs,
                done,
            } => self.switched(index, inputs, done),
            ErrandEnd::Checked { index, found } => {
                if let Some(open) = self.open.get_mut(&index) {
                    open.checking = false;
                }
                match found {
                    // It is there, and nobody answered for it a moment ago.
                    Ok(true | false) => self.gone(index),
                    Err(error) => debug!(error, "a lane's consumer is not known to be there"),
                }
            }
        }
    }

    fn switched(&mut self, index: usize, inputs: LaneInputs, done: Result<bool, Cause>) {
        let Some(open) = self.open.get_mut(&index) else {
            return;
        };
        open.switching = false;
        match done {
            Ok(true) => {
                info!(lane = %open.lane, ?inputs, "the inputs of a lane come in another way");
                open.inputs = inputs;
                open.messages = Default::default();
                open.least = 0;
                self.wake(index);
                // What it should be may have changed meanwhile.
                self.reconsider_inputs(index);
            }
            Ok(false) => self.gone(index),
            Err(error) => {
                warn!(lane = %open.lane, ?inputs, error, "the inputs of a lane cannot be had otherwise yet");
                self.wake(index);
            }
        }
    }
}
