//! A new leader takes over.

use rota_wire::dispatch::{Ending, Outcome};
use rota_wire::event::Event as Told;
use rota_wire::fleet::{FrameMark, Held};
use rota_wire::{Span, Term};

use crate::rig::{
    Rig, acked, delivered, echo, heartbeat, holding, lane, looked_up, nakked, placed, pulled,
    reported, revoked, running, running_in, settled, task, told,
};
use crate::{Action, Event, Looked, Options, PullEnd};

const ROLL_CALL: Span = Span::from_secs(1);

/// A new leader of a lane in which earlier terms left so many un-acked, the last of them `to`.
fn rig(unacked: u32, to: u64) -> Rig {
    let mut rig = Rig::recovering(Options::default(), &[]);
    rig.open_with(&echo(), unacked, to);
    rig.event(Event::LanesListed {
        lanes: vec![echo()],
    });
    rig
}

fn join_holding(rig: &mut Rig, name: &str, held: &[Held]) -> Vec<Action> {
    let mut says = heartbeat(name, 4, &["echo"]);
    says.held = held.to_vec();
    rig.workers.insert(name.to_owned(), says);
    rig.beat(name)
}

fn recovered(actions: &[Action]) -> Vec<u32> {
    let told = told(actions).into_iter().filter_map(|told| match told {
        Told::Recovered { adopted, .. } => Some(*adopted),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_new_leader_calls_the_roll_first_of_all() {
    let rig = Rig::recovering(Options::default(), &[]);
    assert_eq!(rig.first[0], Action::CallRoll);
}

#[test]
fn what_is_fresh_is_placed_at_once_and_what_was_left_waits_for_the_roll_call() {
    let mut rig = rig(1, 1);
    rig.join("w1", 2);
    rig.deliver(1);
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), []);
    assert_eq!(placed(&rig.deliver(2)), [("w1", 2)]);
    assert_eq!(placed(&rig.wait(Span::from_ms(999))), []);
    assert_eq!(placed(&rig.wait(Span::from_ms(1))), [("w1", 1)]);
}

#[test]
fn what_was_left_keeps_no_place_from_what_is_fresh() {
    let mut rig = rig(80, 80);
    for seq in 1..=80 {
        rig.deliver(seq);
        rig.found(seq, Looked::Nothing);
    }
    assert_eq!(pulled(&rig.join("w1", 2)), [("echo.5".to_owned(), 66)]);
}

/// A lane in which one delivery was left, read by a leader who knew two workers.
fn one_left_and_two_expected() -> Rig {
    let mut rig = Rig::recovering(Options::default(), &["w1", "w2"]);
    rig.open_with(&echo(), 1, 1);
    rig.deliver(1);
    rig.found(1, Looked::Nothing);
    rig.join_steady("w1", 1);
    rig
}

#[test]
fn the_roll_call_ends_early_once_all_expected_have_answered() {
    let mut rig = one_left_and_two_expected();
    assert_eq!(placed(&rig.wait(Span::from_ms(10))), []);
    assert_eq!(placed(&rig.join("w2", 1)).len(), 1);
}

#[test]
fn one_who_has_died_is_not_waited_for() {
    let mut rig = one_left_and_two_expected();
    let died = Event::Died {
        worker: crate::rig::worker("w2"),
    };
    assert_eq!(placed(&rig.event(died)), [("w1", 1)]);
}

#[test]
fn expected_workers_that_are_silent_are_waited_for_until_they_would_be_lost() {
    let mut rig = one_left_and_two_expected();
    assert_eq!(placed(&rig.wait(Span::from_ms(2_999))), []);
    assert_eq!(placed(&rig.wait(Span::from_ms(1))), [("w1", 1)]);
}

#[test]
fn what_a_lane_that_is_opened_late_has_left_waits_for_its_own_roll_call() {
    let mut rig = rig(0, 0);
    rig.wait(Span::from_secs(20));
    rig.join_steady("w1", 2);
    rig.open_with(&lane("echo", 4), 1, 1);
    rig.event(delivered(1, 1, crate::rig::task_in("1", &lane("echo", 4))));
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), []);
    assert_eq!(placed(&rig.wait(Span::from_ms(999))), []);
    let actions = join_holding(&mut rig, "late", &[running(6, 1)]);
    assert_eq!(revoked(&actions), []);
    assert_eq!(placed(&rig.wait(ROLL_CALL)), [], "it runs there");
}

#[test]
fn claims_of_a_lane_that_is_not_open_are_not_revoked_whatever_is_listed() {
    // As it was seen: the opening of a lane fails while a server is away, and the listing is told all the same.
    let other = lane("echo", 4);
    let mut rig = Rig::recovering(Options::default(), &[]);
    let listed = Event::LanesListed {
        lanes: vec![echo(), other.clone()],
    };
    rig.event(listed);
    rig.open(&echo());
    rig.event(Event::LaneNotOpened {
        lane: other.clone(),
    });
    let unnamed = running(6, 1);
    let named = running_in(6, 2, &other);
    let actions = join_holding(&mut rig, "w1", &[unnamed, named]);
    assert_eq!((revoked(&actions), recovered(&actions)), (vec![], vec![]));
    let actions = rig.wait(Span::from_secs(2));
    assert!(actions.contains(&Action::OpenLane {
        lane: other.clone()
    }));
    assert_eq!((revoked(&actions), recovered(&actions)), (vec![], vec![]));
    assert_eq!(revoked(&rig.beat("w1")), []);
    rig.open_with(&other, 2, 2);
    for seq in [1, 2] {
        let came = delivered(seq, 1, crate::rig::task_in(&seq.to_string(), &other));
        assert_eq!(looked_up(&rig.event(came)), []);
    }
    assert_eq!(revoked(&rig.beat("w1")), []);
}

#[test]
fn a_claim_that_names_its_lane_is_revoked_once_that_lane_is_recovered() {
    let other = lane("echo", 4);
    let mut rig = Rig::recovering(Options::default(), &[]);
    rig.event(Event::LanesListed {
        lanes: vec![echo(), other.clone()],
    });
    let held = [running_in(6, 1, &echo()), running_in(6, 2, &other)];
    join_holding(&mut rig, "w1", &held);
    assert_eq!(revoked(&rig.open_with(&echo(), 0, 9)), [("w1", 1)]);
    assert_eq!(revoked(&rig.open_with(&other, 0, 9)), [("w1", 2)]);
}

#[test]
fn a_lane_that_only_a_claim_names_is_opened_for_it() {
    let other = lane("echo", 4);
    let mut rig = rig(0, 0);
    rig.wait(ROLL_CALL);
    let actions = join_holding(&mut rig, "w1", &[running_in(6, 2, &other)]);
    assert!(actions.contains(&Action::OpenLane {
        lane: other.clone()
    }));
    assert_eq!(revoked(&actions), []);
    assert_eq!(revoked(&rig.open_with(&other, 0, 9)), [("w1", 2)]);
}

#[test]
fn a_claim_on_what_a_consumer_made_anew_will_give_out_again_is_kept() {
    let mut rig = rig(0, 0);
    rig.wait(ROLL_CALL);
    let actions = join_holding(&mut rig, "w1", &[running_in(6, 2, &echo())]);
    assert_eq!(
        revoked(&actions),
        [],
        "it knows nothing of what was given out"
    );
    rig.event(delivered(1, 1, task("1")));
    assert_eq!(revoked(&rig.beat("w1")), []);
    assert_eq!(looked_up(&rig.event(delivered(2, 1, task("2")))), []);
    assert_eq!(placed(&rig.beat("w1")), [], "it is adopted");
    join_holding(&mut rig, "w2", &[running_in(6, 3, &echo())]);
    assert_eq!(revoked(&rig.beat("w2")), []);
    rig.event(delivered(4, 1, task("4")));
    assert_eq!(revoked(&rig.beat("w2")), [("w2", 3)], "it is over");
}

#[test]
fn a_pull_that_was_cut_does_not_mean_that_all_has_come() {
    let mut rig = rig(1, 1);
    join_holding(&mut rig, "w1", &[running(6, 1)]);
    rig.wait(ROLL_CALL);
    let cut = Event::PullEnded {
        lane: echo(),
        unused: 1,
        end: PullEnd::Cut,
    };
    let actions = rig.event(cut);
    assert_eq!((recovered(&actions), revoked(&actions)), (vec![], vec![]));
    assert_eq!(looked_up(&rig.deliver(1)), [], "it is adopted");
}

#[test]
fn a_claim_on_another_task_of_the_same_sequence_is_revoked() {
    let mut rig = rig(1, 1);
    let mut held = running_in(6, 1, &echo());
    if let Some(task) = &mut held.task {
        task.id = rota_wire::TaskId::parse("another").expect("good");
    }
    join_holding(&mut rig, "w1", &[held]);
    let actions = rig.deliver(1);
    assert_eq!(
        (looked_up(&actions), revoked(&actions)),
        (vec![1], vec![("w1", 1)])
    );
}

#[test]
fn what_workers_hold_is_adopted_when_it_comes_again_and_nothing_runs_twice() {
    let mut rig = rig(3, 3);
    join_holding(&mut rig, "w1", &[running(6, 1), running(6, 3)]);
    for seq in 1..=3 {
        let looks = looked_up(&rig.deliver(seq));
        assert_eq!(looks, if seq == 2 { vec![2] } else { vec![] });
    }
    let actions = rig.wait(ROLL_CALL);
    assert_eq!((recovered(&actions), placed(&actions)), (vec![2], vec![]));
    assert_eq!(placed(&rig.found(2, Looked::Nothing)), [("w1", 2)]);
    let actions = rig.beat("w1");
    assert_eq!((nakked(&actions), revoked(&actions)), (vec![], vec![]));
    for seq in 1..=3 {
        assert_eq!(acked(&rig.report("w1", seq, Ending::Stored)), [seq]);
    }
}

#[test]
fn a_claim_that_comes_after_its_delivery_adopts_it_too() {
    let mut rig = rig(1, 1);
    assert_eq!(looked_up(&rig.deliver(1)), [1]);
    join_holding(&mut rig, "w1", &[running(6, 1)]);
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), []);
    assert_eq!(placed(&rig.wait(ROLL_CALL)), []);
    assert_eq!(acked(&rig.report("w1", 1, Ending::Stored)), [1]);
}

#[test]
fn an_outcome_reported_before_its_delivery_comes_is_kept_for_it() {
    let mut rig = rig(1, 1);
    join_holding(&mut rig, "w1", &[running(6, 1)]);
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!((acked(&actions), settled(&actions)), (vec![], vec![]));
    let actions = rig.deliver(1);
    assert_eq!(
        (acked(&actions), settled(&actions)),
        (vec![1], vec![("w1", 1)])
    );
}

#[test]
fn of_two_who_claim_a_delivery_the_one_with_the_newer_holding_keeps_it() {
    let mut rig = rig(1, 1);
    join_holding(&mut rig, "new", &[running(6, 1)]);
    let actions = join_holding(&mut rig, "old", &[running(5, 1)]);
    assert_eq!(revoked(&actions), [("old", 1)]);
    rig.deliver(1);
    assert_eq!(acked(&rig.report("new", 1, Ending::Stored)), [1]);
}

#[test]
fn a_report_of_an_older_holding_does_not_stand_for_the_newer_one() {
    let mut rig = rig(1, 1);
    join_holding(&mut rig, "w1", &[running(6, 1)]);
    let late = Outcome {
        number: 3,
        holding: holding(5, 1, 1),
        ran: Span::default(),
        ending: crate::rig::handed_back(),
    };
    rig.event(reported("w1", late));
    assert_eq!(nakked(&rig.deliver(1)), [], "it runs");
    assert_eq!(acked(&rig.report("w1", 1, Ending::Stored)), [1]);
}

#[test]
fn claims_that_are_left_when_all_lanes_have_caught_up_are_over() {
    let mut rig = rig(1, 5);
    join_holding(
        &mut rig,
        "w1",
        &[running(6, 1), running(6, 2), running(6, 5)],
    );
    let reported = rig.report("w1", 2, Ending::Stored);
    assert_eq!(settled(&reported), []);
    assert_eq!(recovered(&rig.wait(ROLL_CALL)), []);
    let actions = rig.deliver(5);
    assert_eq!(recovered(&actions), [1]);
    assert_eq!(revoked(&actions), [("w1", 1)]);
    assert_eq!(settled(&actions), [("w1", 1)]);
    assert_eq!(rig.holds("w1"), [5]);
}

#[test]
fn what_earlier_terms_left_is_pulled_although_nobody_handles_it() {
    let mut rig = Rig::recovering(Options::default(), &[]);
    let actions = rig.open_with(&lane("orphan", 5), 7, 20);
    assert_eq!(pulled(&actions), [("orphan.5".to_owned(), 7)]);
}

#[test]
fn a_lane_has_caught_up_when_the_server_had_nothing_more_to_give() {
    let mut rig = rig(3, 9);
    rig.wait(ROLL_CALL);
    let mut last = delivered(9, 1, task("9"));
    if let Event::Delivered { pending, .. } = &mut last {
        *pending = 0;
    }
    assert_eq!(
        recovered(&rig.event(last)),
        [0],
        "two were acked in the meantime"
    );

    let mut rig = self::rig(3, 9);
    rig.wait(ROLL_CALL);
    let ended = Event::PullEnded {
        lane: echo(),
        unused: 3,
        end: PullEnd::Nothing,
    };
    assert_eq!(
        recovered(&rig.event(ended)),
        [0],
        "all were acked in the meantime"
    );

    let mut rig = self::rig(3, 9);
    rig.wait(ROLL_CALL);
    assert_eq!(recovered(&rig.deliver(10)), [0], "a newer one came");
}

#[test]
fn a_pull_that_ended_at_its_most_bytes_does_not_mean_that_all_has_come() {
    let mut rig = rig(3, 3);
    join_holding(
        &mut rig,
        "w1",
        &[running(6, 1), running(6, 2), running(6, 3)],
    );
    rig.wait(ROLL_CALL);
    rig.deliver(1);
    let ended = Event::PullEnded {
        lane: echo(),
        unused: 2,
        end: PullEnd::Cut,
    };
    let actions = rig.event(ended);
    assert_eq!((recovered(&actions), revoked(&actions)), (vec![], vec![]));
    rig.deliver(2);
    assert_eq!(recovered(&rig.deliver(3)), [3]);
}

#[test]
fn one_that_is_given_back_and_comes_again_is_counted_once() {
    let mut rig = rig(3, 3);
    join_holding(
        &mut rig,
        "w1",
        &[running(6, 1), running(6, 2), running(6, 3)],
    );
    rig.wait(ROLL_CALL);
    rig.deliver(1);
    assert_eq!(nakked(&rig.report("w1", 1, crate::rig::handed_back())), [1]);
    rig.deliver_again(1, 2);
    let actions = rig.deliver(2);
    assert_eq!((recovered(&actions), revoked(&actions)), (vec![], vec![]));
    assert_eq!(recovered(&rig.deliver(3)).len(), 1);
}

#[test]
fn a_claim_counts_once() {
    let mut rig = rig(1, 1);
    join_holding(&mut rig, "w1", &[running(6, 1)]);
    rig.wait(ROLL_CALL);
    assert_eq!(looked_up(&rig.deliver(1)), []);
    rig.report("w1", 1, crate::rig::handed_back());
    assert_eq!(
        looked_up(&rig.deliver_again(1, 2)),
        [1],
        "it does not have it any more"
    );
}

#[test]
fn frames_seen_in_an_earlier_term_are_not_taken_for_those_of_this_one() {
    let mut rig = rig(0, 0);
    rig.wait(ROLL_CALL);
    rig.join("w1", 1);
    rig.says("w1").seen = Some(FrameMark {
        term: Term(6),
        number: 40,
    });
    rig.lose_frames = true;
    assert_eq!(placed(&rig.deliver(1)), [("w1", 1)]);
    assert_eq!(nakked(&rig.beat("w1")), [], "its frame is on its way");
}

#[test]
fn a_late_claim_on_what_another_was_given_is_revoked() {
    let mut rig = rig(1, 1);
    rig.join("w2", 1);
    rig.deliver(1);
    rig.found(1, Looked::Nothing);
    assert_eq!(placed(&rig.wait(ROLL_CALL)), [("w2", 1)]);
    let actions = join_holding(&mut rig, "w1", &[running(6, 1)]);
    assert_eq!(revoked(&actions), [("w1", 1)]);
    assert_eq!(rig.holds("w2"), [1]);
}

#[test]
fn a_claim_of_a_worker_that_is_lost_meanwhile_is_dropped() {
    let mut rig = Rig::recovering(
        Options {
            roll_call: Span::from_secs(10),
            ..Options::default()
        },
        &[],
    );
    rig.open_with(&echo(), 1, 1);
    join_holding(&mut rig, "w1", &[running(6, 1)]);
    rig.wait(Span::from_secs(3));
    assert_eq!(looked_up(&rig.deliver(1)), [1]);
}

#[test]
fn an_outcome_of_a_delivery_that_is_long_over_is_settled() {
    let mut rig = rig(0, 0);
    rig.wait(ROLL_CALL);
    rig.join("w1", 1);
    let outcome = Outcome {
        number: 8,
        holding: holding(6, 1, 1),
        ran: Span::default(),
        ending: Ending::Stored,
    };
    let actions = rig.event(reported("w1", outcome));
    assert_eq!(
        (acked(&actions), settled(&actions)),
        (vec![], vec![("w1", 8)])
    );
}

#[test]
fn what_a_worker_holds_of_a_server_that_is_no_more_is_not_taken_for_a_task_of_ours() {
    let mut rig = rig(0, 0);
    let actions = join_holding(&mut rig, "w1", &[running(500, 1)]);
    assert_eq!(revoked(&actions), [("w1", 1)]);
    assert_eq!(placed(&rig.deliver(1)), [("w1", 1)]);
    let outcome = Outcome {
        number: 77,
        holding: holding(500, 1, 1),
        ran: Span::default(),
        ending: Ending::Stored,
    };
    let actions = rig.event(reported("w1", outcome));
    assert_eq!(acked(&actions), []);
    assert_eq!(settled(&actions), [("w1", 77)]);
}

#[test]
fn a_term_that_ends_before_its_roll_is_called_hands_on_whom_it_expected() {
    let mut rig = Rig::recovering(Options::default(), &["w1", "w2"]);
    rig.join("w1", 2);
    let roll: Vec<String> = rig.scheduler.roll().map(ToString::to_string).collect();
    assert_eq!(roll, ["w1", "w2"]);
    rig.wait(Span::from_secs(10));
    assert!(
        !rig.scheduler
            .roll()
            .any(|worker| worker.to_string() == "w2")
    );
}
