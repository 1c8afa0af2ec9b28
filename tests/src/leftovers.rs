//! Processes that carry a mark in their environment: the services of a test, their commands, and whatever
//! these started, also when the process between them is dead.
//!
//! It looks into `/proc`; where there is none, nothing is found.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The variable with which an installation marks its services. A worker's commands inherit it.
pub(crate) const MARK: &str = "END_TO_END_FOLDER";

/// The ids of all processes that have all of these in their environment.
#[must_use]
pub fn processes_with(entries: &[String]) -> Vec<Pid> {
    let Ok(folders) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = folders.flatten().filter_map(|folder| {
        let id = folder.file_name().to_str()?.parse().ok()?;
        // Of others' processes and of those that have just ended nothing can be read.
        let environment = fs::read(folder.path().join("environ")).ok()?;
        let variables: Vec<_> = environment.split(|byte| *byte == 0).collect();
        let mut wanted = entries.iter().map(String::as_bytes);
        let marked = wanted.all(|entry| variables.contains(&entry));
        if marked { Pid::from_raw(id) } else { None }
    });
    ids.collect()
}

/// Ends the processes of an installation's folder that still run.
pub(crate) fn end_all(folder: &str) {
    for id in processes_with(&[format!("{MARK}={folder}")]) {
        // One that has ended by itself in the meantime is as good.
        let _ = kill_process(id, Signal::KILL);
    }
}
