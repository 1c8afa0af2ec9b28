//! Suspending and resuming, one rule at a time.

use super::*;

/// What was suspended, resumed or stopped since the last look, in order, by the number of the attempt.
fn steered(bench: &mut Bench) -> Vec<(&'static str, u64)> {
    let order = |action| match action {
        Action::Suspend(AttemptNumber(number)) => Some(("suspend", number)),
        Action::Resume(AttemptNumber(number)) => Some(("resume", number)),
        Action::Stop(AttemptNumber(number)) => Some(("stop", number)),
        Action::Start { attempt, .. } => Some(("start", attempt.0)),
        _ => None,
    };
    bench.said().into_iter().filter_map(order).collect()
}

fn ran(bench: &Bench) -> Vec<u64> {
    let held = bench.agent.list_held(bench.now).into_iter();
    held.map(|held| held.ran.ms()).collect()
}

#[test]
fn a_suspended_attempt_gives_its_slot_to_what_comes_in_the_same_frame() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.said();
    bench.switch(&[1], &[], &[2]);
    assert_eq!(steered(&mut bench), [("suspend", 1), ("start", 2)]);
    assert_eq!(bench.held(), [(1, Stage::Suspended), (2, Stage::Running)]);
    bench.complete(2);
    bench.said();
    bench.switch(&[], &[1], &[]);
    assert_eq!(steered(&mut bench), [("resume", 1)]);
    bench.complete(1);
    assert_eq!(bench.reported()[0].holding, holding(1, 1));
}

#[test]
fn its_slot_goes_to_what_has_waited_here_before_what_is_new() {
    let mut bench = Bench::new(1);
    bench.assign([1, 2]);
    bench.said();
    bench.switch(&[1], &[], &[3]);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn one_that_is_resumed_without_a_free_slot_goes_on_before_what_is_new() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[2, 3]);
    bench.said();
    bench.switch(&[], &[1], &[]);
    assert_eq!(steered(&mut bench), []);
    assert_eq!(
        bench.held()[0],
        (1, Stage::Running),
        "it was promised a slot"
    );
    bench.complete(2);
    assert_eq!(steered(&mut bench), [("resume", 1)]);
    bench.complete(1);
    assert_eq!(bench.started(), [3]);
}

#[test]
fn two_change_places_in_one_frame() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[2]);
    bench.said();
    bench.switch(&[2], &[1], &[]);
    assert_eq!(steered(&mut bench), [("suspend", 2), ("resume", 1)]);
    assert_eq!(bench.held(), [(1, Stage::Running), (2, Stage::Suspended)]);
}

#[test]
fn a_kind_at_its_limit_has_room_again_when_one_of_it_stands_still() {
    let mut bench = Bench::new(4);
    let single = |seq| assignment("single", holding(1, seq));
    bench.frame(1, &[], &[], vec![single(1), single(2)]);
    assert_eq!(bench.started(), [1]);
    bench.switch(&[1], &[], &[]);
    assert_eq!(bench.started(), [2]);
    bench.switch(&[], &[1], &[]);
    assert_eq!(steered(&mut bench), [], "its kind is at its limit");
    bench.complete(2);
    assert_eq!(steered(&mut bench), [("resume", 1)]);
}

#[test]
fn time_that_an_attempt_stands_still_is_not_time_that_it_ran() {
    let mut bench = Bench::new(1);
    let seconds = Duration::from_secs;
    bench.assign([1]);
    bench.pass(seconds(2));
    bench.switch(&[1], &[], &[]);
    bench.pass(seconds(60));
    assert_eq!(ran(&bench), [2_000]);
    bench.switch(&[], &[1], &[]);
    bench.pass(seconds(3));
    assert_eq!(ran(&bench), [5_000]);
    bench.complete(1);
    assert_eq!(ran(&bench), [RAN.ms()], "the attempt itself knows best");
}

#[test]
fn what_does_not_run_is_not_suspended_and_what_does_not_stand_still_not_resumed() {
    let mut bench = Bench::new(2);
    bench.assign([1, 2]);
    bench.complete(2);
    bench.said();
    bench.switch(&[2, 9], &[1, 2, 9], &[]);
    bench.switch(&[1], &[], &[]);
    bench.switch(&[1], &[], &[]);
    assert_eq!(steered(&mut bench), [("suspend", 1)]);
    assert_eq!(bench.held(), [(1, Stage::Suspended), (2, Stage::Ended)]);
    bench.complete(1);
    bench.said();
    bench.switch(&[], &[1], &[3, 4]);
    assert_eq!(bench.started(), [3, 4], "each slot is free once");
}

#[test]
fn the_suspension_of_an_older_holding_does_not_touch_the_newer_one() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.frame(1, &[], &[], vec![assignment("a", counted(1, 1, 2))]);
    bench.said();
    bench.switch(&[1], &[], &[]);
    assert_eq!(steered(&mut bench), []);
    assert_eq!(bench.held(), [(1, Stage::Running)]);
}

#[test]
fn one_that_waits_to_begin_and_is_suspended_waits_until_it_is_resumed() {
    let mut bench = Bench::new(1);
    bench.assign([1, 2]);
    bench.said();
    bench.switch(&[2], &[], &[]);
    assert_eq!(bench.held(), [(1, Stage::Running), (2, Stage::Suspended)]);
    bench.complete(1);
    assert_eq!(bench.started(), [] as [u64; 0]);
    bench.switch(&[], &[2], &[3]);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn one_that_is_suspended_again_before_it_had_a_slot_waits_for_none() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[2]);
    bench.switch(&[], &[1], &[]);
    bench.said();
    bench.switch(&[1], &[], &[]);
    bench.complete(2);
    assert_eq!(steered(&mut bench), []);
    assert_eq!(bench.held()[0], (1, Stage::Suspended));
}

#[test]
fn a_revoked_suspended_attempt_is_stopped_and_its_slot_is_not_freed_twice() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[2]);
    bench.said();
    bench.frame(1, &[], &[holding(1, 1)], Vec::new());
    assert_eq!(steered(&mut bench), [("stop", 1)]);
    bench.end(1, AttemptEnd::Stopped);
    bench.assign([3]);
    assert_eq!(bench.started(), [] as [u64; 0], "the only slot is taken");
    assert_eq!(bench.reported(), []);
}

#[test]
fn one_that_is_revoked_while_it_waits_to_go_on_is_stopped_and_waits_no_more() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[2]);
    bench.switch(&[], &[1], &[]);
    bench.said();
    bench.frame(1, &[], &[holding(1, 1)], Vec::new());
    bench.complete(2);
    assert_eq!(steered(&mut bench), [("stop", 1)]);
}

#[test]
fn a_suspended_attempt_that_ends_all_the_same_is_reported() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[2]);
    bench.said();
    bench.end(1, failed());
    let reported = bench.reported();
    assert_eq!((reported[0].holding, reported[0].ran), (holding(1, 1), RAN));
    bench.switch(&[], &[1], &[3]);
    assert_eq!(steered(&mut bench), [], "no slot was freed");
}

#[test]
fn a_draining_worker_stops_what_stands_still_at_once_and_hands_it_back() {
    let mut bench = Bench::new(2);
    bench.assign([1, 2]);
    bench.switch(&[1], &[], &[]);
    bench.said();
    bench.drain();
    assert_eq!(steered(&mut bench), [("stop", 1)]);
    bench.end(1, AttemptEnd::Stopped);
    let reported = bench.reported();
    assert_eq!(reported[0].holding, holding(1, 1));
    assert!(is_returned(&reported[0]));
    bench.switch(&[2], &[1], &[]);
    assert_eq!(steered(&mut bench), [], "nobody would resume it");
    assert_eq!(bench.held()[1], (2, Stage::Running));
}

#[test]
fn a_draining_worker_hands_back_what_waits_suspended() {
    let mut bench = Bench::new(1);
    bench.assign([1, 2]);
    bench.switch(&[2], &[], &[]);
    bench.said();
    bench.drain();
    let reported = bench.reported();
    assert_eq!(reported[0].holding, holding(1, 2));
    assert!(is_returned(&reported[0]));
}

#[test]
fn for_a_new_leader_what_stands_still_stands_still_and_is_listed() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[]);
    bench.said();
    bench.roll_call(2);
    let said = bench.said();
    let held = &beats(&said)[0].held;
    assert_eq!(
        held[..],
        [Held {
            holding: holding(1, 1),
            stage: Stage::Suspended,
            ran: Span::default(),
            task: Some(name(1, Priority::default(), 1)),
        }]
    );
}

#[test]
fn a_suspended_attempt_that_is_assigned_anew_goes_on() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.switch(&[1], &[], &[]);
    bench.said();
    bench.frame(1, &[], &[], vec![assignment("a", counted(1, 1, 2))]);
    assert_eq!(steered(&mut bench), [("resume", 1)]);
    assert_eq!(bench.held(), [(1, Stage::Running)]);
}
