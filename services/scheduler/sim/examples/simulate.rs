//! Temporary.
use clap::Parser as _;
#[derive(clap::Parser)]
struct Cli { #[command(flatten)] args: rota_scheduler_sim::Args }
fn main() {
    let cli = Cli::parse();
    if let Err(e) = rota_scheduler_sim::args::run(&cli.args, &mut std::io::stdout()) { eprintln!("{e}"); std::process::exit(64); }
}
