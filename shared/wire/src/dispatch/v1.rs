//! Version 1 of the assign frame, frozen: read from leaders, and written for workers, of the first dialect.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ASSIGNMENTS_MAX, Assign, Assignment, ENTRIES_MAX, Input};
use crate::bounded;
use crate::fleet::FrameMark;
use crate::frame::{Frame, FrameError, decode_body, encode_version};
use crate::ids::{Holding, Kind, TaskId};
use crate::span::{Micros, Span};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct AssignV1 {
    mark: FrameMark,
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    settled: Vec<u64>,
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    revoked: Vec<Holding>,
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    suspended: Vec<Holding>,
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_MAX>")]
    resumed: Vec<Holding>,
    #[serde(deserialize_with = "bounded::list::<_, _, ASSIGNMENTS_MAX>")]
    tasks: Vec<AssignmentV1>,
}

#[derive(Serialize, Deserialize)]
struct AssignmentV1 {
    holding: Holding,
    id: TaskId,
    kind: Kind,
    attempt: u32,
    timeout: Span,
    estimate: Option<Span>,
    submitted: Micros,
    traceparent: Option<String>,
    input: Bytes,
}

pub(super) fn encode(frame: &Assign) -> Bytes {
    let Assign {
        mark,
        settled,
        revoked,
        suspended,
        resumed,
        tasks,
    } = frame.clone();
    let older = AssignV1 {
        mark,
        settled,
        revoked,
        suspended,
        resumed,
        tasks: tasks.into_iter().filter_map(downgrade).collect(),
    };
    encode_version(VERSION, &older)
}

pub(super) fn decode(version: u8, body: &[u8]) -> Option<Result<Assign, FrameError>> {
    (version == VERSION).then(|| decode_body(Assign::NAME, body).map(upgrade))
}

fn upgrade(older: AssignV1) -> Assign {
    let AssignV1 {
        mark,
        settled,
        revoked,
        suspended,
        resumed,
        tasks,
    } = older;
    let tasks = tasks.into_iter().map(|task| Assignment {
        holding: task.holding,
        id: task.id,
        kind: task.kind,
        attempt: task.attempt,
        timeout: task.timeout,
        estimate: task.estimate,
        submitted: task.submitted,
        traceparent: task.traceparent,
        priority: None,
        input: Input::Inline(task.input),
    });
    Assign {
        mark,
        settled,
        revoked,
        suspended,
        resumed,
        tasks: tasks.collect(),
    }
}

fn downgrade(task: Assignment) -> Option<AssignmentV1> {
    let input = match task.input {
        Input::Inline(input) => input,
        Input::InStream { .. } => return None,
    };
    Some(AssignmentV1 {
        holding: task.holding,
        id: task.id,
        kind: task.kind,
        attempt: task.attempt,
        timeout: task.timeout,
        estimate: task.estimate,
        submitted: task.submitted,
        traceparent: task.traceparent,
        input,
    })
}
