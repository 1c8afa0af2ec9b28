//! The orders, one by one.

use rota_wire::dispatch::{Ending, Retry};

use super::*;
use crate::Options;
use crate::rig::{
    Rig, delivered, echo, failed, frames, heartbeat, lane, placed, reported, task_in,
};

fn policy(order: Order) -> Policy {
    Policy {
        order,
        ageing: Some(Span::from_secs(10)),
        quantum: Span::from_secs(2),
        min_run: Span::default(),
        ..Policy::default()
    }
}

fn waiting(submitted_s: u64, priority: u8, expected_s: u64, ran_s: u64) -> Waiting {
    Waiting {
        submitted: Micros(submitted_s * 1_000_000),
        priority: Priority::new(priority).expect("0 to 9"),
        expected: expected_s * 1_000_000,
        ran: ran_s * 1_000_000,
        came: submitted_s,
    }
}

fn running(since_s: u64, ran_s: u64, expected_s: u64) -> Running {
    Running {
        since: Micros(since_s * 1_000_000),
        ran: ran_s * 1_000_000,
        expected: expected_s * 1_000_000,
    }
}

/// From which second it makes room, asked at a second.
fn room(policy: &Policy, running: Running, waiting: Waiting, now_s: u64) -> Option<u64> {
    let now = Micros(now_s * 1_000_000);
    makes_room(policy, &running, &waiting, now).map(|at| at.0 / 1_000_000)
}

#[test]
fn a_waiting_task_gains_a_level_in_each_span_of_ageing() {
    let policy = policy(Order::Priority);
    let old = rank(&policy, &waiting(0, 5, 1, 0));
    assert!(rank(&policy, &waiting(9, 6, 1, 0)) < old, "not yet a level");
    assert!(old < rank(&policy, &waiting(11, 6, 1, 0)));
    assert!(rank(&policy, &waiting(39, 9, 1, 0)) < old);
    assert!(old < rank(&policy, &waiting(41, 9, 1, 0)));
    let never = Policy {
        ageing: None,
        ..policy
    };
    assert!(rank(&never, &waiting(9_999, 6, 1, 0)) < rank(&never, &waiting(0, 5, 1, 0)));
}

#[test]
fn orders_look_at_what_they_are_named_for() {
    let early_long = waiting(1, 1, 60, 55);
    let late_short = waiting(2, 9, 10, 0);
    let first = |order| rank(&policy(order), &early_long) < rank(&policy(order), &late_short);
    assert!(first(Order::Fifo));
    assert!(!first(Order::Priority));
    assert!(!first(Order::Sjf));
    assert!(first(Order::Srtf), "it has 5 s left");
    assert!(!first(Order::Las));
    assert!(first(Order::TimeSlice));
}

#[test]
fn the_first_to_make_room_is_the_one_with_most_left_most_run_or_begun_first() {
    let turn_of = |order, running| turn(order, &running).expect("it is preemptive");
    let srtf = |one, other| turn_of(Order::Srtf, one) < turn_of(Order::Srtf, other);
    assert!(srtf(running(5, 0, 60), running(5, 0, 10)));
    assert!(srtf(running(5, 0, 10), running(5, 55, 60)));
    let las = |one, other| turn_of(Order::Las, one) < turn_of(Order::Las, other);
    assert!(las(running(5, 3, 1), running(5, 0, 1)));
    assert!(las(running(5, 0, 1), running(7, 1, 1)));
    let slice = |one, other| turn_of(Order::TimeSlice, one) < turn_of(Order::TimeSlice, other);
    assert!(slice(running(5, 0, 1), running(6, 9, 1)));
    assert_eq!(turn(Order::Sjf, &running(1, 1, 1)), None);
}

#[test]
fn srtf_makes_room_only_for_strictly_less() {
    let policy = policy(Order::Srtf);
    let long = running(0, 0, 10);
    assert_eq!(room(&policy, long, waiting(1, 5, 5, 0), 4), Some(0));
    assert_eq!(
        room(&policy, long, waiting(1, 5, 5, 0), 5),
        None,
        "as much left"
    );
    assert_eq!(
        room(&policy, long, waiting(1, 5, 1, 0), 20),
        None,
        "overdue"
    );
    let held = Policy {
        min_run: Span::from_secs(3),
        ..policy
    };
    assert_eq!(room(&held, long, waiting(1, 5, 5, 0), 1), Some(3));
    assert_eq!(
        room(&held, long, waiting(1, 5, 8, 0), 1),
        None,
        "by then it has less"
    );
}

#[test]
fn las_lets_one_run_a_quantum_ahead_and_no_further() {
    let policy = policy(Order::Las);
    assert_eq!(
        room(&policy, running(10, 0, 0), waiting(0, 5, 0, 0), 11),
        Some(12)
    );
    assert_eq!(
        room(&policy, running(10, 7, 0), waiting(0, 5, 0, 6), 11),
        Some(11)
    );
    assert_eq!(
        room(&policy, running(10, 9, 0), waiting(0, 5, 0, 6), 11),
        Some(10)
    );
}

#[test]
fn a_slice_ends_after_its_quantum() {
    let policy = policy(Order::TimeSlice);
    assert_eq!(
        room(&policy, running(10, 5, 0), waiting(0, 5, 0, 0), 11),
        Some(12)
    );
}

fn rig(options: Options) -> Rig {
    let mut rig = Rig::with(options);
    rig.open(&echo());
    rig.join_steady("w1", 1);
    rig
}

fn ordered(order: Order) -> Options {
    Options {
        policy: policy(order),
        ..Options::default()
    }
}

/// Lets the only slot become free until nothing waits, and tells who got it.
fn served(rig: &mut Rig) -> Vec<u64> {
    let mut order = Vec::new();
    while let Some(seq) = rig.holds("w1").first().copied() {
        order.push(seq);
        rig.report("w1", seq, Ending::Stored);
    }
    order
}

#[test]
fn with_ageing_the_lowest_waits_for_nothing_that_came_nine_levels_later() {
    let mut rig = rig(ordered(Order::Priority));
    let [low, high] = [0, 9].map(|level| lane("echo", level));
    rig.open(&low);
    rig.open(&high);
    let urgent = |rig: &Rig, seq: u64| {
        let mut spec = task_in(&seq.to_string(), &high);
        spec.submitted = rig.now;
        delivered(seq, 1, spec)
    };
    let events = [urgent(&rig, 2), urgent(&rig, 3)];
    rig.events(events);
    let mut spec = task_in("1", &low);
    spec.submitted = rig.now;
    rig.event(delivered(1, 1, spec));
    let mut running = 2;
    for second in 1..=200 {
        rig.wait(Span::from_secs(1));
        rig.beat("w1");
        let event = urgent(&rig, 3 + second);
        rig.event(event);
        let actions = rig.report("w1", running, Ending::Stored);
        running = placed(&actions)[0].1;
        if running == 1 {
            // Ageing is 10 s: the one that came 90 s later is still before it, and one is always waiting.
            assert_eq!(second, 92);
            return;
        }
    }
    panic!("the lowest priority starves");
}

#[test]
fn fifo_looks_at_no_priority() {
    let mut rig = rig(ordered(Order::Fifo));
    let levels = [1, 9, 5];
    for level in levels {
        rig.open(&lane("echo", level));
    }
    for (seq, level) in (1..).zip(levels) {
        let mut spec = task_in(&seq.to_string(), &lane("echo", level));
        spec.submitted = Micros(rig.now.0 - seq);
        rig.event(delivered(seq, 1, spec));
    }
    assert_eq!(served(&mut rig), [1, 3, 2], "the first was alone");
}

#[test]
fn the_shortest_goes_first_as_its_submitter_says() {
    let mut rig = rig(ordered(Order::Sjf));
    for (seq, secs) in [(1, 9), (2, 5), (3, 7), (4, 1)] {
        rig.wait(Span::from_ms(1));
        rig.deliver_lasting(seq, Span::from_secs(secs));
    }
    assert_eq!(served(&mut rig), [1, 4, 2, 3]);
}

#[test]
fn the_shortest_goes_first_as_others_of_its_kind_were() {
    let mut rig = rig(ordered(Order::Sjf));
    let kinds = ["slow", "quick"].map(|kind| lane(kind, 5));
    rig.says("w1").kinds = heartbeat("w1", 1, &["echo", "slow", "quick"]).kinds;
    rig.beat("w1");
    for (seq, (lane, secs)) in (1..).zip(kinds.iter().zip([10, 1])) {
        rig.open(lane);
        rig.event(delivered(seq, 1, task_in(&seq.to_string(), lane)));
        rig.complete("w1", seq, Span::from_secs(secs));
    }
    rig.deliver_lasting(3, Span::from_secs(60));
    for (seq, lane) in (4..).zip(&kinds) {
        rig.event(delivered(seq, 1, task_in(&seq.to_string(), lane)));
    }
    rig.deliver_lasting(6, Span::from_secs(5));
    assert_eq!(served(&mut rig), [3, 5, 6, 4]);
}

#[test]
fn a_kind_may_have_an_order_of_its_own() {
    let mut options = ordered(Order::Priority);
    let own = Policy {
        order: Order::Sjf,
        ..options.policy
    };
    options.kinds.insert(echo().kind, own);
    let mut rig = rig(options);
    let other = lane("other", 5);
    rig.open(&other);
    rig.says("w1").kinds = heartbeat("w1", 1, &["echo", "other"]).kinds;
    rig.beat("w1");
    for (seq, secs) in [(1, 9), (2, 9), (3, 1)] {
        rig.wait(Span::from_ms(1));
        rig.deliver_lasting(seq, Span::from_secs(secs));
    }
    for (seq, secs) in [(4, 9), (5, 1)] {
        let mut spec = task_in(&seq.to_string(), &other);
        spec.options.duration = Some(Span::from_secs(secs));
        rig.event(delivered(seq, 1, spec));
    }
    let order = served(&mut rig);
    let of = |own: [u64; 2]| -> Vec<u64> {
        let those = order.iter().filter(|seq| own.contains(seq));
        those.copied().collect()
    };
    assert_eq!(of([2, 3]), [3, 2], "the shortest first");
    assert_eq!(of([4, 5]), [4, 5], "the first first");
}

/// What a worker is told of how long a task runs.
fn told_estimate(actions: &[crate::Action]) -> Option<Span> {
    let placed = frames(actions).into_iter().flat_map(|frame| &frame.tasks);
    placed.last().expect("one is placed").estimate
}

#[test]
fn a_worker_is_told_what_was_said_or_learned_and_nothing_before() {
    let mut rig = rig(ordered(Order::Fifo));
    assert_eq!(told_estimate(&rig.deliver(1)), None);
    rig.complete("w1", 1, Span::from_secs(4));
    let actions = rig.deliver_lasting(2, Span::from_secs(9));
    assert_eq!(told_estimate(&actions), Some(Span::from_secs(9)));
    rig.complete("w1", 2, Span::from_secs(2));
    assert_eq!(told_estimate(&rig.deliver(3)), Some(Span::from_secs(3)));
    let mut failure = rig.outcome("w1", 3, failed(Retry::Never));
    failure.ran = Span::from_secs(60);
    rig.event(reported("w1", failure));
    let actions = rig.deliver(4);
    assert_eq!(
        told_estimate(&actions),
        Some(Span::from_secs(3)),
        "from a failure nothing is learned"
    );
}
