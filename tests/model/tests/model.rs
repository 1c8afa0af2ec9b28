//! Some hundred seeds at each run of the tests; `just model` plays thousands.

use std::thread;

/// Seeds in one run of the tests, shared by as many threads as there are.
const SEEDS: u64 = 200;

#[test]
fn whatever_goes_wrong_each_confirmed_task_has_its_one_result() {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for seed in (1..=SEEDS).filter(|seed| seed % threads == thread) {
                    if let Err(violation) = rota_model::run(seed, None) {
                        panic!("{violation}");
                    }
                }
            });
        }
    });
}

#[test]
fn the_same_seed_plays_the_same_way() {
    for seed in [3, 12] {
        let play = || rota_model::run(seed, None).map(|summary| format!("{summary:?}"));
        assert_eq!(play().ok(), play().ok(), "seed {seed}");
    }
}
