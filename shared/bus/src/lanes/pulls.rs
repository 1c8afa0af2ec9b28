//! What a lane is owed: what was asked for, what has come, and what an end says is not coming.
//!
//! ```text
//! wanted ──opened: so many, and so many bytes──► open pulls ──message──► come
//!    ▲                                             │
//!    └──the bytes were used up─────────────────────┤
//!                     nothing was left, or cut ────┴──► unused
//! ```
//!
//! The server serves the pulls of a lane in turn, and a message does not tell to which it belongs. So what
//! has come is counted for the lane, and given to a pull when its end says what it did not get.
//!
//! What must hold: wanted + owed by open pulls = asked for - come - told to be unused.

use std::collections::VecDeque;

use tokio::time::Instant;

/// Pulls of a lane at a time: while one runs out, the next is there already.
pub(super) const OPEN_MAX: usize = 3;

/// A pull that the server has.
#[derive(Debug)]
pub(super) struct Pull {
    /// Its name within the reader.
    pub(super) number: u64,
    pub(super) count: u32,
    /// The bytes that it may bring.
    pub(super) bytes: usize,
    /// When its end is not waited for any longer.
    pub(super) ends: Instant,
}

/// What an end says of a pull: messages and bytes that it might still have brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) messages: u32,
    pub(super) bytes: usize,
}

/// The pulls of one lane.
#[derive(Debug, Default)]
pub(super) struct PullBook {
    wanted: u32,
    open: VecDeque<Pull>,
    /// Messages that have come and belong to open pulls.
    came: u32,
    /// And their bytes.
    came_bytes: usize,
}

impl PullBook {
    /// The owner wants so many more.
    pub(super) fn want(&mut self, count: u32) {
        self.wanted = self.wanted.saturating_add(count);
    }

    /// What is wanted and can be asked for now.
    pub(super) fn to_ask(&self) -> u32 {
        if self.open.len() < OPEN_MAX {
            self.wanted
        } else {
            0
        }
    }

    /// Bytes that may be on their way.
    pub(super) fn held(&self) -> usize {
        self.granted().saturating_sub(self.came_bytes)
    }

    /// Messages that the server may still send.
    pub(super) fn owed(&self) -> u32 {
        self.asked().saturating_sub(self.came)
    }

    /// The server was asked.
    pub(super) fn opened(&mut self, pull: Pull) {
        self.wanted = self.wanted.saturating_sub(pull.count);
        self.open.push_back(pull);
    }

    /// A message has come.
    pub(super) fn message(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(1);
        self.came_bytes = self.came_bytes.saturating_add(bytes);
        if self.came >= self.asked() {
            self.clear();
        } else if self.came_bytes == self.granted() {
            // The server ends a pull without a word when its last byte is used.
            self.wanted = self.wanted.saturating_add(self.owed());
            self.clear();
        }
    }

    /// The end of a pull that is open: it has brought all that it could. What it did not bring is wanted still.
    pub(super) fn exhausted(&mut self, number: u64, left: Left) -> Option<Pull> {
        let pull = self.remove(number, left)?;
        self.wanted = self.wanted.saturating_add(left.messages.min(pull.count));
        Some(pull)
    }

    /// The end of a pull: there was nothing left in the lane. Tells how many will not come, all that are wanted
    /// included; nothing when the pull was not open.
    pub(super) fn nothing_left(&mut self, number: u64, left: Option<Left>) -> Option<u32> {
        let position = self.open.iter().position(|pull| pull.number == number)?;
        let asked = self.open[position].count;
        let unused = match left {
            Some(left) => {
                self.remove(number, left)?;
                left.messages.min(asked)
            }
            // It does not say, so it was the only one or brought nothing.
            None if self.open.len() == 1 => {
                let owed = self.owed();
                self.clear();
                owed
            }
            None => {
                let (messages, bytes) = (asked, self.open[position].bytes);
                self.remove(number, Left { messages, bytes })?;
                asked
            }
        };
        Some(unused + std::mem::take(&mut self.wanted))
    }

    /// All open pulls are void. Tells how many will not come, all that are wanted included.
    pub(super) fn cut(&mut self) -> u32 {
        let unused = self.owed() + std::mem::take(&mut self.wanted);
        self.clear();
        unused
    }

    /// Whether a pull is open.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.open.iter().any(|pull| pull.number == number)
    }

    /// Whether a pull is open whose end should have been heard of by now.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.open.iter().any(|pull| pull.ends <= now)
    }

    fn remove(&mut self, number: u64, left: Left) -> Option<Pull> {
        let position = self.open.iter().position(|pull| pull.number == number)?;
        let pull = self.open.remove(position)?;
        let brought = pull.count.saturating_sub(left.messages);
        self.came = self.came.saturating_sub(brought);
        self.came_bytes = self
            .came_bytes
            .saturating_sub(pull.bytes.saturating_sub(left.bytes));
        if self.open.is_empty() {
            self.clear();
        }
        Some(pull)
    }

    fn clear(&mut self) {
        self.open.clear();
        self.came = 0;
        self.came_bytes = 0;
    }

    fn asked(&self) -> u32 {
        self.open.iter().map(|pull| pull.count).sum()
    }

    fn granted(&self) -> usize {
        self.open.iter().map(|pull| pull.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pull(number: u64, count: u32, bytes: usize) -> Pull {
        Pull {
            number,
            count,
            bytes,
            ends: Instant::now() + Duration::from_secs(9),
        }
    }

    fn left(messages: u32, bytes: usize) -> Left {
        Left { messages, bytes }
    }

    fn book(pulls: Vec<Pull>) -> PullBook {
        let mut book = PullBook::default();
        for pull in pulls {
            book.want(pull.count);
            book.opened(pull);
        }
        book
    }

    #[test]
    fn what_has_come_is_owed_no_longer_and_frees_its_bytes() {
        let mut book = book(vec![pull(1, 2, 1_000)]);
        assert_eq!((book.owed(), book.held(), book.to_ask()), (2, 1_000, 0));
        book.message(300);
        assert_eq!((book.owed(), book.held()), (1, 700));
        book.message(300);
        assert_eq!((book.owed(), book.held()), (0, 0), "all has come");
        assert_eq!(book.nothing_left(1, Some(left(0, 400))), None, "a late end");
    }

    #[test]
    fn a_pull_whose_bytes_are_used_up_is_asked_for_again() {
        let mut book = book(vec![pull(1, 10, 1_000)]);
        book.message(900);
        assert_eq!(
            book.exhausted(1, left(9, 100)).map(|pull| pull.number),
            Some(1)
        );
        assert_eq!((book.owed(), book.held(), book.to_ask()), (0, 0, 9));
    }

    #[test]
    fn a_pull_that_ends_without_a_word_at_its_last_byte_is_noticed() {
        let mut book = book(vec![pull(1, 10, 1_000)]);
        book.message(500);
        book.message(500);
        assert_eq!((book.owed(), book.held(), book.to_ask()), (0, 0, 8));
    }

    #[test]
    fn an_end_gives_a_pull_its_share_of_what_has_come_to_its_lane() {
        let mut book = book(vec![pull(1, 4, 1_000), pull(2, 4, 1_000)]);
        for _ in 0..5 {
            book.message(100);
        }
        assert_eq!((book.owed(), book.held()), (3, 1_500));
        // The first got three, so the second has got two.
        assert_eq!(book.nothing_left(1, Some(left(1, 700))), Some(1));
        assert_eq!((book.owed(), book.held()), (2, 800));
        assert_eq!(book.nothing_left(2, Some(left(2, 800))), Some(2));
        assert_eq!((book.owed(), book.held()), (0, 0));
    }

    #[test]
    fn when_nothing_is_left_what_was_not_asked_for_yet_is_unused_too() {
        let mut book = book(vec![pull(1, 4, 1_000)]);
        book.want(6);
        book.message(100);
        assert_eq!(book.nothing_left(1, None), Some(3 + 6));
        assert_eq!(book.to_ask(), 0);
    }

    #[test]
    fn a_cut_voids_all_pulls() {
        let mut book = book(vec![pull(1, 4, 1_000), pull(2, 4, 1_000)]);
        book.message(100);
        book.want(5);
        assert_eq!(book.cut(), 7 + 5);
        assert_eq!((book.owed(), book.held(), book.to_ask()), (0, 0, 0));
    }

    #[test]
    fn only_so_many_pulls_are_open_at_a_time() {
        let pulls = (0..OPEN_MAX as u64).map(|number| pull(number, 1, 10));
        let mut book = book(pulls.collect());
        book.want(5);
        assert_eq!(book.to_ask(), 0);
        book.message(10);
        assert_eq!(
            book.exhausted(0, left(0, 0)).map(|pull| pull.count),
            Some(1)
        );
        assert_eq!(book.to_ask(), 5);
    }
}
