//! The scheduler's shell over a server in memory, in virtual time, with workers that say only what a test has them say.

mod flow;
mod obituaries;
mod worker;
mod world;
