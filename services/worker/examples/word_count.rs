//! A worker with a handler written in Rust: counts the words of its input.
//!
//! ```sh
//! cargo run -p rota-worker --example word_count -- --slots 4 &
//! nats sub 'rota.result.>' &
//! nats pub rota.submit.word_count 'how many words are these'
//! ```
//!
//! It takes the flags of `rota-worker`; `--help` lists them. `rota up` brings up a server and the
//! other services to go with it.

use std::process::ExitCode;

use rota_worker::{Failure, Task, Worker};

fn main() -> ExitCode {
    Worker::from_args().handler("word_count", word_count).main()
}

/// Pure, so it does no harm when a task is run twice.
async fn word_count(task: Task) -> Result<String, Failure> {
    let text = std::str::from_utf8(task.input())
        .map_err(|error| Failure::fatal(format!("the input must be UTF-8: {error}")))?;
    Ok(text.split_whitespace().count().to_string())
}
