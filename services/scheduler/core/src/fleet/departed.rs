//! Workers that have left: what must not be forgotten of them should they come back.
//!
//! A heartbeat that was under way for long does not revive its worker, and a frame's number is not used
//! again. Of more than [`DEPARTED_MAX`] the one that left longest ago is forgotten.

use std::collections::{BTreeMap, VecDeque};

use rota_wire::{Micros, WorkerId};

const DEPARTED_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Departed {
    last: BTreeMap<WorkerId, Last>,
    /// In the order in which they left; one who left again is here twice.
    order: VecDeque<WorkerId>,
    /// The highest number of a frame that was sent to one who is forgotten.
    frames_forgotten: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Last {
    heartbeat: u64,
    frames: u64,
    /// Whether it was lost and not heard since.
    lost: bool,
    /// It has died: until then nothing that it seems to say is new.
    dead_until: Micros,
    /// How often it is in the order.
    times: u32,
}

impl Departed {
    pub(super) fn remember(&mut self, id: &WorkerId, heartbeat: u64, frames: u64) {
        let last = self.last.entry(id.clone()).or_default();
        (last.heartbeat, last.frames) = (heartbeat, frames);
        last.times += 1;
        self.order.push_back(id.clone());
        while self.order.len() > DEPARTED_MAX {
            self.forget_oldest();
        }
    }

    pub(super) fn heartbeat_of(&self, id: &WorkerId) -> u64 {
        self.last.get(id).map_or(0, |last| last.heartbeat)
    }

    /// It fell silent, or has been heard since.
    pub(super) fn set_lost(&mut self, id: &WorkerId, lost: bool) {
        if let Some(last) = self.last.get_mut(id) {
            last.lost = lost;
        }
    }

    pub(super) fn was_lost(&self, id: &WorkerId) -> bool {
        self.last.get(id).is_some_and(|last| last.lost)
    }

    pub(super) fn set_dead(&mut self, id: &WorkerId, until: Micros) {
        if let Some(last) = self.last.get_mut(id) {
            last.dead_until = until;
        }
    }

    pub(super) fn is_dead(&self, id: &WorkerId, now: Micros) -> bool {
        self.last.get(id).is_some_and(|last| now < last.dead_until)
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
