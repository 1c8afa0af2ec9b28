//! Who is blamed for a lost worker.

use rota_wire::event::Event as Told;
use rota_wire::{LeaderMemory, Span};

use crate::rig::{
    Rig, acked, buried, delivered, echo, looked_up, nakked, placed, probed, task, told, worker,
};
use crate::{Beginning, Event, Looked, Options, Scheduler};

const SILENCE: Span = Span::from_secs(3);
const AGAIN: Span = Span::from_ms(500);

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig
}

/// A task that three workers had which fell silent, delivered and looked up once more.
fn lost_three_times(rig: &mut Rig) {
    for (count, name) in [(1, "w1"), (2, "w2"), (3, "w3")] {
        rig.join(name, 1);
        rig.deliver_again(1, count);
        rig.found(1, Looked::Nothing);
        assert_eq!(rig.holds(name), [1]);
        assert_eq!(nakked(&rig.wait(SILENCE)), [1]);
    }
    rig.join_steady("w4", 1);
    rig.deliver_again(1, 4);
}

fn answer(rig: &mut Rig, names: &[&str], there: bool) {
    for name in names {
        let worker = worker(name);
        rig.event(Event::Probed { worker, there });
    }
}

#[test]
fn a_task_is_poison_only_when_its_workers_are_not_there_any_more() {
    let mut rig = rig();
    lost_three_times(&mut rig);
    let actions = rig.found(1, Looked::Nothing);
    assert_eq!(probed(&actions), ["w1", "w2", "w3"]);
    assert_eq!((placed(&actions), buried(&actions)), (vec![], vec![]));
    answer(&mut rig, &["w1", "w2", "w3"], false);
    assert_eq!(looked_up(&rig.wait(AGAIN)), [1]);
    let actions = rig.found(1, Looked::Nothing);
    assert_eq!(
        buried(&actions),
        [(1, "poison: 3 workers were lost while they held it")]
    );
    assert_eq!(acked(&rig.event(Event::Stored { seq: 1 })), [1]);
    assert_eq!(rig.scheduler.memory().losses, []);
}

#[test]
fn a_task_whose_workers_may_come_back_goes_on_under_suspicion() {
    let mut rig = rig();
    lost_three_times(&mut rig);
    rig.found(1, Looked::Nothing);
    answer(&mut rig, &["w1", "w3"], false);
    answer(&mut rig, &["w2"], true);
    rig.wait(AGAIN);
    let actions = rig.found(1, Looked::Nothing);
    assert_eq!(
        (placed(&actions), buried(&actions)),
        (vec![("w4", 1)], vec![])
    );
}

#[test]
fn a_healthy_task_on_a_worker_that_pauses_again_and_again_is_never_blamed() {
    // As it was seen: one worker, a long task, three pauses of which each seems a loss.
    let mut rig = rig();
    rig.join("w1", 1);
    rig.deliver(1);
    for count in 2..10 {
        assert_eq!(nakked(&rig.wait(SILENCE)), [1]);
        let actions = rig.beat("w1");
        assert!(matches!(told(&actions)[0], Told::WorkerReturned { .. }));
        assert_eq!(looked_up(&rig.deliver_again(1, count)), [], "it is adopted");
        assert_eq!(rig.scheduler.memory().losses, []);
    }
    let actions = rig.report("w1", 1, rota_wire::dispatch::Ending::Stored);
    assert_eq!(acked(&actions), [1]);
}

#[test]
fn a_loss_is_forgiven_when_the_worker_comes_back_without_the_task_too() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.deliver(1);
    rig.wait(SILENCE);
    let before = rig.scheduler.memory_version();
    rig.says("w1").held.clear();
    rig.beat("w1");
    assert_eq!(rig.scheduler.memory().losses, []);
    assert_ne!(rig.scheduler.memory_version(), before);
}

#[test]
fn a_goodbye_of_one_who_was_lost_forgives_too() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.deliver(1);
    rig.wait(SILENCE);
    rig.says("w1").state = rota_wire::fleet::WorkerState::Gone;
    rig.beat("w1");
    assert_eq!(rig.scheduler.memory().losses, []);
}

#[test]
fn suspects_that_are_forgiven_run_beside_each_other() {
    let mut rig = rig();
    for (count, name) in [(1, "a"), (2, "b")] {
        rig.join(name, 2);
        for seq in [1, 2] {
            rig.deliver_again(seq, count);
            rig.found(seq, Looked::Nothing);
        }
        rig.wait(SILENCE);
    }
    for seq in [1, 2] {
        rig.deliver_again(seq, 3);
        rig.found(seq, Looked::Nothing);
    }
    assert_eq!(placed(&rig.join_steady("w", 4)), [("w", 1)]);
    rig.says("a").held.clear();
    rig.says("a").slots = 0;
    assert_eq!(placed(&rig.beat("a")), [("w", 2)]);
}

#[test]
fn a_worker_that_has_died_is_not_revived_by_a_heartbeat_that_was_under_way() {
    let mut rig = rig();
    rig.join("w1", 1);
    rig.deliver(1);
    let died = Event::Died {
        worker: worker("w1"),
    };
    assert_eq!(nakked(&rig.event(died)), [1]);
    rig.beat("w1");
    assert_eq!(rig.scheduler.workers().count(), 0);
    rig.wait(Span::from_secs(5));
    rig.beat("w1");
    assert_eq!(
        rig.scheduler.workers().count(),
        1,
        "it was not dead after all"
    );
}

#[test]
fn what_one_leader_knew_of_losses_the_next_knows() {
    let mut before = rig();
    for (count, name) in [(1, "w1"), (2, "w2")] {
        before.join(name, 1);
        before.event(delivered(1, count, task("t")));
        before.found(1, Looked::Nothing);
        before.event(Event::Died {
            worker: worker(name),
        });
    }
    let memory: LeaderMemory = before.scheduler.memory();
    assert_eq!(memory.losses.len(), 1);
    assert!(memory.losses[0].workers.iter().all(|lost| lost.ended));
    let mut after = rig();
    let beginning = Beginning {
        term: crate::rig::TERM,
        seed: 1,
        now: after.now,
        expected: std::collections::BTreeSet::new(),
        memory: Some(memory.clone()),
    };
    after.scheduler = Scheduler::new(Options::default(), beginning, &mut Vec::new());
    after.open(&echo());
    after.join("w3", 1);
    after.event(delivered(1, 3, task("t")));
    after.found(1, Looked::Nothing);
    assert_eq!(after.scheduler.memory().losses, memory.losses);
    after.event(Event::Died {
        worker: worker("w3"),
    });
    after.event(delivered(1, 4, task("t")));
    assert_eq!(buried(&after.found(1, Looked::Nothing)).len(), 1);
}
