//! Runs one handler once, without a NATS server: input from stdin, output to stdout.
//!
//! ```sh
//! echo hello | cargo run -p rota-worker --example try_handler -- sha256
//! cargo run -p rota-worker --example try_handler -- thumbnail handlers.toml < photo.jpg > small.png
//! ```
//!
//! The built-in kinds and one kind written right here (`shout`) are always there; a handlers file
//! adds to them. Ctrl-C stops the attempt as a worker would.

use std::io::{Read, Write};

use anyhow::Context;
use rota_worker::{AttemptControl, Entry, Failure, Registry, Task, TaskParts, Verdict};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let kind = args
        .next()
        .context("usage: try_handler <kind> [<handlers.toml>]")?;
    let registry = registry(args.next())?;
    let entry = registry
        .get(&kind)
        .with_context(|| format!("no handler for kind {kind:?}"))?;

    let mut input = Vec::new();
    std::io::stdin()
        .read_to_end(&mut input)
        .context("could not read the input")?;
    let input = input.into();
    let parts = TaskParts {
        id: "try".into(),
        kind,
        attempt: 1,
        input,
        ..TaskParts::default()
    };

    let control = AttemptControl::new();
    let mut running = std::pin::pin!(rota_worker::run_attempt(entry, Task::new(parts), &control));
    let ended = tokio::select! {
        ended = &mut running => ended,
        _ = tokio::signal::ctrl_c() => {
            control.stop();
            running.await
        }
    };

    eprint!("{}", ended.stderr_tail);
    match ended.verdict {
        Verdict::Completed(output) => std::io::stdout().write_all(&output).context("no stdout"),
        Verdict::Failed { retry, reason } => anyhow::bail!("failed (retry: {retry:?}): {reason}"),
        Verdict::NotStarted { reason, .. } => anyhow::bail!("{reason}"),
        Verdict::Stopped => anyhow::bail!("stopped after {:?}", ended.ran),
    }
}

fn registry(handlers_file: Option<String>) -> anyhow::Result<Registry> {
    let mut registry = rota_worker::builtins();
    registry.insert("shout", Entry::function(shout))?;
    if let Some(path) = handlers_file {
        registry.merge(rota_worker::load(path)?)?;
    }
    Ok(registry)
}

async fn shout(task: Task) -> Result<String, Failure> {
    let text = std::str::from_utf8(task.input())
        .map_err(|error| Failure::fatal(format!("the input must be UTF-8: {error}")))?;
    Ok(text.to_uppercase())
}
