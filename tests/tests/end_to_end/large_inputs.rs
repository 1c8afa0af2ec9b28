//! Inputs near the server's limit, of many kinds at once, and the memory that the scheduler takes for them.

use std::time::Duration;

use bytes::Bytes;
use rota_tests::{Handler, Installation, LIMIT, Service};

const KINDS: usize = 20;
const TASKS_OF_EACH: usize = 12;
const INPUT_BYTES: usize = 900_000;
const MEMORY_MIB_MAX: u64 = 150;
const LONG: Duration = Duration::from_secs(60);

const NAMES: [&str; KINDS] = [
    "k00", "k01", "k02", "k03", "k04", "k05", "k06", "k07", "k08", "k09", "k10", "k11", "k12",
    "k13", "k14", "k15", "k16", "k17", "k18", "k19",
];

#[tokio::test]
async fn large_inputs_of_many_kinds_flow_and_the_scheduler_stays_small() {
    let rota = Installation::start().await;
    let _submitter = rota.run(Service::Submitter, &[]);
    let scheduler = rota.run(Service::Scheduler, &[]);
    let input = Bytes::from(vec![b'x'; INPUT_BYTES]);
    let mut ids = Vec::new();
    for name in NAMES {
        for _ in 0..TASKS_OF_EACH {
            ids.push(rota.submit(name, &[], input.clone()).await);
        }
    }
    let count = NAMES.map(|name| Handler::sh(name, "wc -c"));
    let handlers = rota.handlers("w", &count);
    let _workers =
        ["a", "b"].map(|name| rota.worker(name, &["--slots", "4", "--handlers", &handlers]));
    rota.until_settled(ids.len() as u64, LONG).await;
    for id in &ids {
        let (_, output) = rota.result(id).await;
        let counted = String::from_utf8_lossy(&output).trim().parse();
        assert_eq!(counted, Ok(INPUT_BYTES), "the whole input has come");
    }
    assert_eq!(scheduler.said("leading no longer"), 0, "one term is enough");
    let peak = scheduler.peak_memory_mib();
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
}

/// A task that runs long is not delivered again and again with its input.
#[tokio::test]
async fn small_and_large_inputs_of_one_kind_take_turns() {
    let (rota, head) = Installation::start_with_head().await;
    let handlers = rota.handlers("w", &[Handler::sh("count", "wc -c")]);
    let _worker = rota.worker("w", &["--slots", "4", "--handlers", &handlers]);
    let mut expected = Vec::new();
    for round in 0..40_usize {
        let size = match round % 4 {
            0 => 700_000 + round,
            1 => 0,
            _ => 10 * round,
        };
        let id = rota.submit("count", &[], vec![b'x'; size]).await;
        expected.push((id, size));
    }
    for (id, size) in expected {
        let (_, output) = rota.result(&id).await;
        assert_eq!(String::from_utf8_lossy(&output).trim().parse(), Ok(size));
    }
    rota.until_settled(40, LIMIT).await;
    assert_eq!(head[1].said("leading no longer"), 0);
}
