//! What became of attempts.

use rota_wire::Span;
use rota_wire::dispatch::{Ending, Retry};
use rota_wire::event::Event as Told;

use crate::rig::{
    INTERVAL, Rig, acked, buried, delivered, echo, failed, handed_back, looked_up, nakked, placed,
    reported, revoked, settled, stored_retries, task, told,
};
use crate::{Event, Looked};

/// A task on the worker `w1`.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 1);
    rig.deliver(1);
    assert_eq!(rig.holds("w1"), [1]);
    rig
}

#[test]
fn a_completed_task_is_acked_and_its_report_settled() {
    let mut rig = rig();
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(acked(&actions), [1]);
    assert_eq!(settled(&actions), [("w1", 1)]);
    assert_eq!(rig.scheduler.tasks_in_memory(), 0);
}

#[test]
fn a_failed_attempt_waits_within_its_backoff_and_is_acked_only_when_its_retry_is_stored() {
    let mut rig = rig();
    let actions = rig.report("w1", 1, failed(Retry::Later));
    let retries = stored_retries(&actions);
    let [(1, 2, wait)] = retries[..] else {
        panic!("one retry: {retries:?}");
    };
    assert!(wait <= Span::from_secs(8), "{wait}");
    assert_eq!((acked(&actions), settled(&actions)), (vec![], vec![]));
    let actions = rig.event(Event::Stored { seq: 1 });
    assert_eq!(
        (acked(&actions), settled(&actions)),
        (vec![1], vec![("w1", 1)])
    );
}

#[test]
fn waits_are_drawn_from_the_whole_backoff() {
    let mut waits = Vec::new();
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 1);
    for seq in 1..=200 {
        rig.deliver(seq);
        let actions = rig.report("w1", seq, failed(Retry::Later));
        waits.push(stored_retries(&actions)[0].2.ms());
        rig.event(Event::Stored { seq });
    }
    assert!(waits.iter().all(|wait| *wait <= 8_000));
    assert!(waits.iter().any(|wait| *wait < 1_000), "full jitter");
    assert!(waits.iter().any(|wait| *wait > 7_000), "full jitter");
}

#[test]
fn a_task_whose_attempts_are_used_up_is_buried_and_then_acked() {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 1);
    let mut last = task("t");
    last.attempt = 2;
    rig.event(delivered(1, 1, last));
    rig.found(1, Looked::Nothing);
    let actions = rig.report("w1", 1, failed(Retry::Later));
    assert_eq!(buried(&actions), [(1, "exit 3 (attempt 2 of 2)")]);
    assert_eq!((acked(&actions), settled(&actions)), (vec![], vec![]));
    let actions = rig.event(Event::Stored { seq: 1 });
    assert_eq!(
        (acked(&actions), settled(&actions)),
        (vec![1], vec![("w1", 1)])
    );
    assert!(matches!(
        told(&actions)[..],
        [Told::DeadLettered { attempts: 2, .. }]
    ));
}

#[test]
fn a_failure_for_good_is_buried_at_once() {
    let mut rig = rig();
    let actions = rig.report("w1", 1, failed(Retry::Never));
    assert_eq!(buried(&actions), [(1, "exit 3")]);
    assert_eq!(
        (stored_retries(&actions), acked(&actions)),
        (vec![], vec![])
    );
}

#[test]
fn a_store_that_failed_is_tried_again_with_the_same_wait() {
    let mut rig = rig();
    let first = stored_retries(&rig.report("w1", 1, failed(Retry::Later)));
    let actions = rig.event(Event::StoreFailed { seq: 1 });
    assert_eq!(
        (acked(&actions), stored_retries(&actions)),
        (vec![], vec![])
    );
    assert_eq!(stored_retries(&rig.wait(Span::from_ms(499))), []);
    assert_eq!(stored_retries(&rig.wait(Span::from_ms(1))), first);
    assert_eq!(acked(&rig.event(Event::Stored { seq: 1 })), [1]);
    assert_eq!(
        stored_retries(&rig.wait(Span::from_ms(900))),
        [],
        "once is enough"
    );
}

#[test]
fn a_handed_back_task_uses_no_attempt_and_counts_no_loss() {
    let mut rig = rig();
    for round in 1..=5 {
        let count = round + 1;
        let actions = rig.report("w1", 1, handed_back());
        assert_eq!(
            (nakked(&actions), stored_retries(&actions)),
            (vec![1], vec![])
        );
        assert_eq!(settled(&actions).len(), 1);
        assert_eq!(looked_up(&rig.deliver_again(1, count)), [1]);
        let actions = rig.found(1, Looked::Nothing);
        assert_eq!(buried(&actions), []);
        assert_eq!(placed(&actions), [("w1", 1)], "round {round}");
    }
}

#[test]
fn a_report_that_is_repeated_after_it_was_settled_is_settled_again() {
    let mut rig = rig();
    let outcome = rig.outcome("w1", 1, Ending::Stored);
    for acks in [vec![1], vec![], vec![]] {
        let actions = rig.event(reported("w1", outcome.clone()));
        assert_eq!(
            (acked(&actions), settled(&actions)),
            (acks, vec![("w1", 1)])
        );
    }
}

#[test]
fn a_report_that_is_repeated_while_its_retry_is_being_stored_waits_for_it() {
    let mut rig = rig();
    let outcome = rig.outcome("w1", 1, failed(Retry::Later));
    rig.event(reported("w1", outcome.clone()));
    let actions = rig.event(reported("w1", outcome));
    assert_eq!(
        (settled(&actions), stored_retries(&actions)),
        (vec![], vec![])
    );
}

/// The task is on `w2`, and `w1`, which seemed lost, still has it.
fn taken_over() -> Rig {
    let mut rig = rig();
    rig.join("w2", 1);
    rig.says("w2").interval = Span::from_secs(60);
    rig.beat("w2");
    assert_eq!(nakked(&rig.wait(Span::from_ms(INTERVAL.ms() * 3))), [1]);
    rig.deliver_again(1, 2);
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), [("w2", 1)]);
    rig
}

#[test]
fn a_result_stored_by_one_who_lost_the_task_counts_and_its_holder_is_revoked() {
    let mut rig = taken_over();
    rig.lose_frames = true;
    rig.beat("w1");
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(acked(&actions), [1]);
    assert_eq!(settled(&actions), [("w1", 1)]);
    assert_eq!(revoked(&actions), [("w2", 1)]);
    assert_eq!(rig.scheduler.tasks_in_memory(), 0);
}

#[test]
fn a_failure_of_one_who_lost_the_task_is_settled_and_changes_nothing() {
    let mut rig = taken_over();
    rig.lose_frames = true;
    rig.beat("w1");
    let actions = rig.report("w1", 1, failed(Retry::Never));
    assert_eq!(settled(&actions), [("w1", 1)]);
    assert_eq!(
        (buried(&actions), acked(&actions), revoked(&actions)),
        (vec![], vec![], vec![])
    );
    let actions = rig.beat("w2");
    assert_eq!(nakked(&actions), [], "it is still with the other");
}

#[test]
fn a_report_of_an_unknown_worker_is_left_unanswered() {
    let mut rig = rig();
    let outcome = rig.outcome("w1", 1, Ending::Stored);
    rig.wait(Span::from_secs(3));
    let actions = rig.event(reported("w1", outcome));
    assert_eq!((acked(&actions), settled(&actions)), (vec![], vec![]));
}
