//! Workers that have left: what must not be forgotten of them should they come back.
//!
//! A heartbeat that was under way for long does not revive its worker, and a frame's number is not used
//! again. Of more than [`DEPARTED_MAX`] the one that left longest ago is forgotten.

use std::collections::{BTreeMap, VecDeque};

use rota_wire::WorkerId;

const DEPARTED_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Departed {
    last: BTreeMap<WorkerId, Last>,
    /// In the order in which they left; one who left again is here twice.
    order: VecDeque<WorkerId>,
    /// The highest number of a frame that was sent to one who is forgotten.
    frames_forgotten: u64,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    heartbeat: u64,
    frames: u64,
    /// How often it is in the order.
    times: u32,
}

impl Departed {
    pub(super) fn remember(&mut self, id: &WorkerId, heartbeat: u64, frames: u64) {
        let times = self.last.get(id).map_or(0, |last| last.times) + 1;
        let last = Last {
            heartbeat,
            frames,
            times,
        };
        self.last.insert(id.clone(), last);
        self.order.push_back(id.clone());
        while self.order.len() > DEPARTED_MAX {
            self.forget_oldest();
        }
    }

    pub(super) fn heartbeat_of(&self, id: &WorkerId) -> u64 {
        self.last.get(id).map_or(0, |last| last.heartbeat)
    }

    /// The number of the last frame that it was sent, or a higher one.
    pub(super) fn frames_of(&self, id: &WorkerId) -> u64 {
        self.last
            .get(id)
            .map_or(self.frames_forgotten, |last| last.frames)
    }

    fn forget_oldest(&mut self) {
        let Some(id) = self.order.pop_front() else {
            return;
        };
        let Some(last) = self.last.get_mut(&id) else {
            return;
        };
        last.times -= 1;
        if last.times == 0 {
            self.frames_forgotten = self.frames_forgotten.max(last.frames);
            self.last.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: usize) -> WorkerId {
        WorkerId::parse(&format!("w{number}")).expect("a good name")
    }

    #[test]
    fn the_one_that_left_longest_ago_is_forgotten_and_its_frames_are_not_numbered_again() {
        let mut departed = Departed::default();
        for number in 0..DEPARTED_MAX {
            departed.remember(&worker(number), 7, 100);
        }
        departed.remember(&worker(0), 8, 200);
        departed.remember(&worker(DEPARTED_MAX), 7, 1);
        assert_eq!(
            departed.heartbeat_of(&worker(0)),
            8,
            "it has left a second time"
        );
        assert_eq!(departed.heartbeat_of(&worker(1)), 0);
        assert_eq!(departed.heartbeat_of(&worker(2)), 7);
        assert_eq!(departed.frames_of(&worker(1)), 100);
        assert_eq!(departed.last.len(), DEPARTED_MAX);
    }
}
