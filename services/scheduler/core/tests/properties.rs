//! Properties of the core, over sequences of steps in a small model of the world.
//!
//! Safety is judged after every turn (`model::judge`), liveness after the world has calmed down
//! (`model::calm`). A failing sequence is shrunk, told turn by turn, and kept in
//! `properties.regressions`, from where it is replayed first. `PROPTEST_CASES` sets how many are tried.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rota_scheduler_core::{Allocation, Binding, LoadView, Options, Order, Policy};
use rota_wire::{Kind, Span};

use model::judge::Verdict;
use model::seen::Seen;
use model::step::{Step, Steps, any_steps, peaceful_steps, retry_steps};
use model::world::{Narrates, World};

mod model {
    //! A small model of everything around the core.

    pub(crate) mod blame;
    pub(crate) mod calm;
    pub(crate) mod happen;
    pub(crate) mod judge;
    pub(crate) mod lane;
    pub(crate) mod narrate;
    pub(crate) mod seen;
    pub(crate) mod serve;
    pub(crate) mod step;
    pub(crate) mod worker;
    pub(crate) mod world;
}

const STEPS_MAX: usize = 200;

fn config(cases: u32) -> ProptestConfig {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/properties.regressions");
    let mut config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

/// A short roll call, so that most of a sequence comes after it.
fn plain() -> Options {
    Options {
        roll_call: Span::from_ms(300),
        lane_idle: Span::from_secs(4),
        lane_unserved: Span::from_secs(2),
        reserve_after: Span::from_ms(400),
        ..Options::default()
    }
}

/// Any order, allocation and binding, with spans that pass in a sequence.
fn policy() -> impl Strategy<Value = Policy> {
    let allocation = prop::sample::select(Allocation::ALL);
    let binding = prop::sample::select(Binding::ALL);
    let order = prop::sample::select(Order::ALL);
    let ageing = prop::option::of(1..2_000_u64);
    let parts = (allocation, binding, order, ageing, 1..500_u64, 0..200_u64);
    parts.prop_map(
        |(allocation, binding, order, ageing, quantum, min_run)| Policy {
            allocation,
            binding,
            order,
            ageing: ageing.map(Span::from_ms),
            quantum: Span::from_ms(quantum),
            min_run: Span::from_ms(min_run),
        },
    )
}

/// Any policy, with one of its own for a kind now and then.
fn policies() -> impl Strategy<Value = Options> {
    let kind = prop::sample::select(&["a", "b", "c"][..]);
    let own = prop::option::of((kind, policy()));
    let view = prop_oneof![4 => Just(LoadView::Counted), 1 => Just(LoadView::HeartbeatOnly)];
    (policy(), own, 1..5_u32, view).prop_map(|(policy, own, suspended_max, load_view)| Options {
        policy,
        kinds: own
            .map(|(kind, policy)| (Kind::parse(kind).expect("a good kind"), policy))
            .into_iter()
            .collect(),
        suspended_max,
        load_view,
        ..plain()
    })
}

/// The same with small limits, so that they are met.
fn options() -> impl Strategy<Value = Options> {
    let tasks_max = prop_oneof![3 => Just(1_000_usize), 1 => 1..8_usize];
    let workers_max = prop_oneof![3 => Just(100_usize), 1 => 2..4_usize];
    let look_ahead = 1..6_u32;
    (policies(), tasks_max, workers_max, look_ahead, 1..4_u32).prop_map(
        |(policies, tasks_max, workers_max, look_ahead, losses_max)| Options {
            tasks_max,
            workers_max,
            look_ahead,
            losses_max,
            frame_tasks_max: 2,
            frame_bytes_max: 50,
            ..policies
        },
    )
}

/// Runs a sequence and then lets the world calm down.
fn run(options: Options, steps: &[Step], narrates: Narrates) -> (Verdict, World) {
    let mut world = World::new(options, narrates).expect("nothing has happened yet");
    let verdict = steps
        .iter()
        .try_for_each(|step| world.step(*step).map(drop));
    let verdict = verdict.and_then(|()| world.calm_down());
    (verdict, world)
}

/// Tells how it came to a broken rule.
fn failure(options: Options, steps: &[Step], broken: &str) -> TestCaseError {
    let (_, world) = run(options, steps, Narrates::All);
    TestCaseError::fail(format!("{broken}\n{}\n=> {broken}", world.log.join("\n")))
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn every_task_comes_to_one_end_whatever_happens(
        options in options(),
        Steps(steps) in any_steps(STEPS_MAX),
    ) {
        if let (Err(broken), _) = run(options.clone(), &steps, Narrates::Nothing) {
            return Err(failure(options, &steps, &broken));
        }
    }

    #[test]
    fn no_retry_is_lost_however_late_its_store_and_its_copies_come(
        Steps(steps) in retry_steps(STEPS_MAX),
    ) {
        if let (Err(broken), _) = run(plain(), &steps, Narrates::Nothing) {
            return Err(failure(plain(), &steps, &broken));
        }
    }

    #[test]
    fn nothing_runs_twice_because_the_scheduler_is_replaced(
        options in policies(),
        Steps(steps) in peaceful_steps(STEPS_MAX),
    ) {
        let mut world = World::new(options.clone(), Narrates::Nothing)
            .expect("nothing has happened yet");
        let mut all = Vec::new();
        for step in &steps {
            all.push(*step);
            if let Step::Pass { .. } = step {
                all.push(Step::BeatAll);
            }
        }
        let verdict = all.iter().try_for_each(|step| {
            world.step(*step)?;
            match world.begun.iter().find(|(_, times)| **times > 1) {
                None => Ok(()),
                Some(((task, attempt), _)) => Err(format!("{task} attempt {attempt} runs twice")),
            }
        });
        if let Err(broken) = verdict.and_then(|()| world.calm_down()) {
            return Err(failure(options, &all, &broken));
        }
    }
}

#[test]
fn random_steps_reach_every_corner_of_the_model() {
    // A generator that no longer produces some step, or only skipped ones, would prove nothing.
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use std::collections::BTreeMap;

    let mut runner = TestRunner::deterministic();
    let mut happened: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    let mut seen = Seen::default();
    let mut bound_early = 0;
    for number in 0..1_000 {
        let mut draw = (policies(), any_steps(STEPS_MAX))
            .new_tree(&mut runner)
            .expect("no filters")
            .current();
        draw.0.losses_max = 1 + number % 3;
        let early = draw.0.policy.binding == Binding::Early;
        let options = draw.0.clone();
        if let (Err(broken), _) = run(options.clone(), &draw.1.0, Narrates::Nothing) {
            panic!("{}", failure(options, &draw.1.0, &broken));
        }
        let mut world = World::new(draw.0, Narrates::Nothing).expect("nothing has happened yet");
        for step in draw.1.0.drain(..) {
            let done = world.step(step).expect("no rule is broken");
            let name = format!("{step:?}");
            let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
            let skipped = done == model::happen::Done::Skipped;
            happened.entry(name).or_default()[usize::from(skipped)] += 1;
        }
        world.calm_down().expect("all comes to its end");
        seen.add(&world.seen);
        bound_early += u32::from(early) * world.seen.placed;
    }
    println!("happened and skipped: {happened:?}");
    println!("seen: {seen:?}, bound early {bound_early}");
    assert_eq!(happened.len(), 36, "{happened:?}");
    // Who is to be looked for is seldom known before the world calms down.
    happened.remove("Probe");
    assert!(
        happened.values().all(|[happened, _]| *happened >= 10),
        "{happened:?}"
    );
    let Seen {
        placed: _,
        suspended,
        resumed,
        rotated,
        adopted,
        repeated,
        reserved,
        probed,
        particular,
    } = seen;
    for (count, least) in [
        (suspended, 100),
        (resumed, 100),
        (rotated, 20),
        (adopted, 10),
        (repeated, 1),
        (reserved, 20),
        (probed, 10),
        (particular, 100),
        (bound_early, 100),
    ] {
        assert!(count >= least, "{seen:?}, bound early {bound_early}");
    }
}
