//! Kinds that nobody handles any more.

use rota_wire::Span;
use rota_wire::fleet::WorkerState;

use crate::rig::{
    Rig, delivered, echo, lane, looked_up, nakked, placed, pulled, revoked, running_in, task_in,
};
use crate::{Event, Looked, Options, PullEnd};

const KEPT: Span = Span::from_secs(5);

/// A worker of `dead` that leaves two tasks waiting, and one of `echo` that stays.
fn two_waiting(options: Options) -> Rig {
    let mut rig = Rig::with(options);
    let dead = lane("dead", 5);
    rig.open(&dead);
    rig.open(&echo());
    rig.join_for("w1", 0, &["dead"]);
    rig.join_steady("w2", 1);
    for seq in [1, 2] {
        rig.event(delivered(seq, 1, task_in(&seq.to_string(), &dead)));
    }
    rig.says("w1").state = WorkerState::Gone;
    rig.beat("w1");
    rig
}

#[test]
fn what_waits_of_a_kind_without_workers_is_given_back_and_forgotten() {
    let mut rig = two_waiting(Options {
        tasks_max: 3,
        ..Options::default()
    });
    let before = rig.wait(Span::from_ms(4_999));
    assert_eq!(nakked(&before), [], "a worker may come in a moment");
    let actions = rig.wait(Span::from_ms(1));
    assert_eq!(nakked(&actions), [1, 2]);
    assert_eq!(rig.scheduler.tasks_in_memory(), 0);
    let asked = pulled(&actions);
    assert!(asked.iter().all(|(lane, _)| lane == "echo.5"), "{asked:?}");
    rig.event(Event::PullEnded {
        lane: lane("dead", 5),
        unused: 100,
        end: PullEnd::Nothing,
    });
    assert_eq!(pulled(&rig.wait(KEPT)), []);
}

#[test]
fn it_comes_again_with_the_next_worker() {
    let mut rig = two_waiting(Options::default());
    rig.wait(KEPT);
    rig.event(Event::PullEnded {
        lane: lane("dead", 5),
        unused: 100,
        end: PullEnd::Cut,
    });
    let actions = rig.join_for("w3", 2, &["dead"]);
    assert_eq!(pulled(&actions)[0], ("dead.5".to_owned(), 68));
    let again = delivered(1, 2, task_in("1", &lane("dead", 5)));
    assert_eq!(looked_up(&rig.event(again)), [1]);
    assert_eq!(placed(&rig.found(1, Looked::Nothing)), [("w3", 1)]);
}

#[test]
fn a_worker_that_comes_back_keeps_what_it_runs_although_it_was_forgotten() {
    let dead = lane("dead", 5);
    let mut rig = Rig::new();
    rig.open(&dead);
    rig.join_for("w1", 1, &["dead"]);
    rig.event(delivered(1, 1, task_in("1", &dead)));
    let held = rig.says("w1").held[0].clone();
    let named = running_in(0, 1, &dead).task;
    assert_eq!(nakked(&rig.wait(Span::from_secs(3))), [1]);
    rig.wait(KEPT);
    assert_eq!(rig.scheduler.tasks_in_memory(), 0);
    rig.says("w1").held[0] = rota_wire::fleet::Held {
        task: named,
        ..held
    };
    assert_eq!(revoked(&rig.beat("w1")), []);
    let again = delivered(1, 2, task_in("1", &dead));
    assert_eq!(looked_up(&rig.event(again)), [], "it is adopted");
    assert_eq!(revoked(&rig.beat("w1")), []);
}
