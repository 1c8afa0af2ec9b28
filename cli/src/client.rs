//! What the client commands share: a connection, a result that is waited for, and how to end.
//!
//! They speak to scripts. What must hold: stdout carries the answer and nothing else, all other words
//! go to stderr, and the exit code alone tells how it went:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; of a result: completed |
//! | 1 | the task ended in another state, or something failed |
//! | 2 | there is no result (yet) |
//! | 64 | wrong use; nothing was sent |
//! | 69 | no NATS server, or no Rota on it |

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rota_bus::{Bus, ConnectError, Received, StoredResult};
use rota_service::{ConnectOptions, Exit, Failure, Installation, InstallationError};
use rota_wire::headers::{ID, STATE};
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::{Micros, Span, TaskId};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout_at};

use crate::say::note;

/// How often a result is looked up while nothing tells of it: what was told while the connection was
/// interrupted is not told again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How soon after it was told of. The one who is told can be faster than the stream that stores.
const LOOK_SOON: Duration = Duration::from_millis(20);
/// There is no result, or not yet.
const NO_RESULT: u8 = 2;

/// Runs a client command on a runtime of its own.
pub(crate) fn run(command: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .context("cannot start the runtime")
        .map_err(Failure::internal)
        .and_then(|runtime| runtime.block_on(command));
    ended.unwrap_or_else(|failure| {
        note(format_args!("error: {failure}"));
        if rota_may_be_elsewhere(&failure) {
            note(
                "Does Rota run there? Start it with `rota up`, or name its server with --nats URL.",
            );
        }
        failure.exit().into()
    })
}

/// Not when a server is there and says itself what it lacks.
fn rota_may_be_elsewhere(failure: &Failure) -> bool {
    let told = failure.error().downcast_ref::<InstallationError>();
    let is_told = matches!(
        told,
        Some(InstallationError::Connect(
            ConnectError::LoginRefused { .. }
                | ConnectError::TooOld { .. }
                | ConnectError::NoJetStream { .. }
                | ConnectError::Silent { .. }
        ))
    );
    failure.exit() == Exit::Unavailable && !is_told
}

/// Connects without touching a stream's settings.
pub(crate) async fn connect(connect: ConnectOptions) -> Result<Bus, Failure> {
    let installation = Installation {
        connect,
        ..Installation::default()
    };
    Ok(installation.connect_only("cli").await?)
}

/// The result of a task, as soon as it is stored; nothing if it is not there after `limit`.
///
/// What is told on the result's subject only wakes this up: of two results for one task both are told,
/// and one is stored. Anybody who may submit can have the server store something under that subject, so what
/// does not name this task is said to be none, and the true one is waited for.
pub(crate) async fn wait_for_result(
    bus: &Bus,
    id: &TaskId,
    limit: Duration,
) -> Result<Option<StoredResult>, Failure> {
    let deadline = Instant::now() + limit;
    let subject = bus.subjects().result(id);
    let mut told = bus
        .subscribe(&subject)
        .await
        .map_err(Failure::unavailable)?;
    bus.flush().await.map_err(Failure::unavailable)?;
    let mut pause = LOOK_AGAIN;
    let mut forgery = Forgery::NotSeen;
    loop {
        // A server that is just being restarted is waited for like a result.
        let unanswered = match bus.result(id).await {
            Ok(Some(found)) if found.genuine => return Ok(Some(found)),
            Ok(Some(found)) => {
                forgery.note_once(id, &found);
                None
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let now = Instant::now();
        if now >= deadline {
            return unanswered.map_or(Ok(None), |error| Err(Failure::unavailable(error)));
        }
        let woken = timeout_at(deadline.min(now + pause), told.next()).await;
        pause = match woken {
            Ok(Some(_)) => LOOK_SOON,
            Ok(None) => {
                let closed = anyhow::anyhow!("the connection to NATS is closed");
                return Err(Failure::unavailable(closed));
            }
            Err(_) => LOOK_AGAIN,
        };
    }
}

/// The task of a result that was told on its subject; nothing if Rota did not write it for that task.
pub(crate) fn told_result(bus: &Bus, message: &Received) -> Option<TaskId> {
    message.headers.value(STATE)?;
    let id = TaskId::parse(message.headers.value(ID)?).ok()?;
    (bus.subjects().result(&id).as_str() == message.subject).then_some(id)
}

/// Whether something was found in a result's place that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgery {
    NotSeen,
    Told,
}

impl Forgery {
    fn note_once(&mut self, id: &TaskId, found: &StoredResult) {
        if *self == Self::NotSeen {
            note(forged(id, found));
            *self = Self::Told;
        }
    }
}

/// What is to be said of something in a result's place that is none.
fn forged(id: &TaskId, found: &StoredResult) -> String {
    let what = match found.headers.value(ID) {
        Some(other) if other != id.as_str() => {
            format!("names task {} in Rota-Id", printable(other))
        }
        Some(_) => "has no Rota-State".to_owned(),
        None => "has no Rota-Id".to_owned(),
    };
    format!(
        "what is stored as the result of task {id} {what}: Rota did not write it, so it does not count"
    )
}

/// Writes the body to stdout as it is; a person's terminal also gets the end of the line.
pub(crate) fn write_body(body: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut written = out.write_all(body);
    if out.is_terminal() && !body.is_empty() && !body.ends_with(b"\n") {
        written = written.and_then(|()| out.write_all(b"\n"));
    }
    match written.and_then(|()| out.flush()) {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::internal(
            anyhow::Error::new(error).context("cannot write the output"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes one line to stdout.
pub(crate) fn write_line(line: &str) -> Result<(), Failure> {
    write_body(format!("{line}\n").as_bytes())
}

/// How a client command ends that has found this result.
pub(crate) fn exit_of(found: &StoredResult) -> ExitCode {
    match found.result.as_ref().map(|result| result.state) {
        Some(FinalState::Completed) => ExitCode::SUCCESS,
        Some(
            FinalState::Failed | FinalState::Cancelled | FinalState::Expired | FinalState::Rejected,
        )
        | None => Exit::Failure.into(),
    }
}

/// How a client command ends that has found none.
pub(crate) fn exit_without_result() -> ExitCode {
    NO_RESULT.into()
}

/// How long an attempt took, down to what a quick one takes.
pub(crate) fn took(started: Micros, finished: Micros) -> String {
    let micros = finished.0.saturating_sub(started.0);
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => Span::from_ms(micros / 1_000).to_string(),
    }
}

/// How long the last attempt ran, suspensions left out, and how long it was expected to.
pub(crate) fn ran(result: &TaskResult) -> Option<String> {
    let ran = result.ran?;
    Some(match result.estimate {
        Some(expected) => format!("{ran}, expected {expected}"),
        None => ran.to_string(),
    })
}

/// Text from a message, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use rota_bus::{BusOptions, Expect, Message, Prefix, StreamOptions};
    use rota_local::{NatsServer, ServerOptions};
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    async fn connected(server: &NatsServer) -> Bus {
        let options = BusOptions {
            servers: server.url(),
            credentials: None,
            name: "test".to_owned(),
            prefix: Prefix::default(),
            inbox_prefix: None,
        };
        let bus = Bus::connect(options).await.unwrap();
        bus.ensure_streams(StreamOptions::default()).await.unwrap();
        bus
    }

    fn completed(id: &TaskId) -> TaskResult {
        TaskResult {
            id: id.clone(),
            state: FinalState::Completed,
            kind: "echo".to_owned(),
            attempts: 1,
            worker: None,
            exit: None,
            reason: None,
            submitted: None,
            started: None,
            finished: Micros(1),
            ran: None,
            estimate: None,
            traceparent: None,
        }
    }

    /// As a client does it that names the result's subject as the reply of a direct get.
    async fn forge(bus: &Bus, id: &TaskId, headers: &[(&'static str, &str)]) {
        let message = Message {
            subject: bus.subjects().result(id),
            headers: headers.iter().copied().collect(),
            payload: "forged".into(),
        };
        let storing = bus.store(message, Expect::Nothing).await.unwrap();
        storing.done().await.unwrap();
    }

    #[tokio::test]
    async fn a_forged_result_is_none_and_the_true_one_is_waited_for() {
        let server = NatsServer::start(ServerOptions::default()).await.unwrap();
        let bus = connected(&server).await;
        let id = TaskId::parse("victim").unwrap();
        let mut told = bus.subscribe(&bus.subjects().results()).await.unwrap();
        bus.flush().await.unwrap();
        let mine = [(ID, "mine"), (STATE, "completed")];
        for headers in [&[][..], &mine, &[(ID, "victim")]] {
            forge(&bus, &id, headers).await;
            let found = wait_for_result(&bus, &id, Duration::ZERO).await.unwrap();
            assert!(found.is_none(), "{headers:?}");
            let message = told.next().await.unwrap();
            assert_eq!(told_result(&bus, &message), None, "{headers:?}");
        }
        let waiting = wait_for_result(&bus, &id, DEADLINE);
        let result = completed(&id);
        let settling = bus.settle_result(&result, "true".into());
        let (found, settled) = timeout(DEADLINE, async { tokio::join!(waiting, settling) })
            .await
            .unwrap();
        settled.unwrap();
        assert_eq!(found.unwrap().unwrap().body, "true");
        // Those of the writes that were refused are told too.
        let mut genuine = None;
        while genuine.is_none() {
            let message = timeout(DEADLINE, told.next()).await.unwrap().unwrap();
            genuine = told_result(&bus, &message);
        }
        assert_eq!(genuine, Some(id));
    }

    #[test]
    fn of_a_forged_result_it_is_said_what_is_wrong_with_it() {
        let id = TaskId::parse("victim").unwrap();
        let found = StoredResult {
            headers: [(ID, "other")].into_iter().collect(),
            result: None,
            genuine: false,
            body: "forged".into(),
        };
        let told = forged(&id, &found);
        assert!(told.contains("names task other in Rota-Id"), "{told}");
    }

    #[test]
    fn short_and_long_spans_are_told_with_what_matters() {
        let told = |micros: u64| took(Micros(5), Micros(5 + micros));
        assert_eq!(told(822), "822 µs");
        assert_eq!(told(13_470), "13.4 ms");
        assert_eq!(told(61_500_000), Span::from_ms(61_500).to_string());
    }

    #[test]
    fn text_from_a_message_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
    }
}
