//! A frame on its way to a worker.

use rota_wire::Holding;
use rota_wire::fleet::FrameMark;

use super::machine::{Life, MachineKey};

/// What a worker is sent, and which life of it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) machine: MachineKey,
    pub(crate) life: Life,
    pub(crate) mark: FrameMark,
    pub(crate) settled: Vec<u64>,
    pub(crate) revoked: Vec<Holding>,
    pub(crate) suspended: Vec<Holding>,
    pub(crate) resumed: Vec<Holding>,
    pub(crate) jobs: Vec<Job>,
}

/// An attempt and the work in it. No handler is run: the work is known from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) holding: Holding,
    pub(crate) work: u64,
}
