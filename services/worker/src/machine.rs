//! The load of the machine that the worker runs on, as its heartbeats tell it.
//!
//! Whole numbers only, each with its unit. What cannot be read is unknown, never zero: in a
//! container, on an old kernel or away from Linux much may be missing.
//!
//! In a container with a memory limit the numbers for memory are those of the limit. The busy
//! share of the CPU and the pressure are those of the whole machine.

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod linux;

/// One reading. Pressure is the share of the last ten seconds in which at least some processes
/// waited for the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineLoad {
    /// Cores that this process may use, a CPU quota counted in. At least 1.
    pub cpu_cores: u32,
    /// How busy all cores together were since the reading before; unknown in the first one.
    pub cpu_busy_permille: Option<u16>,
    pub memory_total_bytes: Option<u64>,
    /// What can still be used without swapping.
    pub memory_available_bytes: Option<u64>,
    pub cpu_pressure_permille: Option<u16>,
    pub memory_pressure_permille: Option<u16>,
    pub io_pressure_permille: Option<u16>,
}

/// Takes readings, and remembers what the next one is compared to.
#[derive(Debug, Default)]
pub struct MachineSampler {
    ticks: Option<CpuTicks>,
}

/// What the CPUs did since the machine was started, in ticks of all cores together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTicks {
    busy: u64,
    idle: u64,
}

impl MachineSampler {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the load. Reads a handful of small files of `/proc`; does not wait for anything.
    pub fn sample(&mut self) -> MachineLoad {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut load = MachineLoad {
            cpu_cores: cores.try_into().unwrap_or(u32::MAX),
            ..MachineLoad::default()
        };
        #[cfg(target_os = "linux")]
        self.sample_proc(&mut load);
        load
    }

    /// The busy share between two readings of the ticks.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
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
        assert_eq!(sampler.busy_permille(CpuTicks { busy: 5000, idle: 100 }), None);
        assert_eq!(sampler.busy_permille(CpuTicks { busy: 5030, idle: 170 }), Some(300));
        assert_eq!(sampler.busy_permille(CpuTicks { busy: 5030, idle: 180 }), Some(0));
    }

    #[test]
    fn counters_that_stand_still_or_run_backwards_do_no_harm() {
        let mut sampler = MachineSampler::new();
        let ticks = CpuTicks { busy: 100, idle: 100 };
        assert_eq!(sampler.busy_permille(ticks), None);
        assert_eq!(sampler.busy_permille(ticks), None);
        assert_eq!(sampler.busy_permille(CpuTicks { busy: 110, idle: 90 }), Some(1000));
        assert_eq!(sampler.busy_permille(CpuTicks { busy: 0, idle: 190 }), Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_linux_machine_tells_its_cores_memory_and_in_time_its_busy_share() {
        let mut sampler = MachineSampler::new();
        let first = sampler.sample();
        assert!(first.cpu_cores >= 1);
        assert_eq!(first.cpu_busy_permille, None);
        let (total, available) = (first.memory_total_bytes, first.memory_available_bytes);
        assert!(available.is_some() && available <= total, "{first:?}");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let busy = loop {
            if let Some(busy) = sampler.sample().cpu_busy_permille {
                break busy;
            }
            assert!(std::time::Instant::now() < deadline, "the ticks do not go on");
        };
        assert!(busy <= 1000, "{busy}");
    }
}
