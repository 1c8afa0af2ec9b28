//! The load of the machine that the worker runs on, as its heartbeats tell it.
//!
//! Whole numbers only, each with its unit. In a container, on an old kernel or away from Linux much
//! cannot be read, and is absent; only the memory as a whole is zero then.
//!
//! In a container with a memory limit the numbers for memory are those of the limit. The busy
//! share of the CPU and the pressure are those of the whole machine.

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod linux;

use rota_wire::fleet::MachineLoad;

/// Takes readings, and remembers what the next one is compared to.
#[derive(Debug, Default)]
pub(crate) struct MachineSampler {
    ticks: Option<CpuTicks>,
    /// Whether it reads nothing.
    is_blind: bool,
}

/// What the CPUs did since the machine was started, in ticks of all cores together.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTicks {
    busy: u64,
    idle: u64,
}

impl MachineSampler {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One that tells of a calm machine, whatever the real one does.
    pub(crate) fn blind() -> Self {
        let is_blind = true;
        Self {
            is_blind,
            ..Self::default()
        }
    }

    /// Reads the load. Reads a handful of small files of `/proc`; does not wait for anything.
    pub(crate) fn sample(&mut self) -> MachineLoad {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut load = MachineLoad {
            cpu_milli: u32::try_from(cores)
                .unwrap_or(u32::MAX)
                .saturating_mul(1_000),
            ..MachineLoad::default()
        };
        if !self.is_blind {
            self.sample_proc(&mut load);
        }
        load
    }

    #[cfg(not(target_os = "linux"))]
    fn sample_proc(&mut self, _load: &mut MachineLoad) {}

    /// The busy share between two readings of the ticks.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    fn busy_permille(&mut self, now: CpuTicks) -> Option<u16> {
        let before = self.ticks.replace(now)?;
        let busy = now.busy.saturating_sub(before.busy);
        // Counters of idle time may run backwards.
        let all = busy.saturating_add(now.idle.saturating_sub(before.idle));
        u16::try_from(busy.saturating_mul(1000).checked_div(all)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_that_since_the_reading_before() {
        let mut sampler = MachineSampler::new();
        assert_eq!(
            sampler.busy_permille(CpuTicks {
                busy: 5000,
                idle: 100
            }),
            None
        );
        assert_eq!(
            sampler.busy_permille(CpuTicks {
                busy: 5030,
                idle: 170
            }),
            Some(300)
        );
        assert_eq!(
            sampler.busy_permille(CpuTicks {
                busy: 5030,
                idle: 180
            }),
            Some(0)
        );
    }

    #[test]
    fn counters_that_stand_still_or_run_backwards_do_no_harm() {
        let mut sampler = MachineSampler::new();
        let ticks = CpuTicks {
            busy: 100,
            idle: 100,
        };
        assert_eq!(sampler.busy_permille(ticks), None);
        assert_eq!(sampler.busy_permille(ticks), None);
        assert_eq!(
            sampler.busy_permille(CpuTicks {
                busy: 110,
                idle: 90
            }),
            Some(1000)
        );
        assert_eq!(
            sampler.busy_permille(CpuTicks { busy: 0, idle: 190 }),
            Some(0)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_linux_machine_tells_its_cores_memory_and_in_time_its_busy_share() {
        let mut sampler = MachineSampler::new();
        let first = sampler.sample();
        assert!(first.cpu_milli >= 1_000);
        assert_eq!(first.cpu_busy_permille, None);
        let available = first.memory_available_bytes;
        assert!(
            available.is_some_and(|bytes| bytes <= first.memory_bytes),
            "{first:?}"
        );
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let busy = loop {
            if let Some(busy) = sampler.sample().cpu_busy_permille {
                break busy;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the ticks do not go on"
            );
        };
        assert!(busy <= 1000, "{busy}");
    }
}
