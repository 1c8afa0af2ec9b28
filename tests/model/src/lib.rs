//! The whole system against a server in memory, in virtual time: schedulers, submitters and workers run unchanged
//! in one thread, and everything that may go wrong does, from a seed.
//!
//! ```text
//! seed ──► Scenario: tasks, processes, faults
//!             │
//!             ▼
//!          World ── submissions, faults, then calm ──► Judge ──► good, or a Violation with its history
//! ```
//!
//! In reading order: `scenario` draws what is to happen, `world` lets it happen, `process` are the services as
//! tasks of the runtime, `ledger` notes each execution, `judge` says what must be true in the end, `history`
//! tells what happened to one task.
//!
//! What must hold: the same seed gives the same history, and nothing here decides by a real clock.

mod history;
mod judge;
mod ledger;
mod process;
mod scenario;
mod world;

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

pub use crate::scenario::Profile;
use crate::scenario::Scenario;
use crate::world::World;

thread_local! {
    static BEGAN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
}

/// How far the run of this thread has come, in its own time.
#[must_use]
pub fn virtual_time() -> Duration {
    BEGAN.get().map_or(Duration::ZERO, |began| began.elapsed())
}

/// What a run was like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Tasks that were confirmed.
    pub tasks: usize,
    /// Executions of attempts.
    pub executions: usize,
    /// Faults that were injected, without those of the weather.
    pub faults: usize,
    /// Seconds of virtual time.
    pub seconds: u64,
    /// What happened on the bus.
    pub messages: usize,
}

/// Something that must not be.
#[derive(Debug)]
pub struct Violation {
    /// The seed that shows it.
    pub seed: u64,
    /// What kind of scenario it was.
    pub profile: Profile,
    /// What is wrong, one thing a line.
    pub wrong: Vec<String>,
    /// All that concerns the first of them.
    pub history: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} ({:?}):", self.seed, self.profile)?;
        for line in &self.wrong {
            writeln!(f, "  {line}")?;
        }
        for line in &self.history {
            writeln!(f, "    {line}")?;
        }
        write!(f, "again with: just model-seed {}", self.seed)
    }
}

/// Plays what a seed says, and judges it.
///
/// # Errors
/// [`Violation`], with the seed that shows it again.
///
/// # Panics
/// When there is no runtime to be had.
pub fn run(seed: u64, profile: Option<Profile>) -> Result<Summary, Box<Violation>> {
    let scenario = Scenario::draw(seed, profile);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing but memory");
    runtime.block_on(async move {
        BEGAN.set(Some(tokio::time::Instant::now()));
        let mut world = World::begin(seed, scenario);
        world.play().await;
        judge::judge(&world)
    })
}
