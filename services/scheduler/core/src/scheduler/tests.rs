//! The machine as a whole.

use rota_wire::dispatch::{Ending, Outcome, Retry};
use rota_wire::event::Event as Told;
use rota_wire::fleet::{FrameMark, Held, Stage};
use rota_wire::{Micros, Span, Term};

use crate::rig::{
    Rig, acked, buried, delivered, echo, failed, frames, handed_back, heartbeat, holding, lane,
    looked_up, nakked, placed, reported, stored_retries, task, task_in,
};
use crate::{Action, Event, Looked, Options, PullEnd};

fn outcome(number: u64, seq: u64, ending: Ending) -> Outcome {
    Outcome {
        number,
        holding: holding(u64::MAX, seq, u32::MAX),
        ran: Span::default(),
        ending,
    }
}

#[test]
fn events_about_what_nobody_knows_change_nothing() {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 1);
    rig.deliver(1);
    let ghost = lane("ghost", 0);
    let strange = [
        Event::PullEnded {
            lane: ghost.clone(),
            unused: u32::MAX,
            end: PullEnd::Nothing,
        },
        delivered(9, 1, task_in("9", &ghost)),
        Event::Looked {
            seq: 9,
            found: Looked::Result,
        },
        Event::Looked {
            seq: 9,
            found: Looked::Nothing,
        },
        Event::Looked {
            seq: 1,
            found: Looked::Result,
        },
        Event::Stored { seq: 9 },
        Event::Stored { seq: 1 },
        Event::StoreFailed { seq: 9 },
        Event::StoreFailed { seq: 1 },
        reported("nobody", outcome(1, 1, Ending::Stored)),
        reported("w1", outcome(1, 1, failed(Retry::Never))),
        reported("w1", outcome(2, 1, handed_back())),
        reported("w1", outcome(3, 9, failed(Retry::Later))),
    ];
    for event in strange {
        let actions = rig.event(event.clone());
        let done = (
            acked(&actions),
            nakked(&actions),
            placed(&actions),
            looked_up(&actions),
            stored_retries(&actions),
            buried(&actions),
        );
        assert_eq!(done, Default::default(), "{event:?}");
    }
    assert_eq!(rig.scheduler.tasks_in_memory(), 1);
    assert_eq!(acked(&rig.report("w1", 1, Ending::Stored)), [1]);
}

#[test]
fn absurd_numbers_do_no_harm() {
    let mut rig = Rig::with(Options {
        missed_heartbeats_max: 1_000,
        ..Options::default()
    });
    rig.open_with(&echo(), u32::MAX, u64::MAX);
    rig.open_with(&echo(), 0, 0);
    let mut absurd = heartbeat("w1", 65_536, &["echo", "echo", "echo"]);
    absurd.interval = Span::from_ms(u64::MAX);
    absurd.seen = Some(FrameMark {
        term: Term(u64::MAX),
        number: u64::MAX,
    });
    absurd.kinds[0].concurrency = Some(0);
    absurd.held = (0..3)
        .map(|_| Held {
            holding: holding(u64::MAX, u64::MAX, u32::MAX),
            stage: Stage::Running,
            ran: Span::default(),
            task: None,
        })
        .collect();
    rig.workers.insert("w1".to_owned(), absurd);
    rig.beat("w1");
    rig.join("w2", u32::MAX);
    rig.join("w3", 0);
    rig.join("w4", 3);
    for seq in [0, u64::MAX - 1, u64::MAX] {
        let mut event = delivered(seq, u32::MAX, task(&seq.to_string()));
        if let Event::Delivered {
            task,
            input_bytes,
            pending,
            ..
        } = &mut event
        {
            (*input_bytes, *pending) = (u64::MAX, u64::MAX);
            task.attempt = u32::MAX;
            task.options.attempts = u32::MAX;
        }
        rig.event(event);
        rig.found(seq, Looked::Nothing);
    }
    assert!(
        rig.scheduler
            .workers()
            .all(|worker| worker.as_str() != "w2")
    );
    rig.now = Micros(u64::MAX - 1);
    rig.scheduler.handle_timeout(rig.now, &mut Vec::new());
    rig.scheduler.check().expect("the books agree");
}

#[test]
fn a_silent_worker_with_an_absurd_interval_is_lost_in_the_end() {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 1);
    rig.says("w1").interval = Span::from_ms(u64::MAX);
    rig.beat("w1");
    rig.deliver(1);
    assert_eq!(nakked(&rig.wait(Span::from_secs(180))), [1]);
}

#[test]
fn large_inputs_that_are_placed_together_do_no_harm() {
    let mut rig = Rig::new();
    rig.open(&echo());
    for seq in [1, 2] {
        let mut event = delivered(seq, 1, task(&seq.to_string()));
        if let Event::Delivered { input_bytes, .. } = &mut event {
            *input_bytes = u64::MAX;
        }
        rig.event(event);
    }
    assert_eq!(frames(&rig.join("w1", 4)).len(), 2);
}

#[test]
fn a_leader_tells_its_totals_each_second() {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig.join("w1", 2);
    rig.deliver(1);
    rig.deliver(2);
    rig.report("w1", 1, Ending::Stored);
    let actions = rig.wait(Span::from_secs(2));
    let counts: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Tell(Told::Counted(counts)) => Some(*counts),
            _ => None,
        })
        .collect();
    assert_eq!(counts.len(), 2);
    assert_eq!(
        (counts[1].assigned, counts[1].completed, counts[1].in_memory),
        (2, 1, 1)
    );
}
