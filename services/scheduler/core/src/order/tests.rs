//! The orders, one by one.

use super::*;

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
