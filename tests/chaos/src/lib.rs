//! Faults as a test: a seeded storm over a whole installation, and a judge of what came of it.
//!
//! ```text
//!  seed ─► plan: which faults, when ──────────────┐
//!       └► load: which tasks, when ──────┐        │
//!                                        ▼        ▼
//!   servers (1 or 3) ◄─ proxy ◄─ crew: submitters, schedulers, workers, monitors
//!        │                                │               │
//!        ▼ harvest                        ▼ logs          ▼ ledger: begin and end of each execution
//!   results, dead letters         ─► facts: one History ◄─┘
//!                                        ▼
//!                                     judge (pure) ─► report
//! ```
//!
//! What must hold: the same seed gives the same plan and the same load; whatever is seen is a fact of the
//! [`facts::History`] before it is judged; and nothing outlives a storm.
//!
//! In reading order: [`fault`] and [`plan`], [`load`], [`crew`] and [`servers`], [`storm`], [`facts`], [`judge`].
//! Apart from storms, [`deaths`] measures how soon a death is acted upon.

pub mod client;
pub mod clock;
pub mod crew;
pub mod deaths;
pub mod facts;
pub mod fault;
pub mod folder;
pub mod harvest;
pub mod job;
pub mod judge;
pub mod kinds;
pub mod ledger;
pub mod load;
pub mod logs;
pub mod plan;
pub mod programs;
pub mod proxy;
pub mod report;
pub mod servers;
pub mod spread;
pub mod storm;
pub mod wall;
