//! What a worker says fits into a message, and says as much as fits; and to whom it says it.

use super::*;

/// With ids and kinds as long as they may be.
fn full_bench(kinds: usize, payload_max: usize) -> Bench {
    let kinds = (0..kinds).map(|number| KindCapacity {
        kind: long_kind(number),
        concurrency: Some(u32::MAX),
    });
    let profile = Profile {
        worker: WorkerId::parse(&"w".repeat(64)).expect("good"),
        started: Micros(u64::MAX),
        interval: Span::from_ms(500),
        slots: 64,
        kinds: kinds.collect(),
        resources: Resources::NONE,
        labels: vec![label(&"l".repeat(60)); 64],
    };
    let mut bench = Bench::new(1);
    bench.agent = Agent::new(profile, STOP_WAIT, payload_max);
    bench.tell(Event::LeaderRead(Some(leader(Term(1)))));
    bench
}

fn long_kind(number: usize) -> Kind {
    Kind::parse(&format!("{number:k>64}")).expect("good")
}

fn long_assignment(seq: u64) -> Assignment {
    let mut holding = holding(u64::MAX - 1, u64::MAX - seq);
    holding.delivery.count = u32::MAX;
    Assignment {
        id: TaskId::parse(&format!("{seq:i>64}")).expect("good"),
        kind: long_kind(0),
        attempt: u32::MAX,
        ..assignment("a", holding)
    }
}

fn last_beat(said: &[Action]) -> &Heartbeat {
    beats(said).last().expect("a heartbeat")
}

#[test]
fn a_heartbeat_names_all_that_is_held_and_is_never_larger_than_a_message() {
    for (kinds, payload_max) in [(1, 64 * 1024), (500, 64 * 1024), (1_024, 1024 * 1024)] {
        let mut bench = full_bench(kinds, payload_max);
        let held_max = bench.agent.held_max() as u64;
        let tasks = (1..=held_max + 10).map(long_assignment).collect();
        bench.frame(u64::MAX - 1, &[], &[], tasks);
        for number in 1..kinds {
            let (now, kind) = (bench.now, long_kind(number));
            bench.agent.offer.withdraw(now, &kind, &"r".repeat(1_000));
        }
        bench.said();
        bench.roll_call(u64::MAX - 1);
        let said = bench.said();
        let beat = last_beat(&said);
        assert_eq!(beat.held.len() as u64, held_max);
        assert_eq!(beat.withdrawn.len(), kinds - 1);
        for dialect in [Dialect::V1, Dialect::V2] {
            let bytes = beat.encode_in(dialect).len();
            assert!(
                bytes <= payload_max,
                "{bytes} of {payload_max}, {dialect:?}"
            );
        }
        let bytes = beat.encode_in(Dialect::V2).len();
        assert!(bytes > payload_max / 2, "{bytes} of {payload_max}");
    }
}

#[test]
fn what_runs_is_named_before_what_has_ended() {
    let mut bench = full_bench(1, 16 * 1024);
    let held_max = bench.agent.held_max() as u64;
    let tasks = (1..=held_max).map(long_assignment).collect();
    bench.frame(u64::MAX - 1, &[], &[], tasks);
    let listed = bench.agent.list_held(bench.now);
    let (running, ended): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|held| held.stage == Stage::Running);
    assert!(ended.is_empty());
    let named = running.iter().filter(|held| held.task.is_some()).count();
    assert_eq!(named, 0, "no room at all is left when so many are held");

    let mut bench = full_bench(1, 16 * 1024);
    let tasks = (1..=held_max / 2).map(long_assignment).collect();
    bench.frame(u64::MAX - 1, &[], &[], tasks);
    for attempt in 1..=32 {
        bench.complete(attempt);
    }
    let listed = bench.agent.list_held(bench.now);
    let unnamed = |held: &&Held| held.task.is_none();
    let stages: Vec<_> = listed
        .iter()
        .filter(unnamed)
        .map(|held| held.stage)
        .collect();
    assert!(
        !stages.is_empty() && stages.len() < listed.len(),
        "{stages:?}"
    );
    let ended = listed.iter().filter(|held| held.stage == Stage::Ended);
    let ended_named = ended.filter(|held| held.task.is_some()).count();
    let running_unnamed = stages.contains(&Stage::Running);
    assert!(ended_named == 0 || !running_unnamed);
}

#[test]
fn a_worker_speaks_as_its_leader_reads_and_as_all_read_until_it_knows() {
    let mut bench = Bench::new(1);
    bench.roll_call(1);
    let said = bench.said();
    assert_eq!(last_beat(&said).dialect, Dialect::V2);
    let old = Leader {
        term: Term(2),
        dialect: Dialect::V1,
    };
    bench.tell(Event::LeaderRead(Some(old)));
    bench.end_turn();
    let said = bench.said();
    assert_eq!(last_beat(&said).dialect, Dialect::V1, "and at once");

    let mut fresh = full_bench(1, PAYLOAD_MAX);
    fresh.agent.gate = Gate::default();
    fresh.end_turn();
    assert_eq!(last_beat(&fresh.said()).dialect, Dialect::V1);
}

#[test]
fn what_is_held_is_told_with_its_task_lane_and_attempt() {
    let mut bench = Bench::new(1);
    let mut named = assignment("a", holding(1, 1));
    named.attempt = 3;
    named.priority = Priority::new(7);
    let mut unnamed = assignment("a", holding(1, 2));
    unnamed.priority = None;
    bench.frame(1, &[], &[], vec![named, unnamed.clone()]);
    let told = |bench: &Bench| -> Vec<_> {
        let held = bench.agent.list_held(bench.now).into_iter();
        held.map(|held| held.task).collect()
    };
    let first = Some(name(1, Priority::new(7).expect("good"), 3));
    assert_eq!(told(&bench), [first.clone(), None]);

    unnamed.holding = holding(2, 2);
    unnamed.priority = Some(Priority::default());
    bench.frame(2, &[], &[], vec![unnamed]);
    let second = Some(name(2, Priority::default(), 1));
    assert_eq!(told(&bench), [first, second], "a later leader tells more");
}
