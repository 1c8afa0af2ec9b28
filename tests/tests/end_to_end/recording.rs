//! `rota-scheduler --record`: what really arrived, as a trace that the simulator reads.

use rota_scheduler_sim::{Setup, Share, Workload};
use rota_tests::{Handler, Installation, LIMIT, Process, Service};
use rota_wire::headers::{ATTEMPTS, BACKOFF, MEMORY, PRIORITY};
use rota_wire::{Memory, Resources};

use crate::workers::joined;

const TRACE: &str = "trace.csv";
const HEADER: &str = "arrival_s,duration_s,kind,priority,cpu,memory";

async fn start_recording() -> (Installation, Process, Process) {
    let rota = Installation::start().await;
    let submitter = rota.run(Service::Submitter, &[]);
    let path = rota.path(TRACE).display().to_string();
    let scheduler = rota.run(Service::Scheduler, &["--record", &path]);
    (rota, submitter, scheduler)
}

/// The cells of each task that was recorded, once there are so many.
async fn recorded(rota: &Installation, tasks: usize) -> Vec<Vec<String>> {
    let lines = rota.until_lines(TRACE, tasks + 1, LIMIT).await;
    assert_eq!(lines[0], HEADER);
    let cells = |line: &String| line.split(',').map(str::to_owned).collect();
    lines[1..].iter().map(cells).collect()
}

#[tokio::test]
async fn each_completed_task_is_recorded_once_and_the_simulator_runs_the_record() {
    let (rota, _submitter, scheduler) = start_recording().await;
    let once = r#"[ "$ROTA_ATTEMPT" = 2 ]"#;
    let handlers = rota.handlers("w", &[Handler::sh("flaky", once)]);
    let flags = ["--slots", "4", "--memory", "1GiB", "--builtin"];
    let flags = [&flags[..], &["--handlers", &handlers]].concat();
    let _worker = joined(&rota, &scheduler, "w", &flags).await;
    let options = [(PRIORITY, "7"), (MEMORY, "256MiB")];
    let mut ids = rota.submit_many("sleep", &options, "50ms", 20).await;
    ids.push(rota.submit("flaky", &[(BACKOFF, "1ms..1ms")], "").await);
    rota.completed(&ids).await;
    let failed = rota.submit("fail", &[(ATTEMPTS, "1")], "no").await;
    rota.result(&failed).await;
    rota.until_settled(22, LIMIT).await;

    let tasks = recorded(&rota, 21).await;
    assert_eq!(tasks.len(), 21, "failed tasks are no part of it: {tasks:?}");
    let mut sleeps = 0;
    for task in &tasks {
        let [arrival, duration, kind, priority, cpu, memory] = task.as_slice() else {
            panic!("six cells: {task:?}");
        };
        let (arrival, duration): (f64, f64) = (arrival.parse().unwrap(), duration.parse().unwrap());
        assert!(arrival > 1.7e9, "seconds since 1970: {task:?}");
        if kind == "sleep" {
            sleeps += 1;
            assert!((0.049..5.0).contains(&duration), "{task:?}");
            assert_eq!([priority, cpu, memory], ["7", "0", "256MiB"], "{task:?}");
        } else {
            assert_eq!([kind, priority], ["flaky", "5"], "{task:?}");
        }
    }
    assert_eq!(sleeps, 20);

    let trace = format!("trace:{}", rota.path(TRACE).display());
    let figures = rota_scheduler_sim::run(&Setup {
        workload: Workload::parse(&trace).expect("the simulator reads what was recorded"),
        workers: 2,
        slots: 2,
        resources: Resources {
            memory: Memory(1 << 30),
            ..Resources::NONE
        },
        warmup: Share::new(0.0).expect("none is a share"),
        ..Setup::default()
    });
    assert_eq!((figures.tasks, figures.lost), (21, 0), "{figures:?}");
    assert!(figures.mean_response >= 0.045, "{figures:?}");
}

#[tokio::test]
async fn a_task_whose_first_worker_was_killed_is_recorded_once() {
    let (rota, _submitter, scheduler) = start_recording().await;
    let script = r#"echo begun >> "$DIR/starts"; [ -e "$DIR/second" ] || exec sleep 60"#;
    let handlers = rota.handlers("w", &[Handler::sh("work", script)]);
    let flags = ["--slots", "1", "--handlers", &handlers];
    let mut killed = joined(&rota, &scheduler, "killed", &flags).await;
    let id = rota.submit("work", &[], "").await;
    rota.until_lines("starts", 1, LIMIT).await;
    rota.touch("second");
    killed.kill();
    let _other = joined(&rota, &scheduler, "other", &flags).await;
    rota.completed(&[id]).await;
    rota.until_settled(1, LIMIT).await;
    let tasks = recorded(&rota, 1).await;
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let duration: f64 = tasks[0][1].parse().unwrap();
    assert!(duration < 30.0, "only the run that completed it: {tasks:?}");
}

#[tokio::test]
async fn a_record_that_cannot_be_written_ends_the_start() {
    let rota = Installation::start().await;
    let path = rota.path("no/such/folder.csv").display().to_string();
    let mut scheduler = rota.run(Service::Scheduler, &["--record", &path]);
    let status = scheduler.exited(LIMIT).await;
    assert_eq!(status.code(), Some(64));
    scheduler.until_said("no/such/folder.csv", LIMIT).await;
}
