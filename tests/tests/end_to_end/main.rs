//! What Rota promises, tried on the real binaries and a real nats-server that are killed, stopped and
//! restarted under load.
//!
//! One binary with all scenarios, so that it is linked once. Each module is a subject:
//!
//! - `front_door`: submitting with nothing but NATS, ids, what a result and a command are told
//! - `attempts`: failures, retries, time limits, dead letters
//! - `order`: which task runs next, and where
//! - `preemption`: suspended attempts, and what tasks need of a worker
//! - `workers`: killed, paused, drained and poisoned workers
//! - `deaths`: how soon a death is noticed, and what is not taken for one
//! - `services`: the scheduler, the submitter and the server killed under load
//! - `large_inputs`: inputs near the server's limit, and the scheduler's memory
//! - `many_kinds`: kinds that nobody handles
//! - `versions`: messages of a newer Rota, and of nobody
//! - `lanes`: what a new leader learns of the queue
//! - `explain`: what is told of a task to whoever asks
//! - `recording`: the record of completed tasks, and the simulator that reads it
//! - `wire`: a cable between a worker and the server, to be cut
//! - `refusals`: bad submissions, garbage between the services, unfit servers and configurations

// Clippy allows these in test functions, but does not see that what they call are tests too.
#![allow(clippy::unwrap_used)]

mod attempts;
mod deaths;
mod explain;
mod front_door;
mod lanes;
mod large_inputs;
mod many_kinds;
mod order;
mod preemption;
mod recording;
mod refusals;
mod services;
mod versions;
mod wire;
mod workers;
