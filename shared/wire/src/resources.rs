//! What an attempt needs and what a worker has beside slots: cores, memory, labels.
//!
//! People write cores as `2`, `0.5` or `500m`, and memory as `512MiB`, `2GB` or plain bytes. On the wire they
//! are thousandths of a core and bytes. Zero means that nothing was said.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most cores that may be asked for or had.
const CPU_MILLI_MAX: u32 = 1_000_000_000;
const LABEL_BYTES_MAX: usize = 64;
/// The most labels that a task may require.
pub const REQUIRES_MAX: usize = 16;

/// An amount of cores and of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Cores.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
}

impl Resources {
    /// Nothing of anything.
    pub const NONE: Self = Self {
        cpu: Cpu(0),
        memory: Memory(0),
    };

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Both together, or as much as can be counted.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu: Cpu(self.cpu.0.saturating_add(other.cpu.0)),
            memory: Memory(self.memory.0.saturating_add(other.memory.0)),
        }
    }

    /// What is left of this without the other; nothing is less than zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu: Cpu(self.cpu.0.saturating_sub(other.cpu.0)),
            memory: Memory(self.memory.0.saturating_sub(other.memory.0)),
        }
    }

    /// Whether there is room for this in the other, in each of the two.
    #[must_use]
    pub const fn fits(self, room: Self) -> bool {
        self.cpu.0 <= room.cpu.0 && self.memory.0 <= room.memory.0
    }
}

/// Cores, in thousandths.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Cpu(pub u32);

/// Bytes of memory.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Memory(pub u64);

/// What a worker carries and a task may require: a key, or a key and a value, such as `gpu` or `zone=eu`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Label(String);

/// Why a text is no amount of cores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be cores such as 2, 0.5 or 500m, at most 1000000")]
pub struct InvalidCpu;

/// Why a text is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be bytes, with a unit if wanted: 1048576, 512MiB, 2GB")]
pub struct InvalidMemory;

/// Why a text is not a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a key or key=value, each of A-Z a-z 0-9 _ - ., at most 64 bytes in all")]
pub struct InvalidLabel;

impl FromStr for Cpu {
    type Err = InvalidCpu;

    fn from_str(text: &str) -> Result<Self, InvalidCpu> {
        let text = text.trim();
        let milli = match text.strip_suffix('m') {
            Some(milli) => plain(milli).and_then(|milli| milli.parse().ok()),
            None => thousandths(text),
        };
        let milli = milli.filter(|milli| *milli <= CPU_MILLI_MAX);
        milli.map(Self).ok_or(InvalidCpu)
    }
}

/// A decimal number with at most three digits behind the point.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let (whole, part) = (plain(whole)?, plain(part).filter(|part| part.len() <= 3)?);
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(part)
}

fn plain(digits: &str) -> Option<&str> {
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    good.then_some(digits)
}

impl FromStr for Memory {
    type Err = InvalidMemory;

    fn from_str(text: &str) -> Result<Self, InvalidMemory> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let number: u64 = number.parse().map_err(|_| InvalidMemory)?;
        let scale: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "TiB" | "Ti" => 1 << 40,
            _ => return Err(InvalidMemory),
        };
        number.checked_mul(scale).map(Self).ok_or(InvalidMemory)
    }
}

impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let good_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let part = |part: &str| !part.is_empty() && part.chars().all(good_char);
        let good = match text.split_once('=') {
            None => part(text),
            Some((key, value)) => part(key) && part(value),
        };
        let good = good && text.len() <= LABEL_BYTES_MAX;
        good.then(|| Self(text.to_owned())).ok_or(InvalidLabel)
    }
}

impl TryFrom<String> for Label {
    type Error = InvalidLabel;

    fn try_from(text: String) -> Result<Self, InvalidLabel> {
        text.parse()
    }
}

impl Label {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000, self.0 % 1_000);
        if part == 0 {
            write!(f, "{whole}")
        } else {
            let part = format!("{part:03}");
            write!(f, "{whole}.{}", part.trim_end_matches('0'))
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let whole = |shift: u32| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match units.into_iter().find(|(_, shift)| whole(*shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_in_thousandths_and_written_as_people_do() {
        for (text, milli, written) in [
            ("2", 2_000, "2"),
            ("0.5", 500, "0.5"),
            ("1.25", 1_250, "1.25"),
            ("250m", 250, "0.25"),
            ("0", 0, "0"),
        ] {
            let cpu: Cpu = text.parse().expect(text);
            assert_eq!((cpu, cpu.to_string().as_str()), (Cpu(milli), written));
        }
        for bad in [
            "",
            "-1",
            "1.2345",
            "1e3",
            ".5",
            "1.",
            "m",
            "99999999999",
            "+1",
        ] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_is_read_with_units_and_read_back_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("512MiB", 512 << 20),
            ("2Gi", 2 << 30),
            ("3 GB", 3_000_000_000),
        ] {
            let memory: Memory = text.parse().expect(text);
            assert_eq!(memory, Memory(bytes));
            assert_eq!(memory.to_string().parse(), Ok(memory));
        }
        for bad in ["", "MiB", "-1", "1.5GiB", "1 XB", "99999999TiB"] {
            assert!(bad.parse::<Memory>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_demand_fits_where_each_of_its_parts_does() {
        let amount = |cpu, memory| Resources {
            cpu: Cpu(cpu),
            memory: Memory(memory),
        };
        assert!(amount(1, 1).fits(amount(1, 1)));
        assert!(!amount(2, 1).fits(amount(1, 9)));
        assert!(!amount(1, 2).fits(amount(9, 1)));
        assert_eq!(amount(3, 5).minus(amount(1, 9)), amount(2, 0));
        assert_eq!(amount(3, 5).plus(amount(1, 9)), amount(4, 14));
    }

    #[test]
    fn labels_are_keys_or_keys_with_values() {
        for good in ["gpu", "zone=eu-1", "a.b=c_d"] {
            assert_eq!(good.parse::<Label>().expect(good).as_str(), good);
        }
        for bad in ["", "=", "zone=", "=eu", "a b", "a=b=c", &"x".repeat(65)] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }
}
