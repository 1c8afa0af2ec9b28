//! The simulator against queueing theory: what the formulas say is what the scheduler's own code gives.
//!
//! `formulas` computes the expectations, `cases` runs the simulator beside them. The usual run keeps to
//! sizes that take seconds; with `ROTA_SIM_LONG` set in the environment every case runs ten times as many
//! tasks, and cases are added that need that many.

mod cases;
mod distribution;
mod formulas;
