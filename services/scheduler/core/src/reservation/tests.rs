//! Tasks that ask for much among many that ask for little.

use rota_wire::dispatch::Ending;
use rota_wire::event::Event as Told;
use rota_wire::fleet::WorkerState;
use rota_wire::{Span, TaskId};

use crate::rig::{Rig, amount, echo, placed, told};
use crate::{Action, Binding, Options, Order, Policy};

const LONG: Span = Span::from_secs(10);

fn rig_by(order: Order, binding: Binding) -> Rig {
    let mut rig = Rig::with(Options {
        policy: Policy {
            order,
            binding,
            ..Policy::default()
        },
        reserve_after: Span::from_secs(60),
        ..Options::default()
    });
    rig.open(&echo());
    rig
}

fn rig() -> Rig {
    rig_by(Order::Priority, Binding::Late)
}

fn join(rig: &mut Rig, name: &str, slots: u32, cpu: u32) -> Vec<Action> {
    rig.join_as(name, slots, |says| {
        says.resources = amount(cpu, 0);
        says.interval = Span::from_secs(60);
    })
}

/// A task that asks for so many thousandths of a core and is expected to run so long.
fn deliver(rig: &mut Rig, seq: u64, cpu: u32, duration: Option<Span>) -> Vec<Action> {
    rig.deliver_as(seq, |spec| {
        spec.options.demand = amount(cpu, 0);
        spec.options.duration = duration;
    })
}

fn reserved(actions: &[Action]) -> Vec<(String, String)> {
    let told = told(actions).into_iter().filter_map(|told| match told {
        Told::Reserved { task, worker, .. } => Some((task.to_string(), worker.to_string())),
        _ => None,
    });
    told.collect()
}

fn why(rig: &Rig, id: &str) -> String {
    let id = TaskId::parse(id).expect("good");
    let told = rig.scheduler.explain(&id, rig.now).expect("it is there");
    told.why
}

/// One worker of four cores on which two small tasks run, for 100 s and for 200 s; a large one waits, and its
/// time has come.
fn one_reserved(rig: &mut Rig) {
    join(rig, "w1", 8, 4_000);
    deliver(rig, 1, 1_000, Some(Span::from_secs(100)));
    deliver(rig, 2, 1_000, Some(Span::from_secs(200)));
    assert_eq!(placed(&deliver(rig, 9, 3_000, Some(LONG))), []);
    rig.wait(Span::from_secs(30));
    rig.beat("w1");
    assert_eq!(reserved(&rig.wait(Span::from_secs(29))), []);
    let actions = rig.wait(Span::from_secs(5));
    assert_eq!(reserved(&actions), [("9".to_owned(), "w1".to_owned())]);
    rig.beat("w1");
}

#[test]
fn one_that_asks_for_much_begins_although_small_ones_never_end() {
    for order in Order::ALL {
        for binding in [Binding::Late, Binding::Early] {
            let mut rig = rig_by(*order, binding);
            join(&mut rig, "w1", 4, 4_000);
            for seq in 1..=4 {
                deliver(&mut rig, seq, 1_000, Some(LONG));
            }
            deliver(&mut rig, 1_000, 3_000, Some(LONG));
            let mut begun = false;
            for round in 0..100 {
                // Two are always there to take the place of each that ends.
                for seq in [10 + round * 2, 11 + round * 2] {
                    deliver(&mut rig, seq, 1_000, Some(LONG));
                }
                let mut actions = rig.wait(Span::from_secs(3));
                actions.extend(rig.beat("w1"));
                let first = rig.holds("w1").first().copied();
                if let Some(seq) = first.filter(|seq| *seq != 1_000) {
                    actions.extend(rig.report("w1", seq, Ending::Stored));
                }
                begun |= rig.holds("w1").contains(&1_000);
                if begun {
                    break;
                }
            }
            assert!(begun, "{order} {binding}");
        }
    }
}

#[test]
fn only_what_ends_before_may_use_the_gap() {
    let mut rig = rig();
    one_reserved(&mut rig);
    // It can begin when the first has ended, in 38 s or so.
    assert_eq!(
        placed(&deliver(&mut rig, 20, 1_000, Some(Span::from_secs(60)))),
        [],
        "it would put the large one off"
    );
    assert_eq!(
        placed(&deliver(&mut rig, 21, 1_000, None)),
        [],
        "nobody knows how long it takes"
    );
    assert_eq!(
        placed(&deliver(&mut rig, 22, 1_000, Some(LONG))),
        [("w1", 22)]
    );
    rig.report("w1", 22, Ending::Stored);
    let actions = rig.report("w1", 1, Ending::Stored);
    assert_eq!(placed(&actions), [("w1", 9)]);
    let actions = rig.report("w1", 9, Ending::Stored);
    assert_eq!(
        placed(&actions),
        [("w1", 20), ("w1", 21)],
        "it is free for all"
    );
}

#[test]
fn what_leaves_enough_beside_it_may_run_on() {
    let mut rig = rig();
    one_reserved(&mut rig);
    let actions = deliver(&mut rig, 20, 0, None);
    assert_eq!(placed(&actions), [("w1", 20)], "it needs no core at all");
}

#[test]
fn the_worker_that_can_take_it_soonest_is_kept() {
    let mut rig = rig();
    for (name, seq, secs) in [("w1", 1, 500), ("w2", 2, 90), ("w3", 3, 300)] {
        join(&mut rig, name, 2, 2_000);
        let run = Some(Span::from_secs(secs));
        assert_eq!(placed(&deliver(&mut rig, seq, 1_000, run)), [(name, seq)]);
    }
    deliver(&mut rig, 9, 2_000, Some(LONG));
    rig.wait(Span::from_secs(59));
    for name in ["w1", "w2", "w3"] {
        rig.beat(name);
    }
    let actions = rig.wait(Span::from_secs(5));
    assert_eq!(reserved(&actions), [("9".to_owned(), "w2".to_owned())]);
    assert!(
        why(&rig, "9").contains("so w2 is kept for it until that has room: in about 2"),
        "{}",
        why(&rig, "9")
    );
    // The others are not kept from anybody.
    assert_eq!(placed(&deliver(&mut rig, 20, 1_000, None)).len(), 1);
    assert_eq!(placed(&deliver(&mut rig, 21, 1_000, None)).len(), 1);
    assert_eq!(placed(&deliver(&mut rig, 22, 1_000, None)), []);
    let id = TaskId::parse("22").expect("good");
    let told = rig.scheduler.explain(&id, rig.now).expect("it is there");
    let reasons: Vec<_> = told
        .candidates
        .iter()
        .filter_map(|candidate| candidate.ruled_out.clone())
        .collect();
    assert!(
        reasons.iter().any(|reason| reason.contains("kept for 9")),
        "{reasons:?}"
    );
}

#[test]
fn one_that_finds_room_elsewhere_leaves_its_worker_to_others() {
    let mut rig = rig();
    one_reserved(&mut rig);
    deliver(&mut rig, 20, 1_000, None);
    assert_eq!(
        placed(&join(&mut rig, "w2", 4, 3_000)),
        [("w1", 20), ("w2", 9)]
    );
}

#[test]
fn a_worker_that_stops_is_not_kept_any_more_and_another_is() {
    let mut rig = rig();
    one_reserved(&mut rig);
    join(&mut rig, "w2", 1, 2_000);
    join(&mut rig, "w3", 1, 4_000);
    assert_eq!(rig.holds("w3"), [9], "it has room at once");
    let mut rig = self::rig();
    join(&mut rig, "w2", 1, 4_000);
    deliver(&mut rig, 1, 4_000, Some(Span::from_secs(900)));
    join(&mut rig, "w1", 1, 4_000);
    deliver(&mut rig, 2, 4_000, Some(Span::from_secs(100)));
    deliver(&mut rig, 9, 3_000, Some(LONG));
    rig.wait(Span::from_secs(59));
    rig.beat("w1");
    rig.beat("w2");
    let actions = rig.wait(Span::from_secs(5));
    assert_eq!(reserved(&actions), [("9".to_owned(), "w1".to_owned())]);
    rig.says("w1").state = WorkerState::Draining;
    rig.beat("w1");
    assert!(
        why(&rig, "9").contains("no worker can take it"),
        "{}",
        why(&rig, "9")
    );
    let actions = rig.wait(Span::from_secs(5));
    assert_eq!(reserved(&actions), [("9".to_owned(), "w2".to_owned())]);
}

#[test]
fn no_more_than_half_of_the_workers_are_kept() {
    let mut rig = rig();
    for number in 0..8 {
        join(&mut rig, &format!("w{number}"), 2, 2_000);
        deliver(&mut rig, number, 1_000, None);
    }
    for seq in 100..140 {
        deliver(&mut rig, seq, 2_000, None);
    }
    rig.wait(Span::from_secs(59));
    for number in 0..8 {
        rig.beat(&format!("w{number}"));
    }
    assert_eq!(reserved(&rig.wait(Span::from_secs(40))).len(), 4);
}

#[test]
fn a_task_that_nobody_could_ever_take_keeps_nobody() {
    let mut rig = rig();
    join(&mut rig, "w1", 2, 2_000);
    deliver(&mut rig, 1, 9_000, None);
    rig.wait(Span::from_secs(50));
    rig.beat("w1");
    assert_eq!(reserved(&rig.wait(Span::from_secs(40))), []);
    assert_eq!(placed(&deliver(&mut rig, 2, 1_000, None)), [("w1", 2)]);
}
