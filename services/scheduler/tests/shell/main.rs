//! The scheduler's shell over a server in memory, in virtual time, with workers that say only what a test has them say.

mod flow;
mod leading;
mod obituaries;
mod questions;
mod worker;
mod world;
