//! What becomes of a submission, rule by rule.

use rota_bus::Prefix;
use rota_wire::headers::{ATTEMPT, ID, MSG_ID, PRIORITY, REASON, RECHECK, SUBMITTED, TIMEOUT};

use super::*;

const STORED: Micros = Micros(1_795_420_800_123_456);

/// A message at the door that owns what an [`Arrival`] borrows.
struct Given {
    subject: &'static str,
    headers: Headers,
    payload: Bytes,
    deliveries: u32,
}

fn given(subject: &'static str, headers: &[(&'static str, &str)]) -> Given {
    Given {
        subject,
        headers: headers.iter().copied().collect(),
        payload: Bytes::from_static(b"\x00\xff\r\nbody"),
        deliveries: 1,
    }
}

fn decide(source: FeedSource, given: &Given) -> Decision {
    let rules = Rules {
        source,
        subjects: Subjects::new(Prefix::default()),
        body_bytes_max: 1_000,
    };
    rules.decide(&Arrival {
        subject: given.subject,
        headers: &given.headers,
        payload: &given.payload,
        sequence: 17,
        deliveries: given.deliveries,
        stored: STORED,
    })
}

fn passed(source: FeedSource, given: &Given) -> Passing {
    match decide(source, given) {
        Decision::Ready(passing) => passing,
        other => panic!("not passed: {other:?}"),
    }
}

fn rejected(given: &Given) -> Refusal {
    match decide(FeedSource::Submissions, given) {
        Decision::Reject(refusal) => refusal,
        other => panic!("not rejected: {other:?}"),
    }
}

#[test]
fn a_submission_goes_into_its_lane_with_its_body_untouched() {
    let given = given(
        "rota.submit.echo",
        &[(PRIORITY, "8"), (TIMEOUT, "30s"), ("Other", "x")],
    );
    let Passing {
        message, expect, ..
    } = passed(FeedSource::Submissions, &given);
    assert_eq!(message.subject.as_str(), "rota.ready.echo.8");
    let headers: Vec<_> = message.headers.iter().collect();
    let stored = STORED.to_string();
    let wanted = [
        (ID, "17"),
        (SUBMITTED, stored.as_str()),
        (PRIORITY, "8"),
        (TIMEOUT, "30s"),
    ];
    assert_eq!(headers, wanted);
    assert_eq!(message.payload, given.payload);
    assert_eq!(expect, Expect::Nothing);
}

#[test]
fn a_submission_delivered_again_may_have_run() {
    let mut given = given("rota.submit.echo", &[]);
    let first = passed(FeedSource::Submissions, &given);
    assert_eq!(first.message.headers.value(RECHECK), None);
    given.deliveries = 2;
    let again = passed(FeedSource::Submissions, &given);
    assert_eq!(again.message.headers.value(RECHECK), Some("1"));
}

#[test]
fn a_broken_rule_is_told_under_an_id_that_the_submitter_knows() {
    let bad = given(
        "rota.submit.echo",
        &[(MSG_ID, "mine"), (PRIORITY, "11"), (TRACEPARENT, "00-t")],
    );
    let refusal = rejected(&bad);
    let result = refusal.result(Micros(STORED.0 + 1));
    assert_eq!(result.id.as_str(), "mine");
    assert_eq!(result.state, FinalState::Rejected);
    assert_eq!(
        result.reason.as_deref(),
        Some("Rota-Priority `11`: must be 0 to 9, 9 runs first")
    );
    assert_eq!((result.kind.as_str(), result.attempts), ("echo", 0));
    assert_eq!(
        (result.submitted, result.finished),
        (Some(STORED), Micros(STORED.0 + 1))
    );
    assert_eq!(result.traceparent.as_deref(), Some("00-t"));
}

#[test]
fn an_odd_kind_is_refused_and_named_as_it_was_given() {
    for (subject, kind) in [("rota.submit.Echo", "Echo"), ("rota.submit.a.b", "a.b")] {
        let refusal = rejected(&given(subject, &[]));
        assert_eq!((refusal.id.as_str(), refusal.kind.as_str()), ("17", kind));
        assert_eq!(refusal.rejection.header, "kind");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_with_its_size_and_the_limit() {
    let mut large = given("rota.submit.echo", &[]);
    large.payload = vec![0; 1_001].into();
    let told = rejected(&large).rejection.to_string();
    assert_eq!(told, "body `1001 bytes`: must be at most 1000 bytes");
    large.payload = vec![0; 1_000].into();
    passed(FeedSource::Submissions, &large);
}

#[test]
fn a_due_attempt_returns_to_its_lane_once() {
    let time = STORED.to_string();
    let due = given(
        "rota.due.echo.8",
        &[
            (ID, "mine"),
            (SUBMITTED, &time),
            (ATTEMPT, "3"),
            (PRIORITY, "8"),
            ("Nats-Scheduler", "rota.schedule.retry.mine"),
            ("Nats-Schedule-Next", "purge"),
        ],
    );
    let Passing {
        message, expect, ..
    } = passed(FeedSource::Due, &due);
    assert_eq!(message.subject.as_str(), "rota.ready.echo.8");
    assert_eq!(
        expect,
        Expect::NewId("due:17:1795420800123456".to_owned()),
        "another message of the same attempt must not be taken for this one"
    );
    assert_eq!(message.payload, due.payload);
    let headers: Vec<_> = message.headers.iter().collect();
    let wanted = [
        (ID, "mine"),
        (SUBMITTED, &time),
        (ATTEMPT, "3"),
        (RECHECK, "1"),
        (PRIORITY, "8"),
    ];
    assert_eq!(headers, wanted);
}

fn buried(given: &Given) -> Burial {
    match decide(FeedSource::Due, given) {
        Decision::Bury(burial) => burial,
        other => panic!("not buried: {other:?}"),
    }
}

#[test]
fn a_due_message_that_cannot_be_read_is_kept_as_a_dead_letter_and_its_submitter_is_told() {
    let odd = given(
        "rota.due.echo.8",
        &[
            (ID, "mine"),
            (ATTEMPT, "3"),
            ("Mine", "x"),
            ("Nats-Schedule-Next", "purge"),
        ],
    );
    let burial = buried(&odd);
    let reason = "its message cannot be read: Rota-Submitted ``: must be a time as in RFC 3339";
    assert_eq!(burial.letter.subject.as_str(), "rota.dead.echo");
    assert_eq!(burial.letter.payload, odd.payload);
    let headers: Vec<_> = burial.letter.headers.iter().collect();
    let wanted = [
        (ID, "mine"),
        (ATTEMPT, "3"),
        ("Mine", "x"),
        (REASON, reason),
    ];
    assert_eq!(headers, wanted, "all but what steers the server");
    let result = burial.result(Micros(5)).expect("it names a task");
    assert_eq!(
        (result.id.as_str(), result.state),
        ("mine", FinalState::Failed)
    );
    assert_eq!(
        (result.attempts, result.reason.as_deref()),
        (2, Some(reason))
    );
}

#[test]
fn a_due_message_that_names_no_task_is_kept_and_nobody_is_told() {
    let burial = buried(&given("rota.due.echo.8", &[]));
    assert_eq!(burial.letter.subject.as_str(), "rota.dead.echo");
    assert_eq!(burial.result(Micros(5)), None);
    let time = STORED.to_string();
    let lost = given("rota.due.echo", &[(ID, "1"), (SUBMITTED, &time)]);
    let burial = buried(&lost);
    assert_eq!(burial.letter.subject.as_str(), "rota.dead.unreadable");
    assert!(burial.result(Micros(5)).is_some());
}

#[test]
fn a_due_message_of_a_newer_rota_is_left_to_one() {
    let time = STORED.to_string();
    let newer = [(ID, "1"), (SUBMITTED, time.as_str()), ("Rota-Unheard", "1")];
    for subject in ["rota.due.echo.8", "rota.due.echo.8.more"] {
        let decision = decide(FeedSource::Due, &given(subject, &newer));
        assert!(matches!(decision, Decision::Leave(_)), "{decision:?}");
    }
}

#[test]
fn a_chosen_id_is_marked_as_chosen_and_as_one_that_may_have_run_when_it_comes_again() {
    let mut named = given("rota.submit.echo", &[(MSG_ID, "mine")]);
    let first = passed(FeedSource::Submissions, &named);
    assert_eq!(first.message.headers.value(RECHECK), Some("named"));
    named.deliveries = 2;
    let again = passed(FeedSource::Submissions, &named);
    assert_eq!(again.message.headers.value(RECHECK), Some("1"));
}

#[test]
fn a_kind_beyond_the_limit_is_told_the_limit_and_what_to_do() {
    let passing = passed(FeedSource::Submissions, &given("rota.submit.odd", &[]));
    assert_eq!(passing.entry, Entry::Asks);
    let told = Refusal::of_kind(&passing.task, 10).rejection.to_string();
    for text in ["kind `odd`", "10 kinds", "--kinds-max", "worked off"] {
        assert!(told.contains(text), "{text}: {told}");
    }
}

#[test]
fn a_task_that_the_server_finds_too_large_is_refused_with_the_attempts_that_it_had() {
    let time = STORED.to_string();
    let due = given(
        "rota.due.echo.5",
        &[(ID, "7"), (SUBMITTED, &time), (ATTEMPT, "3")],
    );
    let passing = passed(FeedSource::Due, &due);
    let refusal = Refusal::of_body(&passing.task, 12, "smaller");
    assert_eq!((refusal.attempts, refusal.submitted), (2, STORED));
    assert_eq!(
        refusal.rejection.to_string(),
        "body `12 bytes`: must be smaller"
    );
}
