//! Whatever arrives: bytes that are no frame, damaged frames, and headers that anybody may have written.
//!
//! What must hold: decoding never panics and never takes memory for what only a length claims; it ends in
//! an error or in a value that can be written again; a header that breaks a rule is named.

mod samples {
    pub(crate) mod frames;
}

use std::alloc::System;
use std::fmt::Debug;

use bytes::Bytes;
use cap::Cap;
use proptest::prelude::*;
use proptest::sample::select;
use rota_wire::dispatch::{ASSIGNMENTS_MAX, Assign, ENTRIES_MAX, Report};
use rota_wire::event::EventBatch;
use rota_wire::fleet::{Heartbeat, LABELS_MAX, Obituary, RollCall};
use rota_wire::frame::{FRAME_BYTES_MAX, Frame, FrameError, decode, encode};
use rota_wire::headers;
use rota_wire::memory::Memory as LeaderMemory;
use rota_wire::options::Backoff;
use rota_wire::resources::REQUIRES_MAX;
use rota_wire::result::{FinalState, TaskResult};
use rota_wire::task::{Recheck, Unreadable};
use rota_wire::{
    Cpu, Headers, Kind, Memory, Micros, Priority, Rejection, Resources, Span, TaskId, TaskOptions,
    TaskSpec, WorkerId,
};
use samples::frames;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// For this whole process with all its tests at once, most of it for the tests themselves. serde takes up
/// to 1 MiB for a list on the word of its length, and postcard nothing for text and bytes.
const MEMORY_BYTES_MAX: usize = 128 << 20;

/// Frames of random bytes are about as large as the samples.
const RANDOM_BYTES_MAX: usize = 1_024;

/// The last point in time that can be written, 9999-12-30.
const MICROS_MAX: u64 = 253_402_207_199_999_999;

/// What a submitter may set.
const OPTIONS: [&str; 4] = [
    headers::PRIORITY,
    headers::TIMEOUT,
    headers::ATTEMPTS,
    headers::BACKOFF,
];

/// What is checked on a message of ROTA_READY.
const READY: [&str; 7] = [
    headers::ID,
    headers::SUBMITTED,
    headers::ATTEMPT,
    headers::PRIORITY,
    headers::TIMEOUT,
    headers::ATTEMPTS,
    headers::BACKOFF,
];

#[test]
fn a_frame_that_was_cut_short_is_refused_wherever_it_was_cut() {
    fn check<F: Frame + PartialEq + Debug>(samples: frames::Samples<F>) {
        for (shape, frame) in samples {
            let bytes = encode(&frame);
            for end in 0..bytes.len() {
                let decoded = decode::<F>(&bytes[..end]);
                assert!(decoded.is_err(), "{shape} cut to {end}: {decoded:?}");
            }
        }
    }
    check(frames::heartbeats());
    check(frames::roll_calls());
    check(frames::assigns());
    check(frames::reports());
    check(frames::event_batches());
}

#[test]
fn a_frame_with_any_bit_flipped_is_refused_or_is_another_frame() {
    for bytes in samples() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            judge_as_all(&flipped);
        }
    }
}

#[test]
fn a_length_that_promises_the_world_takes_no_memory() {
    // A version, then as many lists, texts and numbers as there are, each of 2^63 or 2^28 entries.
    for huge in [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
        &[0xff, 0xff, 0xff, 0x7f],
    ] {
        let lengths: Vec<u8> = huge.iter().copied().cycle().take(512).collect();
        for bytes in samples() {
            for at in 1..bytes.len() {
                judge_as_all(&[&bytes[..at], &lengths].concat());
            }
        }
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_before_it_is_looked_into() {
    let bytes = vec![RollCall::VERSION; FRAME_BYTES_MAX + 1];
    let refused = decode::<RollCall>(&bytes).expect_err("too large");
    assert!(matches!(refused, FrameError::TooLarge { .. }), "{refused}");
}

#[test]
fn a_list_is_read_up_to_its_most_and_no_further() {
    let (_, heartbeat) = frames::heartbeats().remove(0);
    for (labels, is_fine) in [(LABELS_MAX, true), (LABELS_MAX + 1, false)] {
        let labels = vec!["a".parse().expect("a label"); labels];
        let heartbeat = Heartbeat {
            labels,
            ..heartbeat.clone()
        };
        assert_eq!(
            decode::<Heartbeat>(&encode(&heartbeat)).is_ok(),
            is_fine,
            "{} labels",
            heartbeat.labels.len()
        );
    }
}

#[test]
fn the_lists_of_dispatch_are_read_up_to_their_most_and_no_further() {
    let (_, assign) = frames::assigns().remove(0);
    let holding = frames::assigns()
        .iter()
        .find_map(|(_, frame)| frame.tasks.first())
        .map(|task| task.holding);
    let holding = holding.expect("a sample assigns something");
    for (more, is_fine) in [(0, true), (1, false)] {
        let assign = Assign {
            revoked: vec![holding; ENTRIES_MAX + more],
            ..assign.clone()
        };
        assert_eq!(decode::<Assign>(&encode(&assign)).is_ok(), is_fine);
        assert_eq!(decode::<Assign>(&assign.encode_v1()).is_ok(), is_fine);
        let (_, mut report) = frames::reports().remove(0);
        let outcome = report.outcomes.first().expect("a sample has one").clone();
        report.outcomes = vec![outcome; ASSIGNMENTS_MAX + more];
        let bytes = encode(&report);
        assert_eq!(decode::<Report>(&bytes).is_ok(), is_fine, "{}", bytes.len());
    }
}

proptest! {
    #[test]
    fn random_bytes_are_refused_or_are_a_frame(
        bytes in prop::collection::vec(any::<u8>(), 0..RANDOM_BYTES_MAX),
    ) {
        judge_as_all(&bytes);
    }

    #[test]
    fn a_frame_damaged_in_several_places_is_refused_or_is_another_frame(
        bytes in select(samples()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
    ) {
        let mut bytes = bytes;
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        judge_as_all(&bytes);
    }

    #[test]
    fn an_option_of_any_value_is_taken_or_named(name in any_case(&OPTIONS), value in any_value()) {
        let given = one_header(&name, &value);
        match TaskOptions::from_submission(&given) {
            Ok(options) => prop_assert_eq!(options_again(&options), Ok(options)),
            Err(rejection) => prop_assert!(rejection.header.eq_ignore_ascii_case(&name)),
        }
    }

    #[test]
    fn an_option_that_nobody_knows_is_named(rest in "[a-zA-Z-]{1,20}", value in any_value()) {
        let name = format!("rOTA-{rest}");
        prop_assume!(!OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(&name)));
        let rejection = TaskOptions::from_submission(&one_header(&name, &value)).expect_err("unknown");
        prop_assert_eq!(rejection.header, name);
    }

    #[test]
    fn a_submission_of_any_id_and_kind_is_taken_or_its_fault_is_named(
        id in any_value(),
        kind in any_value(),
        sequence: u64,
    ) {
        let given = one_header(headers::MSG_ID, &id);
        match TaskSpec::from_submission(&kind, &given, sequence, Micros(0)) {
            Ok(task) => prop_assert_eq!(task.id.as_str(), given.value(headers::MSG_ID).expect("given")),
            Err(refused) if refused.rejection.header == headers::MSG_ID => {
                prop_assert_eq!(refused.id, TaskId::from_sequence(sequence));
            }
            Err(refused) => {
                prop_assert_eq!(refused.rejection.header, "kind");
                prop_assert!(Kind::parse(&kind).is_err());
            }
        }
    }

    #[test]
    fn a_message_of_the_ready_stream_with_any_one_value_is_taken_or_the_header_is_named(
        task in any_task(),
        name in any_case(&READY),
        value in any_value(),
    ) {
        let written = task.to_headers();
        let others = written.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(&name));
        let given = others.chain([(name.as_str(), value.as_str())]);
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        match TaskSpec::from_ready(&task.kind, &given) {
            Ok(read) => prop_assert_eq!(TaskSpec::from_ready(&read.kind, &read.to_headers()), Ok(read)),
            Err(Unreadable::Malformed(rejection)) => {
                prop_assert!(rejection.header.eq_ignore_ascii_case(&name));
            }
            Err(Unreadable::Newer { header, .. }) => {
                prop_assert!(header.eq_ignore_ascii_case(&name));
            }
        }
    }

    #[test]
    fn result_headers_of_any_value_are_taken_or_refused(
        result in any_result(),
        index: prop::sample::Index,
        value in any_value(),
    ) {
        let mut pairs: Vec<_> = result.to_headers().iter().map(owned).collect();
        let at = index.index(pairs.len());
        pairs[at].1 = value;
        if let Some(read) = TaskResult::from_headers(&pairs.into_iter().collect()) {
            prop_assert_eq!(TaskResult::from_headers(&read.to_headers()), Some(read));
        }
    }

    #[test]
    fn a_task_survives_the_way_through_its_headers(task in any_task()) {
        prop_assert_eq!(TaskSpec::from_ready(&task.kind, &task.to_headers()), Ok(task));
    }

    #[test]
    fn a_result_survives_the_way_through_its_headers(result in any_result()) {
        prop_assert_eq!(TaskResult::from_headers(&result.to_headers()), Some(result));
    }
}

/// Every sample of every frame, as bytes.
fn samples() -> Vec<Vec<u8>> {
    fn bytes<F: Frame>(samples: &frames::Samples<F>) -> Vec<Vec<u8>> {
        let encoded = samples.iter().map(|(_, frame)| encode(frame).to_vec());
        encoded.collect()
    }
    let older = |samples: Vec<(&str, Bytes)>| {
        let bytes = samples.into_iter().map(|(_, bytes)| bytes.to_vec());
        bytes.collect::<Vec<_>>()
    };
    [
        bytes(&frames::heartbeats()),
        bytes(&frames::roll_calls()),
        bytes(&frames::assigns()),
        bytes(&frames::reports()),
        bytes(&frames::event_batches()),
        bytes(&frames::obituaries()),
        bytes(&frames::memories()),
        older(frames::heartbeats_v1()),
        older(frames::assigns_v1()),
    ]
    .concat()
}

/// A frame can also arrive on another frame's subject.
fn judge_as_all(bytes: &[u8]) {
    judge::<Heartbeat>(bytes);
    judge::<RollCall>(bytes);
    judge::<Assign>(bytes);
    judge::<Report>(bytes);
    judge::<EventBatch>(bytes);
    judge::<Obituary>(bytes);
    judge::<LeaderMemory>(bytes);
}

/// As they are, and past the version byte in any case.
fn judge<F: Frame + PartialEq + Debug>(bytes: &[u8]) {
    judge_exactly::<F>(bytes);
    let mut versioned = bytes.to_vec();
    if let Some(version) = versioned.first_mut() {
        *version = F::VERSION;
    }
    judge_exactly::<F>(&versioned);
}

fn judge_exactly<F: Frame + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(frame) = decode::<F>(bytes) {
        // Read from an older version it is written as the newest, and is the same from then on.
        let again = decode::<F>(&encode(&frame)).expect("what was written is read");
        assert_eq!(encode(&again), encode(&frame));
    }
    let most = MEMORY.max_allocated();
    assert!(
        most < MEMORY_BYTES_MAX,
        "{} of {} bytes took {most} bytes of memory",
        F::NAME,
        bytes.len()
    );
}

fn one_header(name: &str, value: &str) -> Headers {
    [(name.to_owned(), value)].into_iter().collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn options_again(options: &TaskOptions) -> Result<TaskOptions, Rejection> {
    let mut headers = Headers::new();
    options.write(&mut headers);
    TaskOptions::from_ready(&headers)
}

/// One of the names, in some case.
fn any_case(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(names), any::<u64>()).prop_map(|(name, case)| {
        let letters = name.chars().enumerate().map(|(index, letter)| {
            if case >> (index % 64) & 1 == 1 {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            }
        });
        letters.collect()
    })
}

/// Anything at all, and what looks almost right.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        ".{0,2000}",
        "-?[0-9]{0,25}",
        "-?[0-9]{1,20}(\\.[0-9]{1,5})?[a-zµ]{1,3}",
        "[0-9]{1,20}(ms|s|m|h)\\.\\.[0-9]{1,20}(ms|s|m|h|y)",
        "[0-9-]{1,12}T[0-9:.]{1,16}Z?",
        "[A-Za-z0-9_-]{1,70}",
    ]
}

fn any_task() -> impl Strategy<Value = TaskSpec> {
    let recheck = select(&[Recheck::Fresh, Recheck::Named, Recheck::MayHaveRun][..]);
    (
        "[A-Za-z0-9_-]{1,64}",
        "[a-z0-9_-]{1,64}",
        any_time(),
        1..=u32::MAX,
        recheck,
        any_options(),
    )
        .prop_map(
            |(id, kind, submitted, attempt, recheck, options)| TaskSpec {
                id: TaskId::parse(&id).expect("made to the rule"),
                kind: Kind::parse(&kind).expect("made to the rule"),
                submitted,
                attempt,
                recheck,
                options,
            },
        )
}

fn any_options() -> impl Strategy<Value = TaskOptions> {
    let spans = (0..=Span::MAX.ms(), 1..=Span::MAX.ms());
    (
        0..=9_u8,
        1..=Span::MAX.ms(),
        1..=1_000_u32,
        spans,
        any_needs(),
        prop::option::of("[ -~]{0,100}"),
    )
        .prop_map(
            |(priority, timeout, attempts, (first, cap), needs, traceparent)| TaskOptions {
                priority: Priority::new(priority).expect("0 to 9"),
                timeout: Span::from_ms(timeout),
                attempts,
                backoff: Backoff {
                    first: Span::from_ms(first.min(cap)),
                    cap: Span::from_ms(cap),
                },
                traceparent,
                ..needs
            },
        )
}

/// Options of which only the needs are set.
fn any_needs() -> impl Strategy<Value = TaskOptions> {
    let label = "[a-zA-Z0-9_.-]{1,20}(=[a-zA-Z0-9_.-]{1,20})?";
    (
        0..=1_000_000_000_u32,
        any::<u64>(),
        prop::collection::btree_set(label, 0..=REQUIRES_MAX),
        prop::option::of(0..=Span::MAX.ms()),
    )
        .prop_map(|(cpu, memory, labels, duration)| TaskOptions {
            demand: Resources {
                cpu: Cpu(cpu),
                memory: Memory(memory),
            },
            requires: labels
                .iter()
                .map(|label| label.parse().expect("made to the rule"))
                .collect(),
            duration: duration.map(Span::from_ms),
            ..TaskOptions::default()
        })
}

fn any_result() -> impl Strategy<Value = TaskResult> {
    let text = || "[^\\p{Cc}]{0,80}";
    let worker =
        "[A-Za-z0-9_-]{1,64}".prop_map(|text| WorkerId::parse(&text).expect("made to the rule"));
    let known = (
        "[A-Za-z0-9_-]{1,64}",
        select(&FinalState::ALL[..]),
        text(),
        any::<u32>(),
        any_time(),
    );
    let rest = (
        prop::option::of(worker),
        prop::option::of(text()),
        prop::option::of(text()),
        prop::option::of(any_time()),
        prop::option::of(any_time()),
        prop::option::of(text()),
        prop::option::of(0..=Span::MAX.ms()),
        prop::option::of(0..=Span::MAX.ms()),
    );
    (known, rest).prop_map(|(known, rest)| {
        let (id, state, kind, attempts, finished) = known;
        let (worker, exit, reason, submitted, started, traceparent, ran, estimate) = rest;
        TaskResult {
            id: TaskId::parse(&id).expect("made to the rule"),
            state,
            kind,
            attempts,
            worker,
            exit,
            reason,
            submitted,
            started,
            finished,
            ran: ran.map(Span::from_ms),
            estimate: estimate.map(Span::from_ms),
            traceparent,
        }
    })
}

fn any_time() -> impl Strategy<Value = Micros> {
    (0..=MICROS_MAX).prop_map(Micros)
}
