//! How many servers keep each stream: a number that can vote.

use std::fmt;
use std::str::FromStr;

/// 1, 3 or 5. One by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas(usize);

/// No number of servers that can vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1, 3 or 5")]
pub struct InvalidReplicas;

impl Replicas {
    /// 1, 3 or 5.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<usize> for Replicas {
    type Error = InvalidReplicas;

    fn try_from(count: usize) -> Result<Self, InvalidReplicas> {
        match count {
            1 | 3 | 5 => Ok(Self(count)),
            _ => Err(InvalidReplicas),
        }
    }
}

impl FromStr for Replicas {
    type Err = InvalidReplicas;

    fn from_str(text: &str) -> Result<Self, InvalidReplicas> {
        let count: usize = text.parse().map_err(|_| InvalidReplicas)?;
        count.try_into()
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_can_vote_are_taken() {
        for good in ["1", "3", "5"] {
            let replicas: Replicas = good.parse().expect("it can vote");
            assert_eq!(replicas.to_string(), good);
        }
        for bad in ["", "0", "2", "4", "7", "-1", "many"] {
            assert_eq!(bad.parse::<Replicas>(), Err(InvalidReplicas), "{bad}");
        }
    }
}
