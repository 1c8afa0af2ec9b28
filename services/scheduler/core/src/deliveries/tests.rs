//! What comes from the lanes.

use rota_wire::Span;
use rota_wire::dispatch::Retry;
use rota_wire::task::Recheck;

use crate::rig::{
    Rig, acked, delivered, echo, failed, lane, looked_up, nakked, placed, pulled, settled,
    stored_retries, task, task_in,
};
use crate::{Action, Event, Looked};

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 4);
    rig
}

#[test]
fn a_fresh_task_is_placed_without_a_look_up() {
    let mut rig = rig();
    let actions = rig.deliver(1);
    assert_eq!(looked_up(&actions), []);
    assert_eq!(placed(&actions), [("w1", 1)]);
}

#[test]
fn a_task_that_may_have_run_is_looked_up_first() {
    let mut rig = rig();
    rig.open_with(&lane("echo", 4), 1, 9);
    let rechecked = {
        let mut spec = task("chosen");
        spec.recheck = Recheck::MayHaveRun;
        delivered(20, 1, spec)
    };
    let second_attempt = {
        let mut spec = task("tried");
        spec.attempt = 2;
        delivered(21, 1, spec)
    };
    let redelivered = delivered(22, 2, task("again"));
    let left_by_an_earlier_term = delivered(9, 1, task_in("left", &lane("echo", 4)));
    for (seq, event) in [
        (20, rechecked),
        (21, second_attempt),
        (22, redelivered),
        (9, left_by_an_earlier_term),
    ] {
        let actions = rig.event(event);
        assert_eq!((looked_up(&actions), placed(&actions)), (vec![seq], vec![]));
        let mut actions = rig.found(seq, Looked::Nothing);
        if seq == 9 {
            assert_eq!(placed(&actions), [], "an unknown worker may have it");
            actions = rig.wait(Span::from_secs(1));
        }
        assert_eq!(placed(&actions), [("w1", seq)]);
    }
}

#[test]
fn a_task_that_has_its_result_is_acked_and_not_run() {
    let mut rig = rig();
    rig.deliver_again(1, 2);
    let actions = rig.found(1, Looked::Result);
    assert_eq!((acked(&actions), placed(&actions)), (vec![1], vec![]));
    assert_eq!(rig.scheduler.tasks_in_memory(), 0);
}

#[test]
fn an_unanswered_look_up_is_tried_again_after_a_pause() {
    let mut rig = rig();
    rig.deliver_again(1, 2);
    let actions = rig.found(1, Looked::Unanswered);
    assert_eq!((looked_up(&actions), placed(&actions)), (vec![], vec![]));
    assert_eq!(looked_up(&rig.wait(Span::from_ms(499))), []);
    assert_eq!(looked_up(&rig.wait(Span::from_ms(1))), [1]);
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), [("w1", 1)]);
}

#[test]
fn a_second_message_of_a_task_is_acked_and_not_run() {
    let mut rig = rig();
    rig.event(delivered(1, 1, task("same")));
    let actions = rig.event(delivered(2, 1, task("same")));
    assert_eq!((acked(&actions), placed(&actions)), (vec![2], vec![]));
    assert_eq!(rig.scheduler.tasks_in_memory(), 1);
}

#[test]
fn a_retry_that_comes_before_its_store_is_confirmed_is_not_taken_for_a_duplicate() {
    let mut rig = rig();
    rig.event(delivered(1, 1, task("t")));
    let actions = rig.report("w1", 1, failed(Retry::Later));
    assert_eq!(stored_retries(&actions).len(), 1);
    let retry = {
        let mut spec = task("t");
        spec.attempt = 2;
        delivered(2, 1, spec)
    };
    let actions = rig.event(retry);
    assert_eq!(acked(&actions), [1], "the message that it follows is over");
    assert_eq!(settled(&actions).len(), 1);
    assert_eq!(looked_up(&actions), [2]);
    assert_eq!(acked(&rig.event(Event::Stored { seq: 1 })), []);
    assert_eq!(placed(&rig.found(2, Looked::Nothing)), [("w1", 2)]);
}

#[test]
fn a_delivery_that_comes_again_while_its_worker_has_it_changes_nothing() {
    let mut rig = rig();
    rig.deliver(1);
    let actions = rig.deliver_again(1, 2);
    assert_eq!(
        (
            looked_up(&actions),
            placed(&actions),
            acked(&actions),
            nakked(&actions)
        ),
        (vec![], vec![], vec![], vec![])
    );
    let actions = rig.report("w1", 1, rota_wire::dispatch::Ending::Stored);
    assert_eq!(acked(&actions), [1]);
}

#[test]
fn a_lane_that_is_gone_is_opened_again_and_pulled_anew() {
    let mut rig = rig();
    let actions = rig.event(Event::LaneGone { lane: echo() });
    assert!(actions.contains(&Action::OpenLane { lane: echo() }));
    assert_eq!(pulled(&actions), []);
    let actions = rig.open(&echo());
    assert_eq!(pulled(&actions), [("echo.5".to_owned(), 68)]);
}

#[test]
fn what_a_lost_consumer_had_delivered_is_looked_up_although_the_new_one_does_not_know() {
    let mut rig = rig();
    rig.deliver(1);
    let actions = rig.report("w1", 1, rota_wire::dispatch::Ending::Stored);
    assert_eq!(acked(&actions), [1], "and the ack is lost");
    rig.event(Event::LaneGone { lane: echo() });
    rig.open(&echo());
    assert_eq!(looked_up(&rig.deliver(1)), [1]);
    assert_eq!(looked_up(&rig.deliver(2)), [], "this one is new");
}
