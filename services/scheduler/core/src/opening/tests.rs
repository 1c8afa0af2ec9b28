//! Lanes that are found, opened and closed.

use rota_wire::Span;
use rota_wire::dispatch::Ending;
use rota_wire::fleet::WorkerState;

use crate::rig::{Rig, closed, delivered, echo, lane, opened, pulled, sought, task_in};
use crate::{Event, Options};

const HOUR: Span = Span::from_secs(3_600);

fn found(rig: &mut Rig, kind: &str) -> Vec<String> {
    let lane = lane(kind, 5);
    opened(&rig.event(Event::LaneFound { lane }))
}

#[test]
fn a_lane_is_opened_when_its_kind_has_a_worker_and_costs_nothing_before() {
    let mut rig = Rig::new();
    for number in 0..1_000 {
        assert_eq!(found(&mut rig, &format!("kind{number}")), [""; 0]);
    }
    assert_eq!(rig.scheduler.lanes.iter().count(), 0);
    assert_eq!(sought(&rig.join_for("w1", 1, &["kind7"])), ["kind7"]);
    assert_eq!(found(&mut rig, "kind7"), ["kind7.5"]);
    assert_eq!(found(&mut rig, "kind7"), [""; 0], "it is being opened");
    assert_eq!(sought(&rig.join_for("w2", 1, &["kind7"])), [""; 0]);
}

#[test]
fn lanes_with_consumers_are_opened_whoever_handles_them() {
    let mut rig = Rig::recovering(Options::default(), &[]);
    let lanes = vec![lane("a", 1), lane("b", 2)];
    assert_eq!(
        opened(&rig.event(Event::LanesListed {
            lanes: lanes.clone()
        })),
        ["a.1", "b.2"]
    );
    let again = rig.event(Event::LanesListed { lanes });
    assert_eq!(opened(&again), [""; 0]);
}

#[test]
fn a_lane_that_is_not_opened_is_tried_again_with_growing_pauses() {
    let mut rig = Rig::new();
    rig.join_steady("w1", 1);
    found(&mut rig, "echo");
    let mut pauses = Vec::new();
    for _ in 0..6 {
        rig.event(Event::LaneNotOpened { lane: echo() });
        let mut pause = 0;
        while opened(&rig.wait(Span::from_ms(500))).is_empty() {
            pause += 500;
        }
        pauses.push(pause + 500);
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
}

#[test]
fn an_idle_lane_is_closed_and_opened_again_when_something_is_found() {
    let mut rig = Rig::new();
    rig.join_steady("w1", 1);
    rig.open(&echo());
    let mut waited = 0;
    while closed(&{
        waited += 15;
        rig.beat("w1");
        rig.wait(Span::from_secs(15))
    })
    .is_empty()
    {
        assert!(waited < 700, "it is not closed");
    }
    assert!(waited >= 600, "{waited}");
    let actions = rig.event(Event::LaneClosed { lane: echo() });
    assert_eq!(
        sought(&actions),
        ["echo"],
        "something may have come meanwhile"
    );
    assert_eq!(found(&mut rig, "echo"), ["echo.5"]);
}

#[test]
fn a_lane_that_is_kept_is_pulled_as_before() {
    let mut rig = Rig::new();
    rig.open(&lane("orphan", 5));
    let actions = rig.wait(Span::from_secs(75));
    assert_eq!(closed(&actions), ["orphan.5"]);
    assert_eq!(pulled(&rig.join_for("w1", 1, &["orphan"])), []);
    let actions = rig.event(Event::LaneKept {
        lane: lane("orphan", 5),
    });
    assert_eq!(pulled(&actions), [("orphan.5".to_owned(), 65)]);
    assert_eq!(closed(&rig.wait(Span::from_secs(59))), [""; 0]);
}

#[test]
fn a_lane_of_which_something_runs_is_not_closed() {
    let slow = lane("slow", 5);
    let mut rig = Rig::new();
    rig.open(&slow);
    rig.join_as("w1", 1, |says| says.kinds[0].kind = slow.kind.clone());
    rig.event(delivered(1, 1, task_in("1", &slow)));
    rig.says("w1").state = WorkerState::Draining;
    for _ in 0..100 {
        rig.beat("w1");
        assert_eq!(closed(&rig.wait(Span::from_secs(60))), [""; 0]);
    }
    rig.report("w1", 1, Ending::Stored);
    rig.beat("w1");
    assert_eq!(closed(&rig.wait(Span::from_secs(60))), ["slow.5"]);
}

#[test]
fn a_lane_that_is_closed_leaves_nothing() {
    let mut rig = Rig::new();
    rig.open(&lane("orphan", 5));
    rig.wait(HOUR);
    let actions = rig.event(Event::LaneClosed {
        lane: lane("orphan", 5),
    });
    assert_eq!((sought(&actions), opened(&actions)), (vec![], vec![]));
    assert_eq!(rig.scheduler.lanes.iter().count(), 0);
}

#[test]
fn what_a_closed_lane_had_delivered_is_not_taken_for_fresh_when_it_is_opened_again() {
    let orphan = lane("orphan", 5);
    let mut rig = Rig::new();
    rig.open(&orphan);
    rig.join_for("w1", 1, &["orphan"]);
    rig.event(delivered(7, 1, task_in("7", &orphan)));
    rig.report("w1", 7, Ending::Stored);
    assert_eq!(closed(&rig.wait(Span::from_secs(75))), ["orphan.5"]);
    rig.event(Event::LaneClosed {
        lane: orphan.clone(),
    });
    rig.join_for("w2", 1, &["orphan"]);
    found(&mut rig, "orphan");
    rig.open(&orphan);
    let actions = rig.event(delivered(7, 1, task_in("7", &orphan)));
    assert_eq!(crate::rig::looked_up(&actions), [7]);
}

#[test]
fn the_lanes_of_all_kinds_are_looked_for_now_and_then() {
    let names: Vec<String> = (0..100).map(|number| format!("k{number:02}")).collect();
    let kinds: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::new();
    rig.join_for("w1", 1, &kinds);
    rig.says("w1").interval = Span::from_secs(60);
    rig.beat("w1");
    let mut all = sought(&rig.wait(Span::from_secs(20)));
    assert!(all.len() >= 100, "{}", all.len());
    all.sort();
    all.dedup();
    assert_eq!(all, names);
}
