//! The scheduler on a virtual clock: what a strategy gives, before it is deployed.
//!
//! The decisions are those of `rota-scheduler-core`, the code that the service runs, fed through the same
//! events and actions. What is modelled is the world around it: lanes and pulls, messages that take time,
//! workers with slots, heartbeats and reports, workers that are lost and start anew, and a result store in
//! which the first result wins.
//!
//! ```text
//!  Workload ─► Arrivals ─► Stream ──Delivered──► Scheduler ──Assign──► Machine
//!                            ▲                    │    ▲                  │
//!                            └───Pull, Ack, Nak───┘    └─Heartbeat, Report┘
//!                                      Gauge ◄── result stored, first wins
//! ```
//!
//! Times are in units of the mean service time, which is 100 seconds of the virtual clock; for a trace the
//! unit is one of its own seconds. What must hold:
//! 1. A setup and its seed give the same figures, byte for byte.
//! 2. Strategies that are compared get the same arrivals.
//! 3. Memory is bounded by what is in the system at one time, the figures, and a trace that was read.
//! 4. With no strategy is a task lost; were one, [`Figures::lost`] says so.
//!
//! Reading order: [`setup`], [`workload`], `world`, [`figures`].

pub mod args;
pub mod compare;
pub mod figures;
pub mod quantity;
pub mod setup;
pub mod workload;

mod arrivals;
mod gauge;
mod plot;
mod table;
mod world;

pub use args::{Args, SimulateError};
pub use compare::{Run, Strategy, Variant, compare};
pub use figures::Figures;
pub use plot::{Heading, plot};
pub use quantity::{Ageing, Lapse, Load, Rate, Share};
pub use setup::{Estimates, Setup};
pub use table::table;
pub use workload::Workload;

/// What arrives in a simulation: when, and how long it takes, both in units. For those who try the same
/// on a live system; only the distances between arrivals mean anything.
pub fn arrivals(setup: &Setup) -> impl Iterator<Item = (f64, f64)> {
    let units = quantity::to_units;
    arrivals::Arrivals::new(setup).map(move |task| (units(task.at), units(task.duration)))
}

/// Runs one simulation to its end.
///
/// # Panics
/// If the core's options break a rule ([`rota_scheduler_core::Options::faults`]), or if the core's books
/// disagree with each other at the end: that is a mistake of ours, not of the caller's.
#[must_use]
pub fn run(setup: &Setup) -> Figures {
    world::World::new(setup).run()
}
