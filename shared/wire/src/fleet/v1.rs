//! Version 1 of the heartbeat, frozen: read from workers, and written for leaders, of the first dialect.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    FrameMark, HELD_MAX, Heartbeat, Held, KINDS_MAX, KindCapacity, LABELS_MAX, MachineLoad, Stage,
    WorkerState,
};
use crate::bounded;
use crate::dialect::Dialect;
use crate::frame::{Frame, FrameError, decode_body, encode_version};
use crate::ids::{Holding, WorkerId};
use crate::resources::{Label, Resources};
use crate::span::{Micros, Span};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct HeartbeatV1 {
    worker: WorkerId,
    number: u64,
    started: Micros,
    interval: Span,
    state: WorkerState,
    slots: u32,
    resources: Resources,
    #[serde(deserialize_with = "bounded::list::<_, _, KINDS_MAX>")]
    kinds: Vec<KindCapacity>,
    #[serde(deserialize_with = "bounded::list::<_, _, LABELS_MAX>")]
    labels: Vec<Label>,
    seen: Option<FrameMark>,
    #[serde(deserialize_with = "bounded::list::<_, _, HELD_MAX>")]
    held: Vec<HeldV1>,
    machine: MachineLoad,
}

#[derive(Serialize, Deserialize)]
struct HeldV1 {
    holding: Holding,
    stage: Stage,
    ran: Span,
}

pub(super) fn encode(heartbeat: &Heartbeat) -> Bytes {
    let Heartbeat {
        worker,
        number,
        started,
        interval,
        state,
        slots,
        resources,
        kinds,
        labels,
        seen,
        held,
        machine,
        withdrawn: _,
        dialect: _,
    } = heartbeat.clone();
    let held = held.into_iter().map(|held| HeldV1 {
        holding: held.holding,
        stage: held.stage,
        ran: held.ran,
    });
    let older = HeartbeatV1 {
        worker,
        number,
        started,
        interval,
        state,
        slots,
        resources,
        kinds,
        labels,
        seen,
        held: held.collect(),
        machine,
    };
    encode_version(VERSION, &older)
}

pub(super) fn decode(version: u8, body: &[u8]) -> Option<Result<Heartbeat, FrameError>> {
    (version == VERSION).then(|| decode_body(Heartbeat::NAME, body).map(upgrade))
}

fn upgrade(older: HeartbeatV1) -> Heartbeat {
    let HeartbeatV1 {
        worker,
        number,
        started,
        interval,
        state,
        slots,
        resources,
        kinds,
        labels,
        seen,
        held,
        machine,
    } = older;
    let held = held.into_iter().map(|held| Held {
        holding: held.holding,
        stage: held.stage,
        ran: held.ran,
        task: None,
    });
    Heartbeat {
        worker,
        number,
        started,
        interval,
        state,
        slots,
        resources,
        kinds,
        labels,
        seen,
        held: held.collect(),
        machine,
        withdrawn: Vec::new(),
        dialect: Dialect::V1,
    }
}
