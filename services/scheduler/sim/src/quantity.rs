//! The numbers that a person gives, each with its rule: lengths of time, loads, shares, rates.
//!
//! What must hold: a value of one of these types keeps its rule, so that nothing behind the flags has to
//! look again.

use std::str::FromStr;

/// Microseconds of the virtual clock in one unit, the mean service time.
pub(crate) const UNIT: f64 = 1_000_000.0;
/// The longest length of time that may be given: it leaves room for a billion of them on the clock.
const UNITS_MAX: f64 = 1_000_000.0;

/// Why a number was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {rule}")]
pub struct InvalidQuantity {
    rule: &'static str,
}

/// A length of virtual time. A person writes it in mean service times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lapse {
    micros: u64,
}

impl Lapse {
    /// No time at all.
    pub const ZERO: Self = Self { micros: 0 };

    /// So many mean service times.
    ///
    /// # Errors
    /// When it is negative, no number, or more than a million.
    pub fn new(units: f64) -> Result<Self, InvalidQuantity> {
        if (0.0..=UNITS_MAX).contains(&units) {
            let micros = to_micros(units);
            Ok(Self { micros })
        } else {
            let rule = "0 to 1000000, in mean service times";
            Err(InvalidQuantity { rule })
        }
    }

    /// Parses one that may not be zero.
    ///
    /// # Errors
    /// When it is not more than zero, no number, or more than a million.
    pub fn parse_positive(text: &str) -> Result<Self, InvalidQuantity> {
        let lapse = text.parse().unwrap_or(Self::ZERO);
        if lapse == Self::ZERO {
            let rule = "more than 0 and at most 1000000, in mean service times";
            Err(InvalidQuantity { rule })
        } else {
            Ok(lapse)
        }
    }

    /// In microseconds of the virtual clock.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.micros
    }
}

impl FromStr for Lapse {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::new(number(text))
    }
}

/// What arrives as a share of what can be served: more than 0, less than 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load(f64);

impl Load {
    /// A load.
    ///
    /// # Errors
    /// When it is not more than 0 and less than 1: without end, the queue would grow for ever.
    pub fn new(load: f64) -> Result<Self, InvalidQuantity> {
        if load > 0.0 && load < 1.0 {
            Ok(Self(load))
        } else {
            let rule = "more than 0 and less than 1: else the queue grows without end";
            Err(InvalidQuantity { rule })
        }
    }

    /// As a number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Load {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::new(number(text))
    }
}

/// A share that leaves something over: 0 or more, less than 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share(f64);

impl Share {
    /// A share.
    ///
    /// # Errors
    /// When it is less than 0, or 1 or more.
    pub fn new(share: f64) -> Result<Self, InvalidQuantity> {
        if (0.0..1.0).contains(&share) {
            Ok(Self(share))
        } else {
            let rule = "at least 0 and less than 1";
            Err(InvalidQuantity { rule })
        }
    }

    /// As a number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }

    /// So much of a number of things, rounded down.
    #[must_use]
    pub fn of(self, count: u64) -> u64 {
        (count as f64 * self.0) as u64
    }
}

impl FromStr for Share {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::new(number(text))
    }
}

/// How often something happens in one mean service time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// A rate.
    ///
    /// # Errors
    /// When it is less than 0 or more than 1: a worker that lives shorter than a task gets nothing done.
    pub fn new(rate: f64) -> Result<Self, InvalidQuantity> {
        if (0.0..=1.0).contains(&rate) {
            Ok(Self(rate))
        } else {
            let rule = "0 to 1, in losses of each worker in a mean service time";
            Err(InvalidQuantity { rule })
        }
    }

    /// As a number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::new(number(text))
    }
}

/// What is no number becomes one that keeps no rule.
pub(crate) fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or(f64::NAN)
}

/// Units as whole microseconds.
pub(crate) fn to_micros(units: f64) -> u64 {
    (units * UNIT).round() as u64
}

/// Microseconds in units.
pub(crate) fn to_units(micros: u64) -> f64 {
    micros as f64 / UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_lies_between_nothing_and_all() {
        for bad in ["0", "1", "1.2", "-0.5", "nan", "much", ""] {
            assert!(bad.parse::<Load>().is_err(), "{bad}");
        }
        assert_eq!("0.9".parse::<Load>().expect("good").value(), 0.9);
    }

    #[test]
    fn a_quantum_of_zero_is_refused_and_a_delay_of_zero_is_not() {
        assert!(Lapse::parse_positive("0").is_err());
        assert!(
            Lapse::parse_positive("0.0000001").is_err(),
            "less than the clock's step"
        );
        assert_eq!("0".parse(), Ok(Lapse::ZERO));
        assert_eq!("0.25".parse::<Lapse>().expect("good").micros(), 250_000);
        for bad in ["-1", "inf", "1e7", "soon"] {
            assert!(bad.parse::<Lapse>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_of_a_count_is_rounded_down() {
        assert_eq!(Share::new(0.1).expect("good").of(19), 1);
        assert!(Share::new(1.0).is_err());
    }
}
