//! `rota submit`: one task into ROTA_INTAKE, as `nats pub -J rota.submit.<kind>` does it.
//!
//! What the submitter would reject is refused here by the very same check, before anything is sent.

use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use rota_bus::{Bus, Expect, Message, Stored, StoredResult};
use rota_service::{ConnectOptions, Failure};
use rota_wire::headers::{MSG_ID, VALUE_BYTES_MAX};
use rota_wire::{Headers, Kind, Micros, Span, TaskId, TaskSpec};
use tokio::io::AsyncReadExt;

use crate::client;
use crate::say::note;

const STDIN: &str = "-";

/// Submit one task, and perhaps wait for its result
///
/// Prints the id of the task; with --wait its output instead, as it is, and how it ended on the
/// standard error. The exit code is 0 for a task that was stored or, with --wait, has completed, 1 for
/// any other end, and 2 when there was no result in time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to run: the kind that a worker handles
    kind: String,

    /// The task's input; `-` reads it from the standard input [default: empty]
    #[arg(allow_hyphen_values = true)]
    input: Option<String>,

    /// A header of the message, such as `Rota-Priority:8` or `Nats-Msg-Id:report-7`; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    headers: Vec<Header>,

    /// Wait for the result and print the output
    #[arg(long)]
    wait: bool,

    /// How long to wait
    #[arg(long, requires = "wait", value_name = "SPAN", default_value = "60s", value_parser = Span::parse)]
    timeout: Span,

    #[command(flatten)]
    connect: ConnectOptions,
}

/// A header as it is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum HeaderError {
    #[error("write it as Name:value, for example Rota-Priority:8")]
    NoColon,
    #[error("the name must be of A-Z a-z 0-9 and -")]
    Name,
    /// The others steer how the server stores a message.
    #[error("of the headers of NATS itself only Nats-Msg-Id can be given")]
    Reserved,
    #[error("the value must be at most {VALUE_BYTES_MAX} bytes without control characters")]
    Value,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let headers: Headers = args.headers.into_iter().map(Header::into_pair).collect();
    let kind = check(&args.kind, &headers)?;
    let bus = client::connect(args.connect).await?;
    let input = read_input(args.input, bus.body_bytes_max()).await?;
    let chosen = headers.value(MSG_ID).map(str::to_owned);
    let stored = store(&bus, &kind, headers, input).await?;
    let id = match chosen {
        Some(id) => TaskId::chosen(&id).map_err(Failure::usage)?,
        None => TaskId::from_sequence(stored.seq()),
    };
    if let Stored::Duplicate { .. } = stored {
        note(format_args!("{id} was submitted before; nothing was added"));
    }
    if !args.wait {
        client::write_line(id.as_str())?;
        return Ok(ExitCode::SUCCESS);
    }
    match client::wait_for_result(&bus, &id, args.timeout.duration()).await? {
        Some(found) => {
            client::write_body(&found.body)?;
            note(format_args!("{}", ending(&id, &found)));
            Ok(client::exit_of(&found))
        }
        None => {
            note(format_args!(
                "no result of task {id} after {}; ask later: rota result {id}",
                args.timeout
            ));
            Ok(client::exit_without_result())
        }
    }
}

/// The submitter's own check. The sequence and the time stand in for those of the stream.
fn check(kind: &str, headers: &Headers) -> Result<Kind, Failure> {
    let checked = TaskSpec::from_submission(kind, headers, 1, Micros(0));
    match checked {
        Ok(task) => Ok(task.kind),
        Err(refused) => Err(Failure::usage(refused.rejection)),
    }
}

async fn read_input(input: Option<String>, bytes_max: usize) -> Result<Bytes, Failure> {
    let input = match input.as_deref() {
        None => Vec::new(),
        Some(STDIN) => {
            let mut bytes = Vec::new();
            let mut stdin = tokio::io::stdin().take(bytes_max as u64 + 1);
            let read = stdin.read_to_end(&mut bytes).await;
            read.context("cannot read the input")?;
            bytes
        }
        Some(text) => text.as_bytes().to_vec(),
    };
    if input.len() > bytes_max {
        let told = "the input is larger than the server takes";
        let rule = "store it elsewhere and submit where it is";
        return Err(Failure::usage(anyhow!(
            "{told}, which is {bytes_max} bytes; {rule}"
        )));
    }
    Ok(input.into())
}

async fn store(bus: &Bus, kind: &Kind, headers: Headers, input: Bytes) -> Result<Stored, Failure> {
    let message = Message {
        subject: bus.subjects().submit(kind),
        headers,
        payload: input,
    };
    let storing = bus.store(message, Expect::Nothing).await;
    let storing = storing.map_err(Failure::unavailable)?;
    storing.done().await.map_err(Failure::unavailable)
}

fn ending(id: &TaskId, found: &StoredResult) -> String {
    let Some(result) = &found.result else {
        return format!("task {id} has a result of a newer Rota, which this one cannot read");
    };
    let mut told = format!("{} task {id}", result.state);
    if let Some(worker) = &result.worker {
        told.push_str(&format!(" on {worker}"));
    }
    if let Some(started) = result.started {
        told.push_str(&format!(" in {}", client::took(started, result.finished)));
    }
    if let Some(ran) = client::ran(result).filter(|_| result.estimate.is_some()) {
        told.push_str(&format!(" (ran {ran})"));
    }
    if let Some(reason) = &result.reason {
        told.push_str(&format!(": {}", client::printable(reason)));
    }
    told
}

impl Header {
    fn into_pair(self) -> (String, String) {
        (self.name, self.value)
    }
}

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once(':').ok_or(HeaderError::NoColon)?;
        let (name, value) = (name.trim(), value.trim());
        let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || !name.bytes().all(token) {
            return Err(HeaderError::Name);
        }
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("nats-") && !name.eq_ignore_ascii_case(MSG_ID) {
            return Err(HeaderError::Reserved);
        }
        if value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(HeaderError::Value);
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_a_colon_and_a_value_that_may_hold_colons() {
        let header = Header {
            name: "Rota-At".to_owned(),
            value: "2026-11-23T08:00:00Z".to_owned(),
        };
        assert_eq!("Rota-At: 2026-11-23T08:00:00Z".parse(), Ok(header));
        assert_eq!("Rota-At".parse::<Header>(), Err(HeaderError::NoColon));
        assert_eq!("Rota At:1".parse::<Header>(), Err(HeaderError::Name));
        assert_eq!(":1".parse::<Header>(), Err(HeaderError::Name));
        assert_eq!(
            "nats-Rollup:all".parse::<Header>(),
            Err(HeaderError::Reserved)
        );
        assert_eq!("a:b\nc".parse::<Header>(), Err(HeaderError::Value));
    }

    #[test]
    fn what_the_submitter_would_reject_is_refused_with_header_value_and_rule() {
        let headers: Headers = [("Rota-Priority", "high")].into_iter().collect();
        let told = check("echo", &headers).unwrap_err().to_string();
        assert!(told.contains("Rota-Priority `high`: must be"), "{told}");
        let told = check("Echo!", &Headers::new()).unwrap_err().to_string();
        assert!(told.contains("kind `Echo!`: must be"), "{told}");
    }
}
