//! Several strategies on the same arrivals.

use std::fmt;
use std::num::NonZero;
use std::thread;

use rota_scheduler_core::Options;
use serde::Serialize;

use crate::figures::Figures;
use crate::setup::Setup;

/// How a run schedules, in the words of the flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Strategy {
    /// Which worker.
    pub allocation: String,
    /// When a task is bound to it.
    pub binding: String,
    /// Which task next.
    pub order: String,
}

/// A strategy and the core's options for it.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What it is called.
    pub strategy: Strategy,
    /// What the core is told.
    pub core: Options,
}

/// What one strategy gave. In JSON its words and its figures are fields side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// What it is called.
    #[serde(flatten)]
    pub strategy: Strategy,
    /// What it gave.
    #[serde(flatten)]
    pub figures: Figures,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.order, self.allocation, self.binding)
    }
}

/// Runs the same arrivals under each variant, in its order. The variants share out the machine's cores;
/// that changes no figure.
#[must_use]
pub fn compare(setup: &Setup, variants: &[Variant]) -> Vec<Run> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let mut runs = Vec::with_capacity(variants.len());
    for together in variants.chunks(at_once) {
        thread::scope(|scope| {
            let running: Vec<_> = together
                .iter()
                .map(|variant| scope.spawn(|| run_variant(setup, variant)))
                .collect();
            for thread in running {
                match thread.join() {
                    Ok(run) => runs.push(run),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
    }
    runs
}

fn run_variant(setup: &Setup, variant: &Variant) -> Run {
    let setup = Setup {
        core: variant.core.clone(),
        ..setup.clone()
    };
    Run {
        strategy: variant.strategy.clone(),
        figures: crate::run(&setup),
    }
}
