//! Each strategy as its name says, and what all of them respect.

use std::collections::BTreeMap;

use rota_wire::dispatch::Ending;
use rota_wire::fleet::WorkerState;
use rota_wire::{Label, Span};

use crate::rig::{Rig, amount, delivered, echo, placed, task};
use crate::{Action, Allocation, Binding, LoadView, Options, Policy};

fn options(allocation: Allocation, binding: Binding) -> Options {
    Options {
        policy: Policy {
            allocation,
            binding,
            ..Policy::default()
        },
        ..Options::default()
    }
}

fn rig(allocation: Allocation) -> Rig {
    rig_with(options(allocation, Binding::Late))
}

fn rig_with(options: Options) -> Rig {
    let mut rig = Rig::with(options);
    rig.open(&echo());
    rig
}

fn label(text: &str) -> Label {
    text.parse().expect("good")
}

/// Every strategy with either binding.
fn all() -> impl Iterator<Item = (Allocation, Binding)> {
    let bindings = |allocation| {
        Binding::ALL
            .iter()
            .map(move |binding| (allocation, *binding))
    };
    Allocation::ALL.iter().copied().flat_map(bindings)
}

fn names(actions: &[Action]) -> Vec<String> {
    let placed = placed(actions).into_iter();
    placed.map(|(worker, _)| worker.to_owned()).collect()
}

/// Delivers tasks one by one and tells who was given each.
fn given(rig: &mut Rig, seqs: impl IntoIterator<Item = u64>) -> Vec<String> {
    seqs.into_iter()
        .flat_map(|seq| names(&rig.deliver(seq)))
        .collect()
}

fn shares(names: &[String]) -> Vec<usize> {
    let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *shares.entry(name).or_default() += 1;
    }
    shares.into_values().collect()
}

fn fleet(rig: &mut Rig, workers: usize, slots: u32) {
    for number in 0..workers {
        rig.join_steady(&format!("w{number}"), slots);
    }
}

fn spread(shares: &[usize]) -> usize {
    shares.iter().max().expect("some") - shares.iter().min().expect("some")
}

#[test]
fn random_draws_anyone_and_not_in_any_order() {
    let mut rig = rig(Allocation::Random);
    fleet(&mut rig, 4, 400);
    let order = given(&mut rig, 1..=400);
    let shares = shares(&order);
    assert_eq!(shares.len(), 4);
    assert!(
        shares.iter().all(|share| (70..130).contains(share)),
        "{shares:?}"
    );
    assert!(spread(&shares) > 2, "{shares:?} are no draws");
    let twice = order.windows(2).filter(|two| two[0] == two[1]).count();
    assert!((60..140).contains(&twice), "{twice} of 400");
}

#[test]
fn random_goes_on_to_whoever_has_room() {
    let mut rig = rig(Allocation::Random);
    fleet(&mut rig, 5, 2);
    assert_eq!(shares(&given(&mut rig, 1..=20)), [2; 5]);
}

#[test]
fn round_robin_gives_to_each_in_turn_whatever_its_load_and_passes_by_who_is_full() {
    let mut rig = rig(Allocation::RoundRobin);
    for (name, slots) in [("w1", 8), ("w2", 1), ("w3", 8)] {
        rig.join_steady(name, slots);
    }
    let order = given(&mut rig, 1..=5);
    assert_eq!(order, ["w1", "w2", "w3", "w1", "w3"]);
    for seq in [3, 5] {
        rig.report("w3", seq, Ending::Stored);
    }
    let order = given(&mut rig, 6..=8);
    assert_eq!(
        order,
        ["w1", "w3", "w1"],
        "w3 is idle, and it is not its turn"
    );
}

#[test]
fn of_two_that_are_drawn_the_less_loaded_is_taken() {
    let mut two = rig(Allocation::PowerOfTwo);
    fleet(&mut two, 2, 100);
    for seq in 1..=100 {
        two.deliver(seq);
        let loads = ["w0", "w1"].map(|name| two.holds(name).len());
        assert!(spread(&loads) <= 1, "{loads:?}");
    }
    let mut many = rig(Allocation::PowerOfTwo);
    fleet(&mut many, 20, 100);
    let shares = shares(&given(&mut many, 1..=500));
    assert!((2..12).contains(&spread(&shares)), "{shares:?}");
    let mut random = rig(Allocation::Random);
    fleet(&mut random, 20, 100);
    let drawn = self::shares(&given(&mut random, 1..=500));
    assert!(spread(&drawn) > spread(&shares), "{drawn:?}");
}

#[test]
fn the_same_seed_draws_the_same() {
    for allocation in [Allocation::Random, Allocation::PowerOfTwo] {
        let orders = [0, 1].map(|_| {
            let mut rig = rig(allocation);
            fleet(&mut rig, 6, 50);
            given(&mut rig, 1..=100)
        });
        assert_eq!(orders[0], orders[1]);
    }
}

#[test]
fn all_strategies_respect_kinds_labels_draining_limits_and_resources() {
    for (allocation, binding) in all() {
        let mut rig = rig_with(options(allocation, binding));
        let gpu = || vec![label("gpu"), label("zone=eu")];
        let able = amount(8_000, 8_000);
        rig.join_as("other-kind", 4, |says| {
            (says.labels, says.resources) = (gpu(), able);
            says.kinds[0].kind = rota_wire::Kind::parse("other").expect("good");
        });
        rig.join_as("no-label", 4, |says| {
            (says.labels, says.resources) = (vec![label("gpu")], able);
        });
        rig.join_as("draining", 4, |says| {
            (says.labels, says.resources) = (gpu(), able);
            says.state = WorkerState::Draining;
        });
        rig.join_as("no-memory", 4, |says| {
            (says.labels, says.resources) = (gpu(), amount(8_000, 0));
        });
        rig.join_as("good", 4, |says| {
            (says.labels, says.resources) = (gpu(), able);
            says.kinds[0].concurrency = Some(2);
        });
        let order: Vec<String> = (1..=3)
            .flat_map(|seq| {
                let actions = rig.deliver_as(seq, |spec| {
                    spec.options.requires = gpu();
                    spec.options.demand = amount(500, 500);
                });
                names(&actions)
            })
            .collect();
        assert_eq!(order, ["good", "good"], "{allocation} {binding}");
        let actions = rig.report("good", 1, Ending::Stored);
        assert_eq!(placed(&actions), [("good", 3)], "{allocation} {binding}");
    }
}

#[test]
fn no_strategy_overdraws_and_all_that_fits_is_used() {
    for (allocation, binding) in all() {
        let mut rig = rig_with(options(allocation, binding));
        for number in 0..5 {
            rig.join_as(&format!("w{number}"), 8, |says| {
                says.resources = amount(2_000, 1_000);
            });
        }
        let sizes = [(1_000, 100), (500, 500), (500, 400)];
        let mut count = 0;
        for seq in 1..=15 {
            let (cpu, memory) = sizes[seq as usize % 3];
            let actions = rig.deliver_as(seq, |spec| spec.options.demand = amount(cpu, memory));
            count += placed(&actions).len();
        }
        for number in 0..5 {
            let held = rig.holds(&format!("w{number}"));
            let sum = |of: fn((u32, u64)) -> u64| -> u64 {
                held.iter().map(|seq| of(sizes[*seq as usize % 3])).sum()
            };
            let (cpu, memory) = (sum(|size| size.0.into()), sum(|size| size.1));
            assert!(
                cpu <= 2_000 && memory <= 1_000,
                "{allocation} {binding}: {held:?}"
            );
        }
        assert!(count >= 10, "{allocation} {binding}: only {count} of 15");
    }
}

#[test]
fn resource_takes_the_one_with_least_to_spare() {
    let mut rig = rig(Allocation::Resource);
    for (name, cpu, memory) in [("big", 8_000, 100), ("small", 2_000, 100)] {
        rig.join_as(name, 8, |says| says.resources = amount(cpu, memory));
    }
    let order: Vec<String> = (1..=3)
        .flat_map(|seq| names(&rig.deliver_as(seq, |spec| spec.options.demand = amount(1_000, 1))))
        .collect();
    assert_eq!(order, ["small", "small", "big"]);
}

#[test]
fn resource_looks_at_what_a_task_mostly_needs() {
    let mut rig = rig(Allocation::Resource);
    for (name, cpu, memory) in [("cores", 8_000, 1_000), ("memory", 2_000, 4_000)] {
        rig.join_as(name, 8, |says| says.resources = amount(cpu, memory));
    }
    let actions = rig.deliver_as(1, |spec| spec.options.demand = amount(1_000, 10));
    assert_eq!(names(&actions), ["memory"], "it has fewer cores to spare");
    let actions = rig.deliver_as(2, |spec| spec.options.demand = amount(100, 800));
    assert_eq!(names(&actions), ["cores"], "it has less memory to spare");
}

#[test]
fn resource_takes_a_machine_under_pressure_last() {
    let mut rig = rig(Allocation::Resource);
    for (name, cpu, pressure) in [("big", 8_000, 599), ("small", 2_000, 600)] {
        rig.join_as(name, 2, |says| {
            says.resources = amount(cpu, 100);
            says.machine.pressure_cpu_permille = Some(pressure);
        });
    }
    let order: Vec<String> = (1..=3)
        .flat_map(|seq| names(&rig.deliver_as(seq, |spec| spec.options.demand = amount(1_000, 1))))
        .collect();
    assert_eq!(order, ["big", "big", "small"]);
}

#[test]
fn what_no_worker_can_take_waits_and_delays_nobody() {
    for (allocation, binding) in all() {
        let mut rig = rig_with(options(allocation, binding));
        rig.join_as("w1", 8, |says| says.resources = amount(1_000, 1_000));
        let actions = rig.deliver_as(1, |spec| spec.options.demand = amount(2_000, 1));
        assert_eq!(placed(&actions), []);
        let actions = rig.deliver_as(2, |spec| spec.options.requires = vec![label("gpu")]);
        assert_eq!(placed(&actions), []);
        let actions = rig.deliver(3);
        assert_eq!(placed(&actions), [("w1", 3)], "{allocation} {binding}");
        let actions = rig.deliver_as(4, |spec| spec.options.demand = amount(500, 500));
        assert_eq!(placed(&actions), [("w1", 4)], "{allocation} {binding}");
        let actions = rig.join_as("w2", 8, |says| {
            says.resources = amount(2_000, 1_000);
            says.labels = vec![label("gpu")];
        });
        let mut seqs: Vec<u64> = placed(&actions).into_iter().map(|(_, seq)| seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [1, 2], "{allocation} {binding}");
    }
}

/// Two workers with a slot each, and four tasks bound to them in turn.
fn bound() -> Rig {
    let mut rig = rig_with(options(Allocation::LeastLoaded, Binding::Early));
    rig.join("w1", 1);
    rig.join_steady("w2", 1);
    assert_eq!(given(&mut rig, 1..=4), ["w1", "w2"]);
    rig
}

#[test]
fn a_bound_task_waits_for_its_worker_while_another_is_idle() {
    let mut rig = bound();
    assert_eq!(placed(&rig.report("w2", 2, Ending::Stored)), [("w2", 4)]);
    assert_eq!(placed(&rig.report("w2", 4, Ending::Stored)), []);
    assert_eq!(placed(&rig.report("w1", 1, Ending::Stored)), [("w1", 3)]);
}

#[test]
fn a_bound_task_goes_elsewhere_when_its_worker_drains_or_is_lost() {
    for lost in [false, true] {
        let mut rig = bound();
        for seq in [2, 4] {
            rig.report("w2", seq, Ending::Stored);
        }
        let actions = if lost {
            rig.wait(Span::from_secs(3))
        } else {
            rig.says("w1").state = WorkerState::Draining;
            rig.beat("w1")
        };
        assert_eq!(placed(&actions), [("w2", 3)], "lost: {lost}");
    }
}

#[test]
fn a_bound_task_goes_elsewhere_when_its_worker_cannot_take_it_any_more() {
    let mut rig = bound();
    for seq in [2, 4] {
        rig.report("w2", seq, Ending::Stored);
    }
    rig.says("w1").kinds[0].kind = rota_wire::Kind::parse("other").expect("good");
    assert_eq!(placed(&rig.beat("w1")), [("w2", 3)]);
}

#[test]
fn bound_tasks_count_as_load() {
    let mut rig = rig_with(options(Allocation::LeastLoaded, Binding::Early));
    rig.join_steady("w1", 1);
    given(&mut rig, 1..=4);
    rig.join_steady("w2", 1);
    for seq in 5..=8 {
        rig.deliver(seq);
    }
    // Three and then four are bound to w1; w2 is given as many before it has its turn again.
    let mut order = Vec::new();
    for seq in [5, 6, 7] {
        order.extend(names(&rig.report("w2", seq, Ending::Stored)));
    }
    assert_eq!(order, ["w2", "w2", "w2"]);
}

#[test]
fn load_on_heartbeats_alone_herds() {
    let shares = [LoadView::Counted, LoadView::HeartbeatOnly].map(|load_view| {
        let mut rig = rig_with(Options {
            load_view,
            ..options(Allocation::LeastLoaded, Binding::Late)
        });
        fleet(&mut rig, 3, 20);
        rig.events((1..=2).map(|seq| delivered(seq, 1, task(&seq.to_string()))));
        for name in ["w0", "w1", "w2"] {
            rig.beat(name);
        }
        let order = given(&mut rig, 3..=12);
        order.iter().filter(|name| *name == "w2").count()
    });
    assert_eq!(shares, [4, 10]);
}
