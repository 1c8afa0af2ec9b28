//! How large the inputs of a lane are, and whether they are better left in the stream.

use super::LaneInputs;

/// Above this mean, inputs are left in the stream: fetching one costs the server a request, which is less than
/// handing it over twice.
const APART_ABOVE_BYTES: f64 = 8.0 * 1024.0;
/// Below this mean they come along again.
const ALONG_BELOW_BYTES: f64 = 4.0 * 1024.0;
/// The newest size weighs so much, once there were as many.
const MEMORY: u32 = 64;

/// A mean in which the newest weigh most.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    seen: u32,
    value: f64,
}

impl Mean {
    pub(super) fn note(&mut self, bytes: usize) {
        self.seen = (self.seen + 1).min(MEMORY);
        self.value += (bytes as f64 - self.value) / f64::from(self.seen);
    }

    /// The mean, in whole bytes; nothing before the first.
    pub(super) fn bytes(&self) -> Option<usize> {
        (self.seen > 0).then_some(self.value.ceil() as usize)
    }

    /// How inputs of this mean should come, when they come like this now.
    pub(super) fn better(&self, now: LaneInputs) -> LaneInputs {
        match now {
            LaneInputs::Along if self.value > APART_ABOVE_BYTES => LaneInputs::Apart,
            LaneInputs::Apart if self.seen > 0 && self.value < ALONG_BELOW_BYTES => {
                LaneInputs::Along
            }
            LaneInputs::Along | LaneInputs::Apart => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_changes_when_its_mean_crosses_far_enough() {
        let mut mean = Mean::default();
        assert_eq!(mean.better(LaneInputs::Apart), LaneInputs::Apart);
        mean.note(9 * 1024);
        assert_eq!(mean.better(LaneInputs::Along), LaneInputs::Apart);
        let mut changes = 0;
        let mut now = LaneInputs::Apart;
        for _ in 0..500 {
            mean.note(6 * 1024);
            changes += usize::from(mean.better(now) != now);
            now = mean.better(now);
        }
        assert_eq!(changes, 0, "between the two it stays as it is");
        for _ in 0..500 {
            mean.note(1024);
            now = mean.better(now);
        }
        assert_eq!(now, LaneInputs::Along);
    }

    #[test]
    fn one_large_input_among_many_small_ones_changes_nothing_for_long() {
        let mut mean = Mean::default();
        for _ in 0..1_000 {
            mean.note(200);
        }
        mean.note(100 * 1024);
        assert_eq!(mean.better(LaneInputs::Along), LaneInputs::Along);
        assert_eq!(mean.bytes(), Some(1_797));
    }
}
