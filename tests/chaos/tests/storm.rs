//! A short storm on one server and one on three: whatever fails, nothing is lost and nothing runs twice
//! without a reason. `just chaos` makes long ones.

use std::time::Duration;

use clap::ValueEnum;
use rota_chaos::fault::Family;
use rota_chaos::judge::{Rules, judge};
use rota_chaos::plan::Crew;
use rota_chaos::report::report;
use rota_chaos::storm::{Options, blow};
use tokio::sync::Mutex;

/// One at a time: on a small machine two storms are each other's fault.
static TURN: Mutex<()> = Mutex::const_new(());

async fn survives(seed: u64, servers: usize) {
    let _turn = TURN.lock().await;
    let options = Options {
        seed,
        faults: 60,
        rate: 3.0,
        load: 50.0,
        servers,
        crew: Crew::default(),
        families: Family::value_variants().to_vec(),
        binaries: None,
        old_binaries: None,
        calm_limit: Duration::from_secs(60),
        folder: None,
    };
    let storm = blow(&options).await.expect("the storm itself works");
    let verdict = judge(&storm.history, &Rules::default());
    let told = report(&options, &storm, &verdict);
    let faults = storm.history.faults.iter();
    let done = faults.filter(|fact| fact.skipped.is_none()).count();
    assert!(done >= 45, "{done} faults were done");
    assert!(
        storm.history.tasks.len() >= 500,
        "hardly anything was submitted"
    );
    assert!(verdict.violations.is_empty(), "{told}");
    println!("{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_on_one_server_survives_a_storm() {
    survives(11, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_on_three_servers_survives_a_storm() {
    survives(14, 3).await;
}
