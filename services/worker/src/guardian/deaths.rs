//! Ends all that a dead worker's commands have left: their process groups, and on Linux whatever carries
//! the worker's id in its environment, wherever it has gone.
//!
//! What must hold: it ends by the deadline; it never kills itself; and a process that starts others while
//! it is hunted does not escape, so it looks again until twice in a row there is nobody.

use std::collections::HashSet;
use std::time::Instant;

use rota_wire::WorkerId;
use rustix::process::{Pid, Signal, kill_process_group};

/// Kills until nobody is left, or the time is up.
pub(super) fn end_all(worker: &WorkerId, groups: &HashSet<Pid>, deadline: Instant) {
    for group in groups {
        // It can only fail for a group that is gone.
        let _ = kill_process_group(*group, Signal::KILL);
    }
    #[cfg(target_os = "linux")]
    marked::end_all(worker, deadline);
    #[cfg(not(target_os = "linux"))]
    let _ = (worker, deadline);
}

#[cfg(target_os = "linux")]
mod marked {
    use std::fs;
    use std::thread;
    use std::time::{Duration, Instant};

    use rota_wire::WorkerId;
    use rustix::process::{Pid, Signal, getpid, kill_process};

    use crate::guardian::WORKER_ID;

    /// Between two looks, for those that were killed to be gone.
    const PAUSE: Duration = Duration::from_millis(2);

    pub(super) fn end_all(worker: &WorkerId, deadline: Instant) {
        let mark = format!("{WORKER_ID}={worker}");
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < deadline {
            let found = find(mark.as_bytes());
            for process in &found {
                // It can only fail for one that is gone.
                let _ = kill_process(*process, Signal::KILL);
            }
            quiet = if found.is_empty() { quiet + 1 } else { 0 };
            thread::sleep(PAUSE);
        }
    }

    /// All processes that carry the mark, but for this one. Of others' processes, and of dead ones that
    /// are not reaped, nothing can be read.
    fn find(mark: &[u8]) -> Vec<Pid> {
        let Ok(folders) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let found = folders.flatten().filter_map(|folder| {
            let process = Pid::from_raw(folder.file_name().to_str()?.parse().ok()?)?;
            let environment = fs::read(folder.path().join("environ")).ok()?;
            let mut variables = environment.split(|byte| *byte == 0);
            let carries = variables.any(|variable| variable == mark);
            (carries && process != getpid()).then_some(process)
        });
        found.collect()
    }
}
