//! The numbers that a person gives, each with its rule: lengths of time, loads, shares, rates.
//!
//! What must hold: a value of one of these types keeps its rule, so that nothing behind the flags has to
//! look again.

use std::str::FromStr;

use rota_wire::Span;

/// Microseconds of the virtual clock in one unit, the mean service time: 100 seconds, so that the
/// milliseconds in which the scheduler is told of durations are fine enough.
pub(crate) const UNIT: f64 = 100_000_000.0;
/// The longest length of time that may be given.
const UNITS_MAX: f64 = 1_000_000.0;
/// The longest quantum that the scheduler takes: a day on its clock.
const QUANTUM_MAX: f64 = 864.0;

/// Why a number was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {rule}")]
pub struct InvalidQuantity {
    rule: &'static str,
}

/// A length of virtual time, in steps of a hundred thousandth of the mean service time. A person writes it
/// in mean service times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lapse {
    span: Span,
}

impl Lapse {
    /// No time at all.
    pub const ZERO: Self = Self {
        span: Span::from_ms(0),
    };

    /// So many mean service times.
    ///
    /// # Errors
    /// When it is negative, no number, or more than a million.
    pub fn new(units: f64) -> Result<Self, InvalidQuantity> {
        if (0.0..=UNITS_MAX).contains(&units) {
            let span = Span::from_ms((units * UNIT / 1_000.0).round() as u64);
            Ok(Self { span })
        } else {
            let rule = "0 to 1000000, in mean service times";
            Err(InvalidQuantity { rule })
        }
    }

    /// Parses a quantum.
    ///
    /// # Errors
    /// When it is not more than zero, no number, or more than the scheduler takes.
    pub fn parse_quantum(text: &str) -> Result<Self, InvalidQuantity> {
        let units = number(text);
        let lapse = Self::new(units).unwrap_or(Self::ZERO);
        if lapse == Self::ZERO || units > QUANTUM_MAX {
            let rule = "more than 0 and at most 864, in mean service times";
            Err(InvalidQuantity { rule })
        } else {
            Ok(lapse)
        }
    }

    /// In microseconds of the virtual clock.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.span.ms() * 1_000
    }

    /// As the scheduler is told.
    #[must_use]
    pub const fn span(self) -> Span {
        self.span
    }
}

impl FromStr for Lapse {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::new(number(text))
    }
}

/// How long a task waits to gain one level of priority; nothing means that it gains none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ageing(pub Option<Lapse>);

impl FromStr for Ageing {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        if text == "never" {
            return Ok(Self(None));
        }
        let lapse = text.parse::<Lapse>();
        let lapse = lapse.ok().filter(|lapse| *lapse > Lapse::ZERO);
        let rule = "never, or more than 0 and at most 1000000, in mean service times";
        let ageing = lapse.map(|lapse| Self(Some(lapse)));
        ageing.ok_or(InvalidQuantity { rule })
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

/// A task's work: units in steps of a millisecond, as tasks say how long they take, and at least one.
pub(crate) fn to_work(units: f64) -> u64 {
    ((units * UNIT / 1_000.0).round() as u64).max(1) * 1_000
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
        for bad in ["0", "0.000001", "1000", "short"] {
            assert!(Lapse::parse_quantum(bad).is_err(), "{bad}");
        }
        assert_eq!("0".parse(), Ok(Lapse::ZERO));
        assert_eq!("0.25".parse::<Lapse>().expect("good").micros(), 25_000_000);
        for bad in ["-1", "inf", "1e7", "soon"] {
            assert!(bad.parse::<Lapse>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ageing_takes_some_time_or_never_happens() {
        assert_eq!("never".parse(), Ok(Ageing(None)));
        let ageing: Ageing = "10".parse().expect("good");
        assert_eq!(ageing.0.expect("some").span(), Span::from_secs(1_000));
        assert!("0".parse::<Ageing>().is_err() && "soon".parse::<Ageing>().is_err());
    }

    #[test]
    fn a_share_of_a_count_is_rounded_down() {
        assert_eq!(Share::new(0.1).expect("good").of(19), 1);
        assert!(Share::new(1.0).is_err());
    }
}
