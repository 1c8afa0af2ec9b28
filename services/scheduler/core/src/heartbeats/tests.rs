//! Workers that speak, fall silent and come back.

use rota_wire::Span;
use rota_wire::event::{Event as Told, RedeliveryCause};
use rota_wire::fleet::{Stage, WorkerState};

use crate::rig::{
    Rig, acked, buried, echo, frames, holding, looked_up, nakked, placed, revoked, told, worker,
};
use crate::{Event, Looked, Options};

const SILENCE: Span = Span::from_secs(3);

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig
}

/// A worker that is never missed in these tests.
fn join_steady(rig: &mut Rig, name: &str, slots: u32) {
    rig.join(name, slots);
    rig.says(name).interval = Span::from_secs(60);
    rig.beat(name);
}

#[test]
fn what_a_lost_worker_held_is_nakked_and_looked_up_when_it_comes_again() {
    let mut rig = rig();
    rig.join("w1", 2);
    rig.deliver(1);
    rig.deliver(2);
    assert_eq!(nakked(&rig.wait(Span::from_ms(2_999))), []);
    let actions = rig.wait(Span::from_ms(1));
    assert_eq!(nakked(&actions), [1, 2]);
    assert!(matches!(
        told(&actions)[..],
        [
            Told::WorkerLost { holding: 2, .. },
            Told::Redelivered {
                cause: RedeliveryCause::Lost,
                ..
            },
            Told::Redelivered {
                cause: RedeliveryCause::Lost,
                ..
            },
        ]
    ));
    assert_eq!(rig.scheduler.workers().count(), 0);
    join_steady(&mut rig, "w2", 2);
    assert_eq!(looked_up(&rig.deliver_again(1, 2)), [1]);
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), [("w2", 1)]);
}

#[test]
fn a_task_that_took_down_three_workers_is_buried() {
    let mut rig = rig();
    for (count, name) in [(1, "w1"), (2, "w2"), (3, "w3")] {
        rig.join(name, 1);
        rig.deliver_again(1, count);
        rig.found(1, Looked::Nothing);
        assert_eq!(rig.holds(name), [1]);
        let actions = rig.event(Event::Died {
            worker: worker(name),
        });
        assert_eq!(nakked(&actions), [1]);
        let told = told(&actions);
        assert!(matches!(told[0], Told::WorkerDied { holding: 1, .. }));
    }
    rig.join("w4", 1);
    rig.deliver_again(1, 4);
    let actions = rig.found(1, Looked::Nothing);
    assert_eq!(
        buried(&actions),
        [(1, "poison: 3 workers were lost while they held it")]
    );
    assert_eq!((placed(&actions), acked(&actions)), (vec![], vec![]));
    assert_eq!(acked(&rig.event(Event::Stored { seq: 1 })), [1]);
}

#[test]
fn a_worker_that_says_goodbye_counts_as_no_loss() {
    let mut rig = rig();
    for count in 1..=5 {
        let name = format!("w{count}");
        rig.join(&name, 1);
        rig.deliver_again(1, count);
        rig.found(1, Looked::Nothing);
        assert_eq!(rig.holds(&name), [1]);
        rig.says(&name).state = WorkerState::Gone;
        let actions = rig.beat(&name);
        assert_eq!(nakked(&actions), [1]);
        assert!(
            told(&actions)
                .iter()
                .any(|told| matches!(told, Told::WorkerLeft { .. }))
        );
    }
}

#[test]
fn a_late_heartbeat_does_not_put_off_the_loss_of_its_worker() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.beat("w1");
    rig.deliver(1);
    rig.wait(Span::from_ms(2_000));
    rig.says("w1").number = 0;
    rig.beat("w1");
    assert_eq!(nakked(&rig.wait(Span::from_ms(1_000))), [1]);
}

#[test]
fn a_late_heartbeat_does_not_revive_a_lost_worker() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.beat("w1");
    rig.wait(SILENCE);
    for number in [0, 1] {
        rig.says("w1").number = number;
        assert!(told(&rig.beat("w1")).is_empty(), "{number}");
        assert_eq!(rig.scheduler.workers().count(), 0);
    }
    rig.beat("w1");
    assert_eq!(rig.scheduler.workers().count(), 1, "this one is new");
}

#[test]
fn a_late_heartbeat_does_not_revive_one_who_has_said_goodbye() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.wait(SILENCE);
    rig.says("w1").number = 8;
    rig.says("w1").state = WorkerState::Gone;
    rig.beat("w1");
    rig.says("w1").number = 4;
    rig.says("w1").state = WorkerState::Up;
    rig.beat("w1");
    assert_eq!(rig.scheduler.workers().count(), 0);
}

#[test]
fn the_last_word_of_a_worker_that_is_lost_does_not_revive_it() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.wait(SILENCE);
    rig.says("w1").state = WorkerState::Gone;
    let actions = rig.beat("w1");
    assert_eq!(rig.scheduler.workers().count(), 0);
    assert!(told(&actions).is_empty());
}

#[test]
fn one_who_was_only_cut_off_loses_what_others_have_and_keeps_what_waits() {
    let mut rig = rig();
    rig.join("w1", 2);
    rig.deliver(1);
    rig.deliver(2);
    assert_eq!(nakked(&rig.wait(SILENCE)), [1, 2]);
    join_steady(&mut rig, "w2", 1);
    for seq in [1, 2] {
        rig.deliver_again(seq, 2);
        rig.found(seq, Looked::Nothing);
    }
    assert_eq!(rig.holds("w2"), [1]);
    let actions = rig.beat("w1");
    assert_eq!(revoked(&actions), [("w1", 1)]);
    assert_eq!((placed(&actions), nakked(&actions)), (vec![], vec![]));
    assert_eq!(rig.holds("w1"), [2]);
    let actions = rig.report("w1", 2, rota_wire::dispatch::Ending::Stored);
    assert_eq!(acked(&actions), [2]);
}

#[test]
fn what_a_worker_claims_while_it_is_on_its_way_back_is_adopted_when_it_comes() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.deliver(1);
    rig.wait(SILENCE);
    assert_eq!(revoked(&rig.beat("w1")), []);
    let actions = rig.deliver_again(1, 2);
    assert_eq!((looked_up(&actions), placed(&actions)), (vec![], vec![]));
    assert_eq!(nakked(&rig.beat("w1")), [], "it is in good hands");
    assert_eq!(
        acked(&rig.report("w1", 1, rota_wire::dispatch::Ending::Stored)),
        [1]
    );
}

#[test]
fn a_task_whose_frame_was_lost_is_redelivered_once_a_later_frame_was_seen() {
    let mut rig = rig();
    rig.join("w1", 3);
    rig.lose_frames = true;
    rig.deliver(1);
    assert_eq!(
        nakked(&rig.beat("w1")),
        [],
        "its frame may still be on the way"
    );
    rig.lose_frames = false;
    rig.deliver(2);
    let actions = rig.beat("w1");
    assert_eq!(nakked(&actions), [1]);
    assert_eq!(rig.holds("w1"), [2]);
    rig.deliver_again(1, 2);
    let actions = rig.found(1, Looked::Nothing);
    assert_eq!(buried(&actions), []);
    assert_eq!(placed(&actions), [("w1", 1)]);
}

#[test]
fn a_task_whose_frame_was_lost_is_redelivered_although_no_other_task_follows() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.lose_frames = true;
    rig.deliver(1);
    assert!(
        frames(&rig.beat("w1")).is_empty(),
        "its frame may still be on the way"
    );
    rig.lose_frames = false;
    let actions = rig.beat("w1");
    assert_eq!(frames(&actions).len(), 1, "one that only has a number");
    assert_eq!(nakked(&actions), []);
    assert_eq!(nakked(&rig.beat("w1")), [1]);
    assert!(frames(&rig.beat("w1")).is_empty(), "all is seen");
}

#[test]
fn a_task_that_its_worker_has_forgotten_is_redelivered() {
    let mut rig = rig();
    rig.join("w1", 2);
    rig.deliver(1);
    rig.deliver(2);
    rig.says("w1").held.remove(0);
    assert_eq!(nakked(&rig.beat("w1")), [1]);
}

#[test]
fn a_worker_that_leaves_and_comes_back_is_not_thought_to_have_missed_frames() {
    let mut rig = rig();
    rig.join("w1", 4);
    for seq in 1..=3 {
        rig.deliver(seq);
    }
    let old = rig.says("w1").seen.expect("frames were sent").number;
    rig.wait(SILENCE);
    rig.says("w1").held.clear();
    rig.beat("w1");
    rig.lose_frames = true;
    let actions = rig.deliver(4);
    assert!(
        frames(&actions)[0].number > old,
        "a number is not used again"
    );
    assert_eq!(nakked(&rig.beat("w1")), [], "the frame is on its way");
}

#[test]
fn frames_of_one_worker_are_numbered_without_gaps_whatever_others_are_sent() {
    let mut rig = rig();
    rig.join("w1", 8);
    rig.join("w2", 8);
    let mut numbers = Vec::new();
    for seq in 1..=12 {
        let actions = rig.deliver(seq);
        let frame = frames(&actions)[0];
        if frame.worker.as_str() == "w1" {
            numbers.push(frame.number);
        }
    }
    assert_eq!(
        numbers,
        [1, 2, 3, 4, 5, 6],
        "the worker takes a gap for a lost frame"
    );
}

#[test]
fn running_deliveries_that_nobody_knows_of_are_revoked_and_fill_their_slots() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.says("w1").held.push(rota_wire::fleet::Held {
        holding: holding(3, 77, 1),
        stage: Stage::Running,
        ran: Span::default(),
        task: None,
    });
    rig.lose_frames = true;
    assert_eq!(revoked(&rig.beat("w1")), [("w1", 77)]);
    assert_eq!(placed(&rig.deliver(1)), [], "its only slot is busy");
    rig.says("w1").held.clear();
    assert_eq!(placed(&rig.beat("w1")), [("w1", 1)]);
}

#[test]
fn heartbeats_of_more_workers_than_allowed_are_not_heard() {
    let mut rig = Rig::with(Options {
        workers_max: 1,
        ..Options::default()
    });
    rig.join("w1", 1);
    rig.join("w2", 1);
    assert_eq!(rig.scheduler.workers().count(), 1);
    rig.says("w1").state = WorkerState::Gone;
    rig.beat("w1");
    rig.beat("w2");
    let ids: Vec<_> = rig
        .scheduler
        .workers()
        .map(|id| id.as_str().to_owned())
        .collect();
    assert_eq!(ids, ["w2"]);
}
