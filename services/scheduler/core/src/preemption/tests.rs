//! Who makes room, and for whom.

use rota_wire::dispatch::Ending;
use rota_wire::event::{Counts, Event as Told};
use rota_wire::fleet::{FrameMark, Held, Stage, WorkerState};
use rota_wire::{Kind, Resources, Span};

use crate::rig::{
    Rig, TERM, acked, amount, delivered, echo, handed_back, lane, nakked, placed, resumed, running,
    suspended, task_in,
};
use crate::{Action, Binding, Event, Looked, Options, Order, Policy};

const MS: Span = Span::from_ms(1);
/// Just less than a quantum of [`options`].
const ALMOST: Span = Span::from_ms(1_999);

fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

fn options(order: Order) -> Options {
    Options {
        policy: Policy {
            order,
            quantum: secs(2),
            min_run: Span::default(),
            ..Policy::default()
        },
        ..Options::default()
    }
}

fn rig(order: Order) -> Rig {
    rig_with(options(order))
}

fn rig_with(options: Options) -> Rig {
    let mut rig = Rig::with(options);
    rig.open(&echo());
    rig
}

/// What a turn did to those that run.
fn switched(actions: &[Action]) -> [Vec<u64>; 3] {
    [suspended(actions), resumed(actions), placed(actions)]
        .map(|those| those.into_iter().map(|(_, seq)| seq).collect())
}

const NOTHING: [Vec<u64>; 3] = [vec![], vec![], vec![]];

/// One worker with one slot; of two attempts the second has taken the slot of the first.
fn one_suspended(order: Order) -> Rig {
    let mut rig = rig(order);
    rig.join_steady("w1", 1);
    rig.deliver_lasting(1, secs(100));
    rig.wait(secs(2));
    let actions = rig.deliver_lasting(2, secs(10));
    assert_eq!(switched(&actions), [vec![1], vec![], vec![2]]);
    rig
}

#[test]
fn a_worker_of_which_several_run_moves_to_another_class_with_all_of_them() {
    let mut rig = rig(Order::Las);
    rig.join_as("w1", 3, |says| {
        says.labels = vec!["gpu".parse().expect("a good label")]
    });
    for seq in 1..=3 {
        rig.deliver(seq);
    }
    // The books are checked after each event: nothing of the former class is left.
    rig.deliver_as(4, |spec| {
        spec.options.requires = vec!["gpu".parse().expect("a good label")]
    });
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(placed(&actions), [("w1", 4)]);
}

#[test]
fn srtf_takes_the_slot_of_the_one_with_most_left() {
    let mut rig = rig(Order::Srtf);
    rig.join_steady("w1", 1);
    rig.deliver_lasting(1, secs(50));
    rig.join_steady("w2", 2);
    rig.deliver_lasting(2, secs(40));
    rig.deliver_lasting(3, secs(100));
    rig.wait(secs(1));
    let actions = rig.deliver_lasting(4, secs(10));
    assert_eq!(suspended(&actions), [("w2", 3)]);
    assert_eq!(placed(&actions), [("w2", 4)]);
    let actions = rig.deliver_lasting(5, secs(10));
    assert_eq!(suspended(&actions), [("w1", 1)]);
}

#[test]
fn a_suspended_attempt_goes_on_where_it_was_and_nowhere_else() {
    let mut rig = one_suspended(Order::Srtf);
    assert_eq!(switched(&rig.join_steady("w2", 1)), NOTHING);
    rig.beat("w2");
    let actions = rig.report("w1", 2, Ending::Stored);
    assert_eq!(resumed(&actions), [("w1", 1)]);
    assert_eq!(placed(&actions), []);
    assert_eq!(acked(&rig.report("w1", 1, Ending::Stored)), [1]);
}

#[test]
fn srtf_suspends_nobody_for_one_that_has_as_much_left() {
    let mut rig = rig(Order::Srtf);
    rig.join_steady("w1", 1);
    rig.deliver_lasting(1, secs(10));
    rig.wait(secs(4));
    assert_eq!(switched(&rig.deliver_lasting(2, secs(6))), NOTHING);
    let actions = rig.deliver_lasting(3, Span::from_ms(5_999));
    assert_eq!(switched(&actions), [vec![1], vec![], vec![3]]);
}

#[test]
fn nobody_is_suspended_before_it_has_run_its_least() {
    let mut options = options(Order::Srtf);
    options.policy.min_run = secs(3);
    let mut rig = rig_with(options);
    rig.join_steady("w1", 1);
    rig.deliver_lasting(1, secs(100));
    rig.wait(secs(1));
    assert_eq!(switched(&rig.deliver_lasting(2, secs(1))), NOTHING);
    assert_eq!(switched(&rig.wait(ALMOST)), NOTHING);
    assert_eq!(switched(&rig.wait(MS)), [vec![1], vec![], vec![2]]);
}

#[test]
fn las_lets_each_run_a_quantum_ahead_of_the_other() {
    let mut rig = rig(Order::Las);
    rig.join_steady("w1", 1);
    rig.deliver(1);
    rig.deliver(2);
    assert_eq!(switched(&rig.wait(ALMOST)), NOTHING);
    assert_eq!(switched(&rig.wait(MS)), [vec![1], vec![], vec![2]]);
    assert_eq!(switched(&rig.wait(Span::from_ms(3_999))), NOTHING);
    assert_eq!(switched(&rig.wait(MS)), [vec![2], vec![1], vec![]]);
    let actions = rig.wait(Span::from_ms(3_999));
    assert_eq!(switched(&actions), NOTHING, "it has run 2 s of 6");
    assert_eq!(switched(&rig.wait(MS)), [vec![1], vec![2], vec![]]);
}

#[test]
fn slices_go_round_and_a_newcomer_takes_its_turn_before_those_suspended_later() {
    let mut rig = rig(Order::TimeSlice);
    rig.join_steady("w1", 1);
    rig.deliver(1);
    rig.deliver(2);
    assert_eq!(switched(&rig.wait(secs(2))), [vec![1], vec![], vec![2]]);
    rig.wait(secs(1));
    assert_eq!(switched(&rig.deliver(3)), NOTHING);
    let turns: Vec<_> = (0..5)
        .map(|_| {
            let actions = rig.wait(secs(2));
            let [mut out, mut on, new] = switched(&actions);
            on.extend(new);
            assert_eq!((out.len(), on.len()), (1, 1));
            (out.remove(0), on.remove(0))
        })
        .collect();
    assert_eq!(turns, [(2, 1), (1, 3), (3, 2), (2, 1), (1, 3)]);
}

#[test]
fn two_slots_take_turns_with_three_tasks() {
    let mut rig = rig(Order::TimeSlice);
    rig.join_steady("w1", 2);
    rig.deliver(1);
    rig.wait(secs(1));
    rig.deliver(2);
    rig.deliver(3);
    assert_eq!(switched(&rig.wait(secs(1))), [vec![1], vec![], vec![3]]);
    assert_eq!(switched(&rig.wait(secs(1))), [vec![2], vec![1], vec![]]);
}

#[test]
fn when_all_slices_end_at_once_only_one_makes_room_for_one_that_waits() {
    let mut rig = rig(Order::TimeSlice);
    rig.join_steady("w1", 3);
    for seq in 1..=4 {
        rig.deliver(seq);
    }
    let actions = rig.wait(secs(2));
    assert_eq!(switched(&actions), [vec![3], vec![], vec![4]]);
    let counts = counts(&actions);
    assert_eq!(counts.preempted, 0, "told before the turn");
    let actions = rig.wait(secs(2));
    let [out, on, _] = switched(&actions);
    assert_eq!((out.len(), on), (1, vec![3]));
    assert_eq!(self::counts(&actions).preempted, 1);
}

#[test]
fn what_a_lost_frame_assigned_is_found_missing_although_it_was_switched_since() {
    let mut rig = rig(Order::TimeSlice);
    rig.join_steady("w1", 1);
    rig.lose_frames = true;
    rig.deliver(1);
    rig.deliver(2);
    rig.wait(secs(2));
    rig.says("w1").seen = Some(FrameMark {
        term: TERM,
        number: 2,
    });
    rig.wait(secs(2));
    let actions = rig.beat("w1");
    assert_eq!(
        nakked(&actions),
        [1, 2],
        "although it is to go on since the third"
    );
}

#[test]
fn no_more_are_suspended_than_may_be_and_those_that_are_still_rotate() {
    let mut options = options(Order::TimeSlice);
    options.suspended_max = 1;
    let mut rig = rig_with(options);
    rig.join_steady("w1", 1);
    for seq in 1..=3 {
        rig.deliver(seq);
    }
    assert_eq!(switched(&rig.wait(secs(2))), [vec![1], vec![], vec![2]]);
    let turns = [0, 1].map(|_| switched(&rig.wait(secs(2))));
    let [back, forth] = [[vec![2], vec![1], vec![]], [vec![1], vec![2], vec![]]];
    assert_eq!(turns, [back, forth], "the third is next and may not begin");
    let actions = rig.report("w1", 2, Ending::Stored);
    assert_eq!(switched(&actions), [vec![], vec![], vec![3]]);
    assert_eq!(switched(&rig.wait(secs(2))), [vec![3], vec![1], vec![]]);
}

#[test]
fn what_was_suspended_on_a_lost_worker_begins_from_nothing_elsewhere() {
    let mut rig = rig(Order::Las);
    rig.join("w1", 1);
    rig.deliver(1);
    rig.deliver(2);
    assert_eq!(switched(&rig.wait(secs(2))), [vec![1], vec![], vec![2]]);
    assert_eq!(nakked(&rig.wait(secs(1))), [1, 2]);
    rig.deliver_again(1, 2);
    rig.found(1, Looked::Nothing);
    rig.deliver(3);
    let actions = rig.join_steady("w2", 1);
    assert_eq!(
        placed(&actions),
        [("w2", 1)],
        "it has run no longer than others"
    );
    let actions = rig.wait(ALMOST);
    assert_eq!(switched(&actions), NOTHING, "it has its quantum anew");
    assert_eq!(switched(&rig.wait(MS)), [vec![1], vec![], vec![3]]);
}

#[test]
fn what_is_suspended_on_a_draining_worker_is_handed_back_and_goes_elsewhere() {
    let mut rig = one_suspended(Order::Srtf);
    rig.says("w1").state = WorkerState::Draining;
    rig.beat("w1");
    rig.join_steady("w2", 2);
    assert_eq!(nakked(&rig.report("w1", 1, handed_back())), [1]);
    let actions = rig.report("w1", 2, Ending::Stored);
    assert_eq!(switched(&actions), NOTHING);
    rig.deliver_again(1, 2);
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), [("w2", 1)]);
}

#[test]
fn nobody_goes_on_or_is_suspended_on_a_draining_worker() {
    let mut rig = one_suspended(Order::Srtf);
    rig.says("w1").state = WorkerState::Draining;
    rig.beat("w1");
    rig.wait(secs(1));
    assert_eq!(switched(&rig.deliver_lasting(3, secs(1))), NOTHING);
    assert_eq!(switched(&rig.report("w1", 2, Ending::Stored)), NOTHING);
}

#[test]
fn the_result_of_a_suspended_attempt_counts_and_its_slot_is_not_freed_twice() {
    let mut rig = one_suspended(Order::Srtf);
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(acked(&actions), [1]);
    assert_eq!(switched(&actions), NOTHING);
    assert_eq!(switched(&rig.deliver_lasting(3, secs(99))), NOTHING);
    let actions = rig.report("w1", 2, Ending::Stored);
    assert_eq!(switched(&actions), [vec![], vec![], vec![3]]);
}

/// A new leader before whose term a worker with one slot was given two tasks of 10 s. One runs; the other
/// is suspended and has run 8 s.
fn adopting() -> Rig {
    let mut rig = Rig::recovering(options(Order::Srtf), &[]);
    rig.join_as("w1", 1, |says| {
        says.held = vec![
            Held {
                ran: secs(9),
                ..running(1, 1)
            },
            Held {
                stage: Stage::Suspended,
                ran: secs(8),
                ..running(1, 2)
            },
        ];
    });
    rig.open_with(&echo(), 2, 2);
    rig.event(Event::LanesListed {
        lanes: vec![echo()],
    });
    for seq in [1, 2] {
        rig.deliver_lasting(seq, secs(10));
    }
    rig.wait(secs(1));
    rig
}

#[test]
fn a_new_leader_finds_a_suspended_attempt_suspended_and_knows_how_long_it_ran() {
    let mut rig = adopting();
    assert_eq!(switched(&rig.deliver_lasting(3, secs(3))), NOTHING);
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(
        switched(&actions),
        [vec![], vec![2], vec![]],
        "2 s are left"
    );
    assert_eq!(acked(&rig.report("w1", 2, Ending::Stored)), [2]);
}

#[test]
fn what_has_ended_under_an_earlier_leader_is_not_suspended() {
    let mut rig = Rig::recovering(options(Order::Srtf), &[]);
    rig.join_as("w1", 1, |says| {
        says.held = vec![Held {
            stage: Stage::Ended,
            ..running(1, 1)
        }];
    });
    rig.open_with(&echo(), 1, 1);
    rig.event(Event::LanesListed {
        lanes: vec![echo()],
    });
    rig.deliver_lasting(1, secs(100));
    rig.wait(secs(2));
    assert_eq!(switched(&rig.deliver_lasting(2, secs(1))), NOTHING);
}

#[test]
fn an_order_that_a_worker_has_seen_and_not_followed_is_repeated() {
    let mut rig = rig(Order::Srtf);
    rig.join_steady("w1", 1);
    rig.deliver_lasting(1, secs(100));
    rig.wait(secs(1));
    rig.lose_frames = true;
    let actions = rig.deliver_lasting(2, secs(10));
    assert_eq!(switched(&actions), [vec![1], vec![], vec![2]]);
    rig.lose_frames = false;
    let actions = rig.beat("w1");
    assert_eq!(suspended(&actions), [], "it has not seen it");
    rig.says("w1").seen = Some(FrameMark {
        term: TERM,
        number: 3,
    });
    let held = rig.says("w1").held[0].clone();
    rig.says("w1").held.push(Held {
        holding: crate::rig::holding(TERM.0, 2, 1),
        ..held
    });
    assert_eq!(suspended(&rig.beat("w1")), [("w1", 1)]);
    assert_eq!(rig.says("w1").held[0].stage, Stage::Suspended);
    assert_eq!(suspended(&rig.beat("w1")), [], "now it stands still");
}

#[test]
fn a_suspension_that_was_lost_with_the_task_it_made_room_for_is_taken_back() {
    let mut rig = rig(Order::Srtf);
    rig.join_steady("w1", 1);
    rig.deliver_lasting(1, secs(100));
    rig.wait(secs(1));
    rig.lose_frames = true;
    rig.deliver_lasting(2, secs(10));
    rig.says("w1").seen = Some(FrameMark {
        term: TERM,
        number: 2,
    });
    let actions = rig.beat("w1");
    assert_eq!(nakked(&actions), [2]);
    assert_eq!(suspended(&actions), [], "it runs, and is to run");
}

#[test]
fn an_attempt_that_was_told_to_go_on_and_stands_still_is_told_again() {
    let mut rig = one_suspended(Order::Srtf);
    let actions = rig.report("w1", 2, Ending::Stored);
    assert_eq!(resumed(&actions), [("w1", 1)]);
    rig.says("w1").held[0].stage = Stage::Suspended;
    assert_eq!(resumed(&rig.beat("w1")), [("w1", 1)]);
    assert_eq!(resumed(&rig.beat("w1")), [], "now it runs");
}

#[test]
fn a_kind_with_an_order_of_its_own_makes_no_room_for_others_and_takes_none() {
    for own in [Order::Fifo, Order::Las] {
        let mut options = options(Order::Srtf);
        let batch = Kind::parse("batch").expect("good");
        let policy = Policy {
            order: own,
            ..options.policy
        };
        options.kinds.insert(batch, policy);
        let mut rig = rig_with(options);
        let batch = lane("batch", 5);
        rig.open(&batch);
        for (name, kind) in [("w1", "echo"), ("w2", "batch")] {
            let mut says = crate::rig::heartbeat(name, 1, &[kind]);
            says.interval = secs(60);
            rig.workers.insert(name.to_owned(), says);
            rig.beat(name);
        }
        let lasting = |seq: u64, lane: &rota_wire::Lane, duration| {
            let mut spec = task_in(&seq.to_string(), lane);
            spec.options.duration = Some(duration);
            delivered(seq, 1, spec)
        };
        rig.event(lasting(1, &echo(), secs(100)));
        rig.event(lasting(2, &batch, secs(100)));
        for name in ["w1", "w2"] {
            rig.says(name).kinds = crate::rig::heartbeat("x", 1, &["echo", "batch"]).kinds;
            rig.beat(name);
        }
        rig.wait(secs(1));
        let actions = rig.event(lasting(3, &echo(), secs(1)));
        assert_eq!(suspended(&actions), [("w1", 1)], "{own}");
        assert_eq!(
            switched(&rig.event(lasting(4, &echo(), secs(1)))),
            NOTHING,
            "{own}"
        );
        rig.report("w2", 2, Ending::Stored);
        rig.wait(secs(1));
        let actions = rig.event(lasting(5, &batch, secs(1)));
        assert_eq!(switched(&actions), NOTHING, "{own}");
    }
}

#[test]
fn an_attempt_gives_its_cores_away_while_it_is_suspended_and_keeps_its_memory() {
    let mut rig = rig(Order::Srtf);
    rig.join_as("w1", 1, |says| says.resources = amount(1_000, 500));
    let lasting = |rig: &mut Rig, seq, duration, demand: Resources| {
        rig.deliver_as(seq, |spec| {
            (spec.options.duration, spec.options.demand) = (Some(duration), demand);
        })
    };
    lasting(&mut rig, 1, secs(100), amount(1_000, 300));
    rig.wait(secs(1));
    let actions = lasting(&mut rig, 2, secs(1), amount(100, 201));
    assert_eq!(switched(&actions), NOTHING, "200 are left");
    let actions = lasting(&mut rig, 3, secs(10), amount(1_000, 200));
    assert_eq!(switched(&actions), [vec![1], vec![], vec![3]]);
    let actions = rig.report("w1", 3, Ending::Stored);
    assert_eq!(switched(&actions), [vec![], vec![1], vec![]]);
}

#[test]
fn a_worker_that_has_promised_too_much_already_is_not_made_to_promise_more() {
    let mut rig = Rig::recovering(options(Order::Srtf), &[]);
    rig.join_as("w1", 2, |says| {
        says.resources = amount(1_000, 0);
        says.held = vec![running(1, 1), running(1, 2)];
    });
    rig.open_with(&echo(), 2, 2);
    rig.event(Event::LanesListed {
        lanes: vec![echo()],
    });
    let lasting = |rig: &mut Rig, seq, duration, cpu| {
        rig.deliver_as(seq, |spec| {
            spec.options.duration = Some(duration);
            spec.options.demand = amount(cpu, 0);
        })
    };
    for seq in [1, 2] {
        lasting(&mut rig, seq, secs(100), 1_000);
    }
    rig.wait(secs(2));
    assert_eq!(switched(&lasting(&mut rig, 3, secs(1), 1_000)), NOTHING);
    let actions = lasting(&mut rig, 4, secs(1), 0);
    assert_eq!(placed(&actions), [("w1", 4)], "it asks for nothing");
}

#[test]
fn one_that_waits_for_memory_does_not_keep_from_going_on_the_one_that_has_it() {
    let mut options = options(Order::TimeSlice);
    options.policy.binding = Binding::Early;
    let mut rig = rig_with(options);
    rig.join_as("w1", 1, |says| says.resources = amount(0, 500));
    for (seq, memory) in [(1, 300), (2, 0), (3, 300)] {
        rig.deliver_as(seq, |spec| spec.options.demand = amount(0, memory));
    }
    assert_eq!(switched(&rig.wait(secs(2))), [vec![1], vec![], vec![2]]);
    assert_eq!(switched(&rig.wait(secs(2))), [vec![2], vec![1], vec![]]);
    assert_eq!(switched(&rig.wait(secs(2))), [vec![1], vec![2], vec![]]);
    let actions = rig.report("w1", 2, Ending::Stored);
    assert_eq!(switched(&actions), [vec![], vec![1], vec![]]);
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(switched(&actions), [vec![], vec![], vec![3]]);
}

#[test]
fn memory_that_a_suspended_attempt_gives_back_is_given_to_what_waits_for_it() {
    let mut options = options(Order::TimeSlice);
    options.policy.binding = Binding::Early;
    let mut rig = rig_with(options);
    rig.join_as("w1", 2, |says| {
        says.resources = amount(1_000, 500);
    });
    for (seq, cpu, memory) in [(1, 1_000, 300), (2, 1_000, 0), (3, 0, 300)] {
        rig.deliver_as(seq, |spec| spec.options.demand = amount(cpu, memory));
    }
    assert_eq!(rig.holds("w1"), [1]);
    assert_eq!(switched(&rig.wait(secs(2))), [vec![1], vec![], vec![2]]);
    assert_eq!(switched(&rig.wait(secs(1))), NOTHING);
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(switched(&actions), [vec![], vec![], vec![3]]);
}

#[test]
fn a_bound_task_takes_a_slot_on_its_own_worker_only() {
    let mut options = options(Order::Srtf);
    options.policy.binding = Binding::Early;
    let mut rig = rig_with(options);
    rig.join_steady("w1", 1);
    rig.join_steady("w2", 1);
    rig.deliver_lasting(1, secs(50));
    rig.deliver_lasting(2, secs(100));
    rig.wait(secs(1));
    let actions = rig.deliver_lasting(3, secs(60));
    assert_eq!(
        switched(&actions),
        NOTHING,
        "it is bound to w1, and #2 is on w2"
    );
    let actions = rig.deliver_lasting(4, secs(60));
    assert_eq!(suspended(&actions), [("w2", 2)]);
    assert_eq!(placed(&actions), [("w2", 4)]);
}

#[test]
fn suspensions_are_counted() {
    let mut rig = one_suspended(Order::Srtf);
    assert_eq!(counts(&rig.wait(secs(1))).preempted, 1);
}

fn counts(actions: &[Action]) -> Counts {
    let counts = actions.iter().rev().find_map(|action| match action {
        Action::Tell(Told::Counted(counts)) => Some(*counts),
        _ => None,
    });
    counts.expect("they are told each second")
}
