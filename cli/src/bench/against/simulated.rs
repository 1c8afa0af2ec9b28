//! The comparison's tasks in the simulator, through the flags of `rota simulate`, so that anyone can run
//! the same with the trace that `--trace` keeps.

use anyhow::{Context, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

use super::Args;
use super::arrivals::{Planned, write};

#[derive(Debug, Parser)]
struct Simulate {
    #[command(flatten)]
    args: rota_scheduler_sim::Args,
}

/// What the simulator says. Times are in seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Simulated {
    pub(super) mean_response: f64,
    pub(super) p50_response: f64,
    pub(super) p99_response: f64,
    pub(super) preemptions: u64,
    pub(super) lost: u64,
}

/// Simulates each order, in the order of the flags.
pub(super) fn run(args: &Args, planned: &[Planned]) -> anyhow::Result<Vec<Simulated>> {
    let folder = tempfile::Builder::new().prefix("rota-bench-").tempdir();
    let folder = folder.context("making a temporary folder")?;
    let trace = args.trace.clone();
    let trace = trace.unwrap_or_else(|| folder.path().join("trace.csv"));
    write(planned, &trace)?;
    let flags = flags(args, &trace.display().to_string(), planned.len());
    let simulate = Simulate::try_parse_from(flags).context("the simulator's flags")?;
    let mut out = Vec::new();
    rota_scheduler_sim::args::run(&simulate.args, &mut out).context("simulating")?;
    let simulated: Vec<Simulated> =
        serde_json::from_slice(&out).context("reading the simulator's figures")?;
    ensure!(
        simulated.iter().all(|run| run.lost == 0),
        "the simulator has lost tasks"
    );
    Ok(simulated)
}

fn flags(args: &Args, trace: &str, tasks: usize) -> Vec<String> {
    let seconds = |ms: f64| (ms / 1_000.0).to_string();
    let orders: Vec<&str> = args.orders.iter().map(|order| order.as_str()).collect();
    let pairs = [
        ("workload", format!("trace:{trace}")),
        ("warmup", "0".to_owned()),
        ("tasks", tasks.to_string()),
        ("seed", args.seed.to_string()),
        ("workers", args.workers.to_string()),
        ("slots", args.slots.to_string()),
        ("order", orders.join(",")),
        ("quantum", seconds(args.quantum.ms() as f64)),
        ("min-run", seconds(args.min_run.ms() as f64)),
        // As of a worker that is told nothing else.
        ("heartbeat", "0.5".to_owned()),
        ("delay", seconds(args.delay)),
        ("estimates", "exact".to_owned()),
        ("format", "json".to_owned()),
    ];
    let flags = pairs.map(|(flag, value)| format!("--{flag}={value}"));
    std::iter::once("rota simulate".to_owned())
        .chain(flags)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::draw;
    use super::super::tests::args;
    use super::*;

    #[test]
    fn each_order_is_simulated_on_the_same_arrivals() {
        let args = args(&["--seconds", "20"]).unwrap();
        let runs = run(&args, &draw(&args).unwrap()).unwrap();
        let [fifo, sjf, srtf, las] = runs.as_slice() else {
            panic!("four orders, {runs:?}");
        };
        assert!(srtf.mean_response < fifo.mean_response);
        assert_eq!(fifo.preemptions + sjf.preemptions, 0);
        assert!(srtf.preemptions > 0 && las.preemptions > 0);
    }
}
