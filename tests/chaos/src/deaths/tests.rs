//! The figures of deaths and what is promised of them, on waits that were made up.

use super::*;

fn waits(spans_ms: &[u64]) -> Vec<Wait> {
    let wait = |ms: &u64| Wait {
        dead: Life::parse("worker1.1").unwrap(),
        task: "7".to_owned(),
        died: Moment(1_000),
        known: Some(Moment(1_000) + Duration::from_millis(ms / 2)),
        begun: Some(Moment(1_000) + Duration::from_millis(*ms)),
    };
    spans_ms.iter().map(wait).collect()
}

fn measured(spans_ms: &[u64], leaders_ms: &[u64]) -> Measured {
    Measured {
        waits: waits(spans_ms),
        leader_waits: waits(leaders_ms),
        ..Measured::default()
    }
}

#[test]
fn the_promise_is_kept_or_not() {
    assert!(measured(&[50, 60, 290], &[250]).is_kept());
    assert!(!measured(&[50, 110, 120], &[250]).is_kept(), "the median");
    assert!(!measured(&[50, 60, 310], &[250]).is_kept(), "the slow ones");
    assert!(!measured(&[50], &[310]).is_kept(), "a leader's");
}

#[test]
fn a_task_that_never_begins_again_breaks_the_promise_and_is_told() {
    let mut measured = measured(&[50, 60], &[250]);
    measured.waits[0].begun = None;
    assert!(!measured.is_kept());
    assert!(measured.to_string().contains("task 7 never began"));
}

#[test]
fn a_slow_one_is_told_with_the_time_in_which_it_was_known() {
    let told = measured(&[50, 400], &[250]).to_string();
    assert!(
        told.contains("known after 200ms: task 7 began after 400ms"),
        "{told}"
    );
    assert_eq!(told.matches("slow ").count(), 1, "{told}");
}
