//! Reading the load from `/proc`.

use procfs::{CpuPressure, Current, CurrentSI, IoPressure, KernelStats, Meminfo, MemoryPressure};

use rota_wire::fleet::MachineLoad;

use super::cgroup::MemoryLimit;
use super::{CpuTicks, MachineSampler};

impl MachineSampler {
    pub(super) fn sample_proc(&mut self, load: &mut MachineLoad) {
        load.cpu_busy_permille = KernelStats::current()
            .ok()
            .and_then(|stats| self.busy_permille(ticks(&stats)));
        if let Ok(memory) = Meminfo::current() {
            load.memory_bytes = memory.mem_total;
            load.memory_available_bytes = memory.mem_available;
        }
        if let Some(limit) = MemoryLimit::current() {
            load.memory_bytes = match load.memory_bytes {
                0 => limit.total_bytes,
                bytes => bytes.min(limit.total_bytes),
            };
            let available = load.memory_available_bytes;
            let tightest =
                available.map_or(limit.available_bytes, |b| b.min(limit.available_bytes));
            load.memory_available_bytes = Some(tightest);
        }
        let pressure = |avg10: f32| permille(avg10);
        load.pressure_cpu_permille = CpuPressure::current().ok().map(|p| pressure(p.some.avg10));
        load.pressure_memory_permille = MemoryPressure::current()
            .ok()
            .map(|p| pressure(p.some.avg10));
        load.pressure_io_permille = IoPressure::current().ok().map(|p| pressure(p.some.avg10));
    }
}

fn ticks(stats: &KernelStats) -> CpuTicks {
    let cpu = &stats.total;
    let known = |ticks: Option<u64>| ticks.unwrap_or(0);
    // Time of guests is contained in user time. Stolen time is time that we could not have.
    let busy = [
        cpu.user,
        cpu.nice,
        cpu.system,
        known(cpu.irq),
        known(cpu.softirq),
    ];
    CpuTicks {
        busy: busy.into_iter().fold(known(cpu.steal), u64::saturating_add),
        idle: cpu.idle.saturating_add(known(cpu.iowait)),
    }
}

/// A percentage as the kernel writes it, such as 12.34.
fn permille(percent: f32) -> u16 {
    // A float becomes the nearest number that fits; what is not a number becomes zero.
    (percent * 10.0).round().clamp(0.0, 1000.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_becomes_whole_permille() {
        assert_eq!(permille(0.0), 0);
        assert_eq!(permille(12.34), 123);
        assert_eq!(permille(100.0), 1000);
        assert_eq!(permille(f32::NAN), 0);
    }
}
