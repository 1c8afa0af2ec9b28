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

use std::collections::BTreeSet;
use std::fmt::Debug;

use rota_wire::TaskSpec;
use rota_wire::dispatch::{Assign, Report};
use rota_wire::event::EventBatch;
use rota_wire::fleet::{Heartbeat, RollCall};
use rota_wire::frame::{Frame, decode, encode};
use rota_wire::result::TaskResult;
use samples::frames::{self, Samples};
use samples::testdata;

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

/// Of one version: the next one gets a file of its own.
fn file_of<F: Frame>() -> String {
    format!("{}.v{}.hex", F::NAME.replace(' ', "_"), F::VERSION)
}
