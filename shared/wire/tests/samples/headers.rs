//! Fixed tasks and results, each with the name of its shape.
//!
//! What must hold: together they show each header present and each optional one absent.

use rota_wire::options::Backoff;
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::task::Recheck;
use rota_wire::{
    Cpu, Kind, Memory, Micros, Priority, Resources, Span, TaskId, TaskOptions, TaskSpec, WorkerId,
};

const START: Micros = Micros(1_795_420_800_123_456);
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) fn tasks() -> Vec<(&'static str, TaskSpec)> {
    let plain = TaskSpec {
        id: TaskId::from_sequence(17),
        kind: Kind::parse("report").expect("a kind"),
        submitted: START,
        attempt: 1,
        recheck: Recheck::Fresh,
        options: TaskOptions::default(),
    };
    let full = TaskSpec {
        id: TaskId::chosen("report-1").expect("an id"),
        attempt: 3,
        recheck: Recheck::MayHaveRun,
        options: TaskOptions {
            priority: Priority::MAX,
            timeout: Span::from_ms(5_400_500),
            attempts: 7,
            backoff: Backoff {
                first: Span::from_ms(200),
                cap: Span::from_secs(90),
            },
            demand: Resources {
                cpu: Cpu(1_500),
                memory: Memory(512 << 20),
            },
            requires: ["gpu", "zone=eu"]
                .map(|label| label.parse().expect("a label"))
                .into(),
            duration: Some(Span::from_secs(90)),
            traceparent: Some(TRACEPARENT.to_owned()),
        },
        ..plain.clone()
    };
    vec![("plain", plain), ("full", full)]
}

pub(crate) fn results() -> Vec<(&'static str, TaskResult)> {
    let full = TaskResult {
        id: TaskId::chosen("report-1").expect("an id"),
        state: FinalState::Failed,
        kind: "report".to_owned(),
        attempts: 5,
        worker: WorkerId::parse("w1-f52je8").ok(),
        exit: Some("3".to_owned()),
        reason: Some("exit 3 (attempt 5 of 5)".to_owned()),
        submitted: Some(START),
        started: Some(START.plus(Span::from_secs(1))),
        finished: START.plus(Span::from_secs(2)),
        ran: Some(Span::from_ms(900)),
        estimate: Some(Span::from_secs(2)),
        traceparent: Some(TRACEPARENT.to_owned()),
    };
    FinalState::ALL
        .into_iter()
        .map(|state| (state.as_str(), of_state(&full, state)))
        .collect()
}

fn of_state(full: &TaskResult, state: FinalState) -> TaskResult {
    match state {
        FinalState::Failed => full.clone(),
        FinalState::Completed => TaskResult {
            state,
            attempts: 1,
            exit: Some("0".to_owned()),
            reason: None,
            ..full.clone()
        },
        FinalState::Cancelled | FinalState::Expired | FinalState::Rejected => TaskResult {
            state,
            attempts: 0,
            worker: None,
            exit: None,
            submitted: None,
            started: None,
            traceparent: None,
            ..full.clone()
        },
    }
}
