//! The figures of one run.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a run has shown. Times are in mean service times, for a trace in seconds.
///
/// Response is the time from a task's arrival to its result; wait is what of it is not the task's own
/// duration; slowdown is response over duration. Means are exact, quantiles are to three digits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Tasks that are counted: those after the warm-up that have a result.
    pub tasks: u64,
    /// Mean response.
    pub mean_response: f64,
    /// Half of the tasks respond within this.
    pub p50_response: f64,
    /// 95 of 100 tasks respond within this.
    pub p95_response: f64,
    /// 99 of 100 tasks respond within this.
    pub p99_response: f64,
    /// Mean wait.
    pub mean_wait: f64,
    /// Mean slowdown.
    pub mean_slowdown: f64,
    /// 99 of 100 tasks have at most this slowdown.
    pub p99_slowdown: f64,
    /// The share of all slots' time that was occupied, from the first counted arrival to the last.
    pub utilisation: f64,
    /// Running attempts that were suspended.
    pub preemptions: u64,
    /// Deliveries that were given back and went out again.
    pub redeliveries: u64,
    /// Workers that were lost.
    pub workers_lost: u64,
    /// Tasks that took down too many workers and ended as failed.
    pub dead: u64,
    /// Tasks that never got a result. It must be 0.
    pub lost: u64,
    /// Means by priority.
    pub by_priority: BTreeMap<u8, PriorityFigures>,
    /// Response and slowdown by percentile, for the plot.
    #[serde(skip)]
    pub percentiles: Vec<Percentile>,
}

/// The figures of the tasks of one priority.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PriorityFigures {
    /// Tasks that are counted.
    pub tasks: u64,
    /// Mean response.
    pub mean_response: f64,
    /// Mean wait.
    pub mean_wait: f64,
}

/// What so many of the tasks keep below.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    /// The share of tasks, 0 to 1.
    pub share: f64,
    /// Their response.
    pub response: f64,
    /// Their slowdown.
    pub slowdown: f64,
}
