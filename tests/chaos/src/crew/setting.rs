//! What all processes of a run have in common: programs, files, and how they are kept.

use std::path::PathBuf;

use crate::logs::Logs;
use crate::programs::Programs;
use crate::wall::WallClocks;

/// How processes are kept.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// How they reach the servers.
    pub route: Route,
    /// What they log: `ROTA_LOG`.
    pub log: &'static str,
    /// How long one is away before it is started again, by its place and life, in milliseconds.
    pub away_ms: &'static [u64],
}

/// The way of a process to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through its proxy, so that its connections can be hurt.
    Proxy,
    /// Straight, so that nothing is between the end of a process and the server.
    Straight,
}

impl Manner {
    /// In a storm.
    pub const STORM: Self = Self {
        route: Route::Proxy,
        log: "debug",
        away_ms: &[50, 300, 1_000, 150, 2_000],
    };
    /// In a measurement.
    pub const MEASURED: Self = Self {
        route: Route::Straight,
        // Of single tasks schedulers tell at that level.
        log: "info,rota_scheduler=debug",
        away_ms: &[300],
    };
}

/// What the processes of a storm have in common.
#[derive(Debug)]
pub struct Setting {
    /// How they are kept.
    pub manner: Manner,
    /// The folder of the storm, which also marks its processes.
    pub folder: PathBuf,
    /// Where executions are written.
    pub ledger: PathBuf,
    /// Commands of the workers.
    pub handlers: PathBuf,
    /// Servers that keep each stream.
    pub replicas: usize,
    /// The programs.
    pub programs: Programs,
    /// Their logs.
    pub logs: Logs,
    /// Clocks that can be stepped, where that can be done.
    pub clocks: Option<WallClocks>,
}
