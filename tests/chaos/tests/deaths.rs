//! A short measurement of deaths works, and every task that was running begins again. `just deaths` makes long ones,
//! and holds the times against what is promised.

use rota_chaos::deaths::{Options, measure};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_tasks_of_killed_workers_and_leaders_begin_again() {
    let options = Options {
        workers: 4,
        tasks: 2,
        rounds: 3,
        leader_rounds: 1,
        seed: 1,
        binaries: None,
        folder: None,
    };
    let measured = measure(&options).await.expect("the measurement works");
    println!("{measured}");
    assert!(measured.count() >= 4, "{measured}");
    assert_eq!(measured.missing(), 0, "{measured}");
}
