//! How many cores tasks ask for, by their priority.

use rota_wire::{Cpu, Priority, Resources};

/// Cores that the tasks of some priorities ask for; the others ask for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    cores: Vec<(Priority, Cpu)>,
}

/// Why demands were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be <priority>:<cores>,… with priorities 0 to 9, each once, and cores such as 2 or 500m"
)]
pub struct InvalidDemands;

impl std::str::FromStr for Demands {
    type Err = InvalidDemands;

    /// Parses `9:8,5:500m`.
    fn from_str(text: &str) -> Result<Self, InvalidDemands> {
        let mut cores: Vec<(Priority, Cpu)> = Vec::new();
        for part in text.split(',') {
            let (level, wanted) = part.split_once(':').ok_or(InvalidDemands)?;
            let level: u8 = level.trim().parse().map_err(|_| InvalidDemands)?;
            let priority = Priority::new(level).ok_or(InvalidDemands)?;
            let wanted: Cpu = wanted.trim().parse().map_err(|_| InvalidDemands)?;
            if cores.iter().any(|(known, _)| *known == priority) {
                return Err(InvalidDemands);
            }
            cores.push((priority, wanted));
        }
        Ok(Self { cores })
    }
}

impl Demands {
    /// What a task of a priority asks for.
    pub(crate) fn of(&self, priority: Priority) -> Resources {
        let found = self.cores.iter().find(|(known, _)| *known == priority);
        found.map_or(Resources::NONE, |(_, cpu)| Resources {
            cpu: *cpu,
            ..Resources::NONE
        })
    }

    /// The most that any asks for.
    pub(crate) fn largest(&self) -> Resources {
        let cpu = self.cores.iter().map(|(_, cpu)| *cpu).max();
        Resources {
            cpu: cpu.unwrap_or_default(),
            ..Resources::NONE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_found_by_priority_and_refused_unless_they_make_sense() {
        let demands: Demands = "9:8,5:500m".parse().expect("good");
        let cpu = |level| demands.of(Priority::new(level).expect("0 to 9")).cpu;
        assert_eq!((cpu(9), cpu(5), cpu(1)), (Cpu(8_000), Cpu(500), Cpu(0)));
        assert_eq!(demands.largest().cpu, Cpu(8_000));
        for bad in ["", "9", "9:much", "10:1", "9:1,9:2"] {
            assert_eq!(bad.parse::<Demands>(), Err(InvalidDemands), "{bad}");
        }
    }
}
