//! `rota result`: the one final outcome of a task, as `nats stream get` would find it.

use std::process::ExitCode;
use std::time::Duration;

use rota_bus::StoredResult;
use rota_service::{ConnectOptions, Failure};
use rota_wire::result::TaskResult;
use rota_wire::{Span, TaskId};

use crate::client;
use crate::say::note;

/// Print the result of a task
///
/// The output goes to the standard output as it is, how the task ended to the standard error. The exit
/// code is 0 for a completed task, 1 for one that ended otherwise, and 2 when there is no result (yet).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the task: what `rota submit` has printed
    #[arg(value_parser = TaskId::parse)]
    id: TaskId,

    /// Wait until there is one
    #[arg(long)]
    wait: bool,

    /// How long to wait
    #[arg(long, requires = "wait", value_name = "SPAN", default_value = "60s", value_parser = Span::parse)]
    timeout: Span,

    #[command(flatten)]
    connect: ConnectOptions,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let Args {
        id,
        wait,
        timeout,
        connect,
    } = args;
    let limit = if wait {
        timeout.duration()
    } else {
        Duration::ZERO
    };
    let bus = client::connect(connect).await?;
    let Some(found) = client::wait_for_result(&bus, &id, limit).await? else {
        if wait {
            note(format_args!("no result of task {id} after {timeout}"));
        } else {
            note(format_args!("no result of task {id} (yet)"));
        }
        return Ok(client::exit_without_result());
    };
    note(heading(&found).trim_end());
    client::write_body(&found.body)?;
    Ok(client::exit_of(&found))
}

fn heading(found: &StoredResult) -> String {
    match &found.result {
        Some(result) => lines_of(result),
        None => "a result of a newer Rota, which this one cannot read\n".to_owned(),
    }
}

fn lines_of(result: &TaskResult) -> String {
    let time = |time: rota_wire::Micros| time.to_string();
    let took = result
        .started
        .map(|started| client::took(started, result.finished));
    let fields = [
        ("state", Some(result.state.to_string())),
        ("kind", Some(result.kind.clone())),
        ("attempts", Some(result.attempts.to_string())),
        ("worker", result.worker.as_ref().map(ToString::to_string)),
        ("exit", result.exit.clone()),
        ("reason", result.reason.clone()),
        ("submitted", result.submitted.map(time)),
        ("started", result.started.map(time)),
        ("finished", Some(time(result.finished))),
        ("took", took),
        ("ran", client::ran(result)),
    ];
    let known = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    known
        .map(|(name, value)| format!("{name:<10}{}\n", client::printable(&value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use rota_wire::result::FinalState;
    use rota_wire::{Micros, Span};

    use super::*;

    fn rejected() -> TaskResult {
        TaskResult {
            id: TaskId::from_sequence(7),
            state: FinalState::Rejected,
            kind: "Echo!".to_owned(),
            attempts: 0,
            worker: None,
            exit: None,
            reason: Some("kind `Echo!`: must be lower case".to_owned()),
            submitted: Some(Micros(1_795_420_800_000_000)),
            started: None,
            finished: Micros(1_795_420_800_250_000),
            ran: None,
            estimate: None,
            traceparent: None,
        }
    }

    #[test]
    fn how_long_it_ran_is_told_beside_what_was_expected() {
        let mut result = rejected();
        result.ran = Some(Span::from_ms(1_200));
        assert!(lines_of(&result).ends_with("ran       1s 200ms\n"));
        result.estimate = Some(Span::from_secs(1));
        let told = lines_of(&result);
        assert!(
            told.ends_with("ran       1s 200ms, expected 1s\n"),
            "{told}"
        );
    }

    #[test]
    fn what_is_not_known_of_a_result_has_no_line() {
        let told = lines_of(&rejected());
        assert!(
            told.starts_with("state     rejected\nkind      Echo!\n"),
            "{told}"
        );
        assert!(told.contains("reason    kind `Echo!`"), "{told}");
        assert!(
            ["started ", "took", "ran"]
                .iter()
                .all(|name| !told.contains(name)),
            "{told}"
        );
    }
}
