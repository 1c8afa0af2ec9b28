//! Dialects: which versions of frames a peer reads and writes.
//!
//! Services of two releases run side by side while an installation is upgraded, in any order. A leader tells its
//! dialect in its lease, a worker by the version of its heartbeats, and each writes what the other reads.

use std::fmt;

/// The frames that a program reads and writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Heartbeats and assign frames of version 1: inputs are inline, what is held has no name.
    V1,
    /// This program's own.
    #[default]
    V2,
}

impl Dialect {
    /// Reads the word that a leader writes into its lease; leaders of the first dialect write none.
    #[must_use]
    pub fn parse(word: Option<&str>) -> Self {
        // A newer leader reads ours too.
        match word.and_then(|word| word.parse::<u32>().ok()) {
            None | Some(0..=1) => Self::V1,
            Some(2..) => Self::V2,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1",
            Self::V2 => "2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_says_nothing_or_nonsense_is_taken_for_an_old_one() {
        for old in [None, Some("1"), Some("x"), Some("")] {
            assert_eq!(Dialect::parse(old), Dialect::V1, "{old:?}");
        }
        for new in [Some("2"), Some("7")] {
            assert_eq!(Dialect::parse(new), Dialect::V2, "{new:?}");
        }
        assert_eq!(Dialect::parse(Some(&Dialect::V2.to_string())), Dialect::V2);
    }
}
