//! Explanations say what is the case.

use rota_wire::explain::Explanation;
use rota_wire::fleet::WorkerState;
use rota_wire::{Cpu, Kind, Memory, Resources, Span, TaskId, TaskSpec};

use crate::policy::{Order, Policy};
use crate::rig::{Rig, delivered, echo, task};
use crate::{Event, Options};

fn explain(rig: &Rig, id: &str) -> Explanation {
    let id = TaskId::parse(id).expect("a good id");
    rig.scheduler
        .explain(&id, rig.now)
        .expect("it is in memory")
}

fn deliver(rig: &mut Rig, seq: u64, id: &str, change: impl FnOnce(&mut TaskSpec)) {
    let mut spec = task(id);
    change(&mut spec);
    rig.event(delivered(seq, 1, spec));
}

#[test]
fn a_task_that_nobody_handles_is_told_to_wait_for_that() {
    let mut rig = Rig::new();
    rig.open(&echo());
    deliver(&mut rig, 1, "t1", |_| {});
    assert_eq!(explain(&rig, "t1").why, "there are no workers");
    rig.join_for("w1", 4, &["other"]);
    let told = explain(&rig, "t1");
    assert_eq!(told.state, "waiting");
    assert!(told.why.contains("does not handle echo"), "{}", told.why);
}

#[test]
fn each_worker_is_ruled_out_by_what_it_lacks() {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("full", 1);
    deliver(&mut rig, 1, "t1", |_| {});
    rig.join_for("other", 1, &["other"]);
    rig.join("small", 4);
    rig.join("plain", 4);
    rig.join("leaving", 4);
    rig.says("leaving").state = WorkerState::Draining;
    rig.beat("leaving");
    let much = Resources {
        cpu: Cpu(8_000),
        memory: Memory(1 << 30),
    };
    for (name, label, resources) in [
        ("full", Some("gpu"), much),
        (
            "small",
            Some("gpu"),
            Resources {
                cpu: Cpu(500),
                ..much
            },
        ),
        ("plain", None, much),
    ] {
        let says = rig.says(name);
        says.resources = resources;
        says.labels = label
            .iter()
            .map(|label| label.parse().expect("good"))
            .collect();
        rig.beat(name);
    }
    deliver(&mut rig, 2, "t2", |spec| {
        spec.options.demand = Resources {
            cpu: Cpu(1_000),
            memory: Memory(0),
        };
        spec.options.requires = vec!["gpu".parse().expect("good")];
    });
    let told = explain(&rig, "t2");
    let ruled_out = |name: &str| {
        let found = told.candidates.iter().find(|candidate| {
            candidate
                .worker
                .as_ref()
                .is_some_and(|worker| worker.as_str() == name)
        });
        found.expect(name).ruled_out.clone().unwrap_or_default()
    };
    assert_eq!(ruled_out("full"), "its 1 slots are taken");
    assert_eq!(ruled_out("other"), "it does not handle echo");
    assert_eq!(
        ruled_out("small"),
        "it has 0.5 of 0.5 cores free, 1 are needed"
    );
    assert_eq!(ruled_out("plain"), "it does not carry gpu");
    assert_eq!(ruled_out("leaving"), "it is stopping");
    let known = told.known.expect("it is in memory");
    assert_eq!((known.before, known.order.as_str()), (Some(0), "priority"));
}

#[test]
fn a_running_task_is_told_who_else_could_have_had_it() {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 2);
    rig.join("w2", 2);
    rig.join("w3", 1);
    for seq in 1..=4 {
        deliver(&mut rig, seq, &format!("t{seq}"), |_| {});
    }
    let told = explain(&rig, "t4");
    assert_eq!(told.state, "running");
    let decision = told.decision.expect("it was placed by this leader");
    assert_eq!((decision.workers, decision.full), (3, 1));
    assert_eq!(decision.by, "least-loaded");
    let chosen = &decision.considered[0];
    assert_eq!(chosen.worker.as_ref(), Some(&decision.worker));
    assert_eq!(chosen.load_permille, 500);
    assert!(told.why.contains("the least loaded of 3"), "{}", told.why);
}

#[test]
fn a_suspended_task_is_told_by_which_order_and_its_estimate_by_whom() {
    let policy = Policy {
        order: Order::Srtf,
        min_run: Span::default(),
        ..Policy::default()
    };
    let mut rig = Rig::with(Options {
        policy,
        ..Options::default()
    });
    rig.open(&echo());
    rig.join("w1", 1);
    for (seq, secs) in [(1, 60), (2, 1)] {
        deliver(&mut rig, seq, &format!("t{seq}"), |spec| {
            spec.options.duration = Some(Span::from_secs(secs));
        });
        rig.wait(Span::from_secs(1));
    }
    let told = explain(&rig, "t1");
    assert_eq!(told.state, "suspended");
    assert!(told.why.contains("by srtf"), "{}", told.why);
    let known = told.known.expect("it is in memory");
    let estimate = known.estimate.expect("its submitter said so");
    assert_eq!(
        (estimate.span, estimate.source.as_str()),
        (Span::from_secs(60), "submitter")
    );
    assert_eq!(known.ran, Span::from_secs(1));
    let told = explain(&rig, "t2");
    assert!(told.why.starts_with("it took a slot of w1"), "{}", told.why);
    assert_eq!(
        told.decision.expect("it was placed by this leader").by,
        "srtf"
    );
}

#[test]
fn a_new_leader_says_that_it_listens_and_an_unknown_task_has_no_explanation() {
    let mut rig = Rig::recovering(Options::default(), &[]);
    rig.open_with(&echo(), 1, 1);
    deliver(&mut rig, 1, "t1", |_| {});
    rig.found(1, crate::Looked::Nothing);
    let told = explain(&rig, "t1");
    assert!(told.why.contains("began to lead"), "{}", told.why);
    rig.event(Event::LanesListed {
        lanes: vec![echo()],
    });
    let stranger = TaskId::parse("stranger").expect("good");
    assert_eq!(rig.scheduler.explain(&stranger, rig.now), None);
    assert_eq!(
        told.known.expect("known").kind,
        Kind::parse("echo").expect("good")
    );
}
