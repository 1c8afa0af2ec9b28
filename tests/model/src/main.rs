//! Plays many seeds on all cores and tells which of them show something that must not be.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use rota_model::Profile;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// The whole system in virtual time, against all that may go wrong
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds
    #[arg(default_value_t = 1_000)]
    count: u64,

    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,

    /// Only scenarios of one kind
    #[arg(long)]
    profile: Option<Profile>,

    /// Stop after so many violations
    #[arg(long, default_value_t = 5)]
    violations: usize,

    /// Show the services' logs; for a single seed
    #[arg(long)]
    log: bool,
}

#[derive(Debug, Default)]
struct Totals {
    played: u64,
    tasks: u64,
    executions: u64,
    faults: u64,
    seconds: u64,
    messages: u64,
    violations: Vec<String>,
}

/// Stamps lines of the log with the time of the run.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, line: &mut Writer<'_>) -> std::fmt::Result {
        write!(line, "{:>10.3}", rota_model::virtual_time().as_secs_f64())
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.log {
        let filter = tracing_subscriber::EnvFilter::new("debug");
        let subscriber = tracing_subscriber::fmt()
            .with_timer(VirtualTime)
            .with_env_filter(filter);
        subscriber.with_writer(std::io::stderr).init();
    }
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let totals = Mutex::new(Totals::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.min(usize::try_from(args.count).unwrap_or(1)) {
            scope.spawn(|| play(&args, &next, &totals));
        }
    });
    let totals = totals.into_inner().unwrap_or_default();
    for violation in &totals.violations {
        println!("{violation}\n");
    }
    let seconds = began.elapsed().as_secs_f64();
    let Totals {
        played,
        tasks,
        executions,
        faults,
        messages,
        ..
    } = totals;
    println!(
        "{played} seeds in {seconds:.1} s ({:.0} a minute): {tasks} tasks, {executions} executions, {faults} \
         faults, {messages} messages, {} s of virtual time; {} violations",
        60.0 * played as f64 / seconds,
        totals.seconds,
        totals.violations.len()
    );
    if totals.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn play(args: &Args, next: &AtomicU64, totals: &Mutex<Totals>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= args.count {
            return;
        }
        let seed = args.first + number;
        let played = std::panic::catch_unwind(|| rota_model::run(seed, args.profile));
        let mut totals = totals
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        totals.played += 1;
        match played {
            Ok(Ok(summary)) => {
                totals.tasks += summary.tasks as u64;
                totals.executions += summary.executions as u64;
                totals.faults += summary.faults as u64;
                totals.seconds += summary.seconds;
                totals.messages += summary.messages as u64;
            }
            Ok(Err(violation)) => totals.violations.push(violation.to_string()),
            Err(_) => totals
                .violations
                .push(format!("seed {seed}: a panic, see above")),
        }
        if totals.violations.len() >= args.violations {
            next.store(args.count, Ordering::Relaxed);
            return;
        }
    }
}
