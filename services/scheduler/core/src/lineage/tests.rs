//! Two messages of one task.

use rota_wire::dispatch::{Ending, Retry};
use rota_wire::{Lane, Span, TaskSpec};

use crate::rig::{
    Rig, acked, buried, delivered, echo, failed, handed_back, heartbeat, lane, looked_up, nakked,
    placed, revoked, running_in, settled, stored_retries, task, task_in,
};
use crate::{Action, Event, Looked, Options};

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 4);
    rig
}

fn attempt(id: &str, attempt: u32) -> TaskSpec {
    TaskSpec {
        attempt,
        ..task(id)
    }
}

fn of_lane(id: &str, lane: &Lane) -> TaskSpec {
    task_in(id, lane)
}

/// The message with the second attempt comes: which messages are acked, and whether it is looked up.
fn second_comes(rig: &mut Rig) -> Vec<Action> {
    rig.event(delivered(2, 1, attempt("t", 2)))
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_is_looked_up() {
    let mut rig = rig();
    rig.event(delivered(1, 2, task("t")));
    let actions = second_comes(&mut rig);
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![1], vec![2]));
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), []);
    assert_eq!(placed(&rig.found(2, Looked::Nothing)), [("w1", 2)]);
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_is_ready() {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.event(delivered(1, 1, task("t")));
    let actions = second_comes(&mut rig);
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![1], vec![2]));
    rig.found(2, Looked::Nothing);
    assert_eq!(placed(&rig.join("w1", 4)), [("w1", 2)]);
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_runs() {
    let mut rig = rig();
    rig.event(delivered(1, 1, task("t")));
    let actions = second_comes(&mut rig);
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![1], vec![2]));
    assert_eq!(revoked(&actions), [("w1", 1)]);
    assert_eq!(placed(&rig.found(2, Looked::Nothing)), [("w1", 2)]);
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_is_given_back() {
    let mut rig = rig();
    rig.event(delivered(1, 1, task("t")));
    assert_eq!(nakked(&rig.report("w1", 1, handed_back())), [1]);
    let actions = second_comes(&mut rig);
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![1], vec![2]));
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_is_being_settled() {
    for ending in [Retry::Later, Retry::Never] {
        let mut rig = rig();
        rig.event(delivered(1, 1, task("t")));
        rig.report("w1", 1, failed(ending));
        let actions = second_comes(&mut rig);
        assert_eq!((acked(&actions), looked_up(&actions)), (vec![1], vec![2]));
        assert_eq!(settled(&actions).len(), 1, "its report is settled");
        assert_eq!(acked(&rig.event(Event::Stored { seq: 1 })), []);
        rig.event(Event::StoreFailed { seq: 1 });
        let again = rig.wait(Span::from_secs(2));
        assert_eq!((stored_retries(&again), buried(&again)), (vec![], vec![]));
    }
}

#[test]
fn the_same_or_an_earlier_attempt_is_acked_as_a_copy() {
    let mut rig = rig();
    rig.event(delivered(5, 1, attempt("t", 2)));
    for (seq, count) in [(7, 1), (9, 2)] {
        for number in [1, 2] {
            let actions = rig.event(delivered(seq, count, attempt("t", number)));
            assert_eq!((acked(&actions), looked_up(&actions)), (vec![seq], vec![]));
        }
    }
    rig.found(5, Looked::Nothing);
    assert_eq!(acked(&rig.report("w1", 5, Ending::Stored)), [5]);
}

#[test]
fn of_two_that_wait_with_the_same_attempt_the_earlier_message_stays_whichever_comes_first() {
    let mut rig = Rig::new();
    let (one, other) = (lane("echo", 4), lane("echo", 6));
    rig.open(&one);
    rig.open(&other);
    rig.event(delivered(9, 1, of_lane("t", &one)));
    let actions = rig.event(delivered(4, 1, of_lane("t", &other)));
    assert_eq!(acked(&actions), [9]);
    assert_eq!(acked(&rig.event(delivered(9, 2, of_lane("t", &one)))), [9]);
}

#[test]
fn of_two_with_the_same_attempt_the_one_that_runs_stays() {
    let mut rig = Rig::recovering(Options::default(), &[]);
    rig.open_with(&echo(), 2, 9);
    let mut says = heartbeat("w1", 4, &["echo"]);
    let mut held = running_in(6, 9, &echo());
    if let Some(named) = &mut held.task {
        named.id = task("t").id;
    }
    says.held.push(held);
    rig.workers.insert("w1".to_owned(), says);
    rig.beat("w1");
    rig.event(delivered(4, 1, task("t")));
    let actions = rig.event(delivered(9, 1, task("t")));
    assert_eq!((acked(&actions), revoked(&actions)), (vec![4], vec![]));
    assert_eq!(acked(&rig.report("w1", 9, Ending::Stored)), [9]);
}

#[test]
fn a_copy_of_a_task_whose_next_attempt_is_scheduled_is_acked() {
    let mut rig = rig();
    rig.event(delivered(1, 2, task("t")));
    let actions = rig.found(1, Looked::Scheduled { attempt: 2 });
    assert_eq!((acked(&actions), placed(&actions)), (vec![1], vec![]));
}

#[test]
fn the_same_attempt_in_the_schedule_is_no_reason_to_ack_it() {
    // It may have come here meanwhile, and have been acked as a copy of the one that is looked up.
    let mut rig = rig();
    rig.event(delivered(1, 1, attempt("t", 2)));
    assert_eq!(acked(&rig.event(delivered(2, 1, attempt("t", 2)))), [2]);
    let actions = rig.found(1, Looked::Scheduled { attempt: 2 });
    assert_eq!(
        (acked(&actions), placed(&actions)),
        (vec![], vec![("w1", 1)])
    );
}

#[test]
fn a_look_up_that_found_a_later_attempt_is_asked_again_when_a_copy_came_meanwhile() {
    // What it found may have been replaced by a store that came late, and that may have brought the copy.
    let mut rig = rig();
    rig.event(delivered(1, 1, attempt("t", 2)));
    assert_eq!(acked(&rig.event(delivered(2, 1, attempt("t", 2)))), [2]);
    let actions = rig.found(1, Looked::Scheduled { attempt: 3 });
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![], vec![1]));
    assert_eq!(acked(&rig.found(1, Looked::Scheduled { attempt: 3 })), [1]);
}

#[test]
fn one_whose_retry_is_being_stored_makes_way_for_the_same_attempt() {
    let mut rig = rig();
    rig.event(delivered(1, 1, task("t")));
    rig.report("w1", 1, failed(Retry::Later));
    let actions = rig.event(delivered(2, 1, task("t")));
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![1], vec![2]));
    assert_eq!(acked(&rig.event(Event::Stored { seq: 1 })), []);
    assert_eq!(acked(&rig.found(2, Looked::Scheduled { attempt: 2 })), [2]);
}

#[test]
fn what_comes_after_a_later_attempt_was_stored_is_no_copy_left_behind() {
    let mut rig = rig();
    rig.event(delivered(3, 1, attempt("t", 1)));
    rig.report("w1", 3, failed(Retry::Later));
    assert_eq!(acked(&rig.event(Event::Stored { seq: 3 })), [3]);
    assert_eq!(acked(&rig.event(delivered(2, 1, attempt("t", 1)))), [2]);
    let actions = rig.event(delivered(4, 1, attempt("t", 1)));
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![], vec![4]));
}

#[test]
fn of_two_messages_never_both_are_acked_for_each_other() {
    // The first is acked for the second, and comes again before its ack is carried out.
    let mut rig = Rig::new();
    let (one, other) = (lane("echo", 4), lane("echo", 6));
    rig.open(&one);
    rig.open(&other);
    rig.join("w1", 4);
    rig.event(delivered(1, 1, of_lane("t", &one)));
    rig.report("w1", 1, failed(Retry::Later));
    assert_eq!(
        acked(&rig.event(delivered(2, 1, of_lane("t", &other)))),
        [1]
    );
    let actions = rig.event(delivered(1, 1, of_lane("t", &one)));
    assert_eq!(
        acked(&actions),
        [1],
        "and not the one for which it was acked"
    );
}

#[test]
fn a_message_that_is_gone_is_forgotten_in_every_state() {
    let mut rig = rig();
    rig.event(delivered(1, 2, task("looked-up")));
    rig.event(Event::Gone { seq: 1 });
    rig.event(delivered(2, 1, task("runs")));
    assert_eq!(revoked(&rig.event(Event::Gone { seq: 2 })), [("w1", 2)]);
    rig.event(delivered(3, 1, task("fails")));
    assert_eq!(
        stored_retries(&rig.report("w1", 3, failed(Retry::Later))).len(),
        1
    );
    let actions = rig.event(Event::Gone { seq: 3 });
    assert_eq!(settled(&actions).len(), 1, "its report is settled");
    assert_eq!(acked(&actions), [], "there is nothing to ack");
    let later = rig.wait(Span::from_secs(5));
    assert_eq!(
        (looked_up(&later), stored_retries(&later)),
        (vec![], vec![])
    );
    assert_eq!(rig.scheduler.tasks_in_memory(), 0);
}

/// The ack of the first message was lost, or the submitter passed it on twice.
#[test]
fn a_copy_of_an_attempt_that_has_its_retry_in_the_schedule_is_not_run() {
    let mut rig = rig();
    rig.event(delivered(1, 1, task("t")));
    rig.report("w1", 1, failed(Retry::Later));
    rig.event(Event::Stored { seq: 1 });
    assert_eq!(looked_up(&rig.event(delivered(2, 1, task("t")))), [2]);
    let actions = rig.found(2, Looked::Nothing);
    assert_eq!(
        placed(&actions),
        [],
        "the retry may be on its way to the lane"
    );
    let actions = rig.event(delivered(3, 1, attempt("t", 2)));
    assert_eq!((acked(&actions), looked_up(&actions)), (vec![2], vec![3]));
}

#[test]
fn a_copy_whose_later_attempt_does_not_come_is_run_after_all() {
    // A store that came late had taken its place in the schedule, and brought this.
    let mut rig = rig();
    rig.says("w1").interval = Span::from_secs(60);
    rig.beat("w1");
    rig.event(delivered(1, 1, task("t")));
    rig.report("w1", 1, failed(Retry::Later));
    rig.event(Event::Stored { seq: 1 });
    rig.event(delivered(2, 1, task("t")));
    rig.found(2, Looked::Nothing);
    assert_eq!(looked_up(&rig.wait(Span::from_secs(20))), [2]);
    assert_eq!(placed(&rig.found(2, Looked::Nothing)), [("w1", 2)]);
}

/// A resubmission must not be run in place of a task whose end, or whose retry, is on its way into the streams.
#[test]
fn a_resubmission_takes_no_place_while_what_settles_the_task_is_stored() {
    for retry in [Retry::Never, Retry::Later] {
        let mut rig = rig();
        rig.event(delivered(1, 1, task("t")));
        rig.report("w1", 1, failed(retry));
        let mut anew = task("t");
        anew.submitted.0 += 1;
        let actions = rig.event(delivered(2, 1, anew));
        assert_eq!((acked(&actions), looked_up(&actions)), (vec![2], vec![]));
    }
}
