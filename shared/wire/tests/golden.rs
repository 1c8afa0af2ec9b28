//! What crosses the wire is written, byte for byte, as `testdata/` says, and read back from there.
//!
//! These files stand for the programs that are already out there: a change of a type that an older or
//! newer Rota would misread shows up here, and nowhere else. How to change a format on purpose is in
//! CONTRIBUTING.md and in each failure.

mod samples {
    pub(crate) mod frames;
    pub(crate) mod headers;
    pub(crate) mod testdata;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;
use rota_wire::dispatch::{Assign, Report};
use rota_wire::event::EventBatch;
use rota_wire::fleet::{Heartbeat, Obituary, RollCall};
use rota_wire::frame::{Frame, decode, encode};
use rota_wire::memory::Memory;
use rota_wire::result::TaskResult;
use rota_wire::{Dialect, TaskSpec};
use samples::frames::{self, Samples};
use samples::testdata;

const HEARTBEAT_V1: &str = "heartbeat.v1.hex";
const ASSIGN_V1: &str = "assign.v1.hex";
const READY: &str = "ready.headers";
const RESULT: &str = "result.headers";

#[test]
fn heartbeats_are_written_and_read_as_ever() {
    frames_are_golden(&frames::heartbeats());
}

#[test]
fn roll_calls_are_written_and_read_as_ever() {
    frames_are_golden(&frames::roll_calls());
}

#[test]
fn assign_frames_are_written_and_read_as_ever() {
    frames_are_golden(&frames::assigns());
}

#[test]
fn reports_are_written_and_read_as_ever() {
    frames_are_golden(&frames::reports());
}

#[test]
fn event_batches_are_written_and_read_as_ever() {
    frames_are_golden(&frames::event_batches());
}

#[test]
fn obituaries_are_written_and_read_as_ever() {
    frames_are_golden(&frames::obituaries());
}

#[test]
fn the_memory_of_a_leader_is_written_and_read_as_ever() {
    frames_are_golden(&frames::memories());
}

#[test]
fn heartbeats_of_the_first_release_are_read_and_written_for_it() {
    let golden = older_are_golden(HEARTBEAT_V1, &frames::heartbeats_v1());
    for (shape, newest) in frames::heartbeats() {
        let read: Heartbeat = decode(&golden[shape]).expect("an older version is read");
        assert_eq!(read.dialect, Dialect::V1, "{shape}");
        assert_eq!(read.encode_in(Dialect::V1), golden[shape], "{shape}");
        assert_eq!(read.held.len(), newest.held.len(), "{shape}");
        assert!(read.held.iter().all(|held| held.task.is_none()), "{shape}");
    }
}

#[test]
fn assign_frames_of_the_first_release_are_read_and_written_for_it() {
    let golden = older_are_golden(ASSIGN_V1, &frames::assigns_v1());
    for (shape, newest) in frames::assigns() {
        let read: Assign = decode(&golden[shape]).expect("an older version is read");
        assert_eq!(read.encode_v1(), golden[shape], "{shape}");
        assert_eq!(read.mark, newest.mark, "{shape}");
    }
}

#[test]
fn the_headers_of_a_task_are_written_and_read_as_ever() {
    let tasks = samples::headers::tasks();
    let written: Vec<_> = tasks
        .iter()
        .map(|(shape, task)| (*shape, testdata::lines(&task.to_headers())))
        .collect();
    let golden = testdata::compare(READY, &written);
    for (shape, task) in tasks {
        let headers = testdata::headers(&golden[shape]);
        assert_eq!(TaskSpec::from_ready(&task.kind, &headers), Ok(task));
    }
}

#[test]
fn the_headers_of_a_result_are_written_and_read_as_ever() {
    let results = samples::headers::results();
    let written: Vec<_> = results
        .iter()
        .map(|(shape, result)| (*shape, testdata::lines(&result.to_headers())))
        .collect();
    let golden = testdata::compare(RESULT, &written);
    for (shape, result) in results {
        let headers = testdata::headers(&golden[shape]);
        assert_eq!(TaskResult::from_headers(&headers), Some(result));
    }
}

/// What lies there unread would look like a promise.
#[test]
fn no_golden_file_lies_unused() {
    let known: BTreeSet<String> = [
        file_of::<Heartbeat>(),
        file_of::<RollCall>(),
        file_of::<Assign>(),
        file_of::<Report>(),
        file_of::<EventBatch>(),
        file_of::<Obituary>(),
        file_of::<Memory>(),
        HEARTBEAT_V1.to_owned(),
        ASSIGN_V1.to_owned(),
        READY.to_owned(),
        RESULT.to_owned(),
    ]
    .into();
    let found: BTreeSet<String> = std::fs::read_dir(testdata::folder())
        .expect("testdata is there")
        .map(|entry| entry.expect("testdata can be read").file_name())
        .map(|name| name.into_string().expect("names are text"))
        .collect();
    let unused: Vec<_> = found.difference(&known).collect();
    assert!(
        unused.is_empty(),
        "no test reads {unused:?} of testdata: read the files of older versions with their decoders"
    );
}

fn frames_are_golden<F: Frame + PartialEq + Debug>(samples: &Samples<F>) {
    let written: Vec<_> = samples
        .iter()
        .map(|(shape, frame)| (*shape, testdata::hex(&encode(frame))))
        .collect();
    let golden = testdata::compare(&file_of::<F>(), &written);
    for (shape, frame) in samples {
        let bytes = testdata::bytes(&golden[*shape]);
        assert_eq!(bytes.first(), Some(&F::VERSION), "{shape}");
        assert_eq!(decode::<F>(&bytes).as_ref(), Ok(frame), "{shape}");
    }
}

fn older_are_golden(
    file: &str,
    samples: &[(&'static str, Bytes)],
) -> BTreeMap<&'static str, Bytes> {
    let hex = samples
        .iter()
        .map(|(shape, bytes)| (*shape, testdata::hex(bytes)));
    let golden = testdata::compare(file, &hex.collect::<Vec<_>>());
    let shapes = samples.iter().map(|(shape, _)| *shape);
    shapes
        .map(|shape| (shape, testdata::bytes(&golden[shape]).into()))
        .collect()
}

/// Of one version: the next one gets a file of its own.
fn file_of<F: Frame>() -> String {
    format!("{}.v{}.hex", F::NAME.replace(' ', "_"), F::VERSION)
}
