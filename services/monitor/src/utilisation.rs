//! How much of the fleet is in use, by the textbook's formula, in integers.
//!
//! With R the capacity of each worker and D the demand on it,
//!
//! ```text
//! free = (ΣR − ΣD) / ΣR        used = 1 − free
//! ```
//!
//! once each for slots, CPU and memory. What must hold: free and used add up to exactly 1000 permille,
//! nobody's demand counts for more than its capacity, and without any capacity there is no share.
//!
//! The figures are per worker as reported. A heartbeat does not name its machine, so a machine that
//! runs several workers counts once for each of them: the shares of CPU and memory are then weighted
//! towards it, and sums of cores or bytes would be too high. That is why only shares are shown.

/// Shares are in thousandths.
const WHOLE: u128 = 1_000;

/// The sums of capacities and demands. Both are in the same unit, whichever it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    capacity: u128,
    demand: u128,
}

/// Which part is free and which is used; they add up to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) free_permille: u16,
    pub(crate) used_permille: u16,
}

impl Load {
    /// Adds one worker. One that claims to use more than it has is full: it must not hide what is
    /// free elsewhere.
    pub(crate) fn add(&mut self, capacity: u64, demand: u64) {
        self.capacity += u128::from(capacity);
        self.demand += u128::from(demand.min(capacity));
    }

    /// ΣR.
    pub(crate) const fn capacity(self) -> u128 {
        self.capacity
    }

    /// ΣD.
    pub(crate) const fn demand(self) -> u128 {
        self.demand
    }

    /// Free and used, rounded to the nearest thousandth; nothing without capacity.
    pub(crate) fn shares(self) -> Option<Shares> {
        if self.capacity == 0 {
            return None;
        }
        let free = (self.capacity - self.demand) * WHOLE;
        let free = (free + self.capacity / 2) / self.capacity;
        let free_permille = u16::try_from(free).expect("a part of a whole is at most 1000");
        Some(Shares {
            free_permille,
            used_permille: 1_000 - free_permille,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(workers: &[(u64, u64)]) -> Option<(u16, u16)> {
        let mut load = Load::default();
        for (capacity, demand) in workers {
            load.add(*capacity, *demand);
        }
        load.shares()
            .map(|shares| (shares.free_permille, shares.used_permille))
    }

    #[test]
    fn free_is_what_the_demands_leave_of_the_capacities() {
        assert_eq!(shares(&[(8, 8), (8, 6)]), Some((125, 875)));
        assert_eq!(shares(&[(4, 0)]), Some((1_000, 0)));
        assert_eq!(shares(&[(4, 4), (12, 0)]), Some((750, 250)));
    }

    #[test]
    fn without_capacity_there_is_no_share() {
        assert_eq!(shares(&[]), None);
        assert_eq!(shares(&[(0, 0), (0, 5)]), None);
    }

    #[test]
    fn a_worker_that_claims_too_much_does_not_hide_what_is_free_elsewhere() {
        assert_eq!(shares(&[(4, 400), (4, 0)]), Some((500, 500)));
    }

    #[test]
    fn free_and_used_add_up_to_the_whole_however_they_round() {
        for demand in 0..=7 {
            let (free, used) = shares(&[(7, demand)]).expect("seven is a capacity");
            assert_eq!(free + used, 1_000, "{demand} of 7");
        }
        assert_eq!(shares(&[(3, 1)]), Some((667, 333)));
        assert_eq!(shares(&[(3, 2)]), Some((333, 667)));
    }

    #[test]
    fn the_largest_figures_that_a_frame_can_carry_do_not_overflow() {
        let workers = vec![(u64::MAX, u64::MAX / 2); 10_000];
        assert_eq!(shares(&workers), Some((500, 500)));
    }
}
