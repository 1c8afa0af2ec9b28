//! Who gets what.

use rota_wire::fleet::WorkerState;
use rota_wire::{Kind, Span};

use crate::rig::{
    Rig, delivered, echo, frames, handed_back, lane, nakked, placed, pulled, running, task, task_in,
};
use crate::{Event, Looked, Options, PullEnd};

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.open(&echo());
    rig
}

fn who(actions: &[crate::Action]) -> Vec<&str> {
    placed(actions)
        .into_iter()
        .map(|(worker, _)| worker)
        .collect()
}

#[test]
fn the_least_loaded_of_two_workers_of_unlike_size_gets_the_task() {
    let mut rig = rig();
    rig.join("big", 8);
    rig.join("small", 2);
    let order: Vec<String> = (1..=10)
        .map(|seq| who(&rig.deliver(seq))[0].to_owned())
        .collect();
    assert_eq!(order.iter().filter(|name| *name == "small").count(), 2);
    assert_eq!(
        order[..2],
        ["big", "small"],
        "equal loads: whoever has waited longest"
    );
    assert_eq!(
        order[2..6],
        ["big", "big", "big", "small"],
        "both are half full after five"
    );
}

#[test]
fn equal_loads_take_turns() {
    let mut rig = rig();
    for name in ["w1", "w2", "w3"] {
        rig.join(name, 4);
    }
    let mut order = Vec::new();
    for seq in 1..=6 {
        order.push(who(&rig.deliver(seq))[0].to_owned());
        let name = order.last().expect("just pushed").clone();
        rig.report(&name, seq, rota_wire::dispatch::Ending::Stored);
    }
    assert_eq!(order, ["w1", "w2", "w3", "w1", "w2", "w3"]);
}

#[test]
fn what_was_assigned_counts_although_no_heartbeat_says_so_yet() {
    let mut rig = rig();
    rig.join("w1", 2);
    rig.join("w2", 2);
    rig.lose_frames = true;
    let events: Vec<Event> = (1..=6)
        .map(|seq| delivered(seq, 1, task_in(&seq.to_string(), &echo())))
        .collect();
    let actions = rig.events(events);
    let mut order = who(&actions);
    order.sort_unstable();
    assert_eq!(order, ["w1", "w1", "w2", "w2"]);
}

#[test]
fn one_of_priority_9_goes_before_a_thousand_of_priority_1() {
    let mut rig = Rig::new();
    let (low, high) = (lane("echo", 1), lane("echo", 9));
    rig.open(&low);
    rig.open(&high);
    for seq in 1..=1_000 {
        rig.event(delivered(seq, 1, task_in(&seq.to_string(), &low)));
    }
    rig.event(delivered(1_001, 1, task_in("urgent", &high)));
    assert_eq!(placed(&rig.join("w1", 2)), [("w1", 1_001), ("w1", 1)]);
}

#[test]
fn a_kind_without_workers_delays_no_other_and_its_lane_is_not_pulled() {
    let mut rig = rig();
    let orphan = lane("orphan", 9);
    rig.open(&orphan);
    let actions = rig.join("w1", 2);
    assert_eq!(pulled(&actions), [("echo.5".to_owned(), 66)]);
    rig.event(delivered(1, 1, task_in("1", &orphan)));
    assert_eq!(placed(&rig.deliver(2)), [("w1", 2)]);
    rig.says("w1").state = WorkerState::Draining;
    rig.beat("w1");
    rig.event(Event::PullEnded {
        lane: echo(),
        unused: 65,
        end: PullEnd::Cut,
    });
    let actions = rig.wait(Span::from_secs(1));
    assert_eq!(pulled(&actions), [], "nobody takes anything any more");
}

#[test]
fn slots_are_never_overdrawn() {
    let mut rig = rig();
    rig.join("w1", 2);
    let given: usize = (1..=5).map(|seq| placed(&rig.deliver(seq)).len()).sum();
    assert_eq!(given, 2);
    let actions = rig.report("w1", 1, rota_wire::dispatch::Ending::Stored);
    assert_eq!(placed(&actions), [("w1", 3)]);
    rig.says("w1").slots = 1;
    rig.beat("w1");
    let actions = rig.report("w1", 2, rota_wire::dispatch::Ending::Stored);
    assert_eq!(placed(&actions), [], "it has one slot now, and it is taken");
}

#[test]
fn the_concurrency_of_a_kind_is_never_overdrawn() {
    let mut rig = rig();
    let other = lane("other", 1);
    rig.open(&other);
    rig.join_for("w1", 3, &["echo", "other"]);
    rig.says("w1").kinds[0].concurrency = Some(1);
    rig.beat("w1");
    let given: usize = (1..=3).map(|seq| placed(&rig.deliver(seq)).len()).sum();
    assert_eq!(given, 1);
    for seq in 4..=6 {
        rig.event(delivered(seq, 1, task_in(&seq.to_string(), &other)));
    }
    assert_eq!(rig.holds("w1"), [1, 4, 5], "the other kind has the rest");
    let actions = rig.report("w1", 4, rota_wire::dispatch::Ending::Stored);
    assert_eq!(placed(&actions), [("w1", 6)]);
    let actions = rig.report("w1", 1, rota_wire::dispatch::Ending::Stored);
    assert_eq!(placed(&actions), [("w1", 2)]);
}

#[test]
fn a_worker_is_given_only_kinds_that_it_handles() {
    let mut rig = rig();
    rig.join_for("w1", 4, &["other"]);
    assert_eq!(placed(&rig.deliver(1)), []);
    let echo = Kind::parse("echo").expect("good");
    rig.says("w1").kinds[0].kind = echo;
    assert_eq!(placed(&rig.beat("w1")), [("w1", 1)]);
}

#[test]
fn a_draining_worker_gets_nothing_and_keeps_what_it_has() {
    let mut rig = rig();
    rig.join("w1", 4);
    rig.deliver(1);
    rig.says("w1").state = WorkerState::Draining;
    assert_eq!(nakked(&rig.beat("w1")), []);
    assert_eq!(placed(&rig.deliver(2)), []);
    let actions = rig.report("w1", 1, handed_back());
    assert_eq!(nakked(&actions), [1]);
    assert_eq!(placed(&rig.join("w2", 1)), [("w2", 2)]);
}

#[test]
fn frames_are_split_at_their_most_tasks_and_numbered_in_order() {
    let mut rig = Rig::with(Options {
        frame_tasks_max: 2,
        ..Options::default()
    });
    rig.open(&echo());
    for seq in 1..=5 {
        rig.deliver(seq);
    }
    let actions = rig.join("w1", 8);
    let sent: Vec<(u64, usize)> = frames(&actions)
        .iter()
        .map(|frame| (frame.number, frame.tasks.len()))
        .collect();
    assert_eq!(sent, [(1, 2), (2, 2), (3, 1)]);
}

#[test]
fn frames_are_split_at_their_most_bytes_but_one_task_always_fits() {
    let mut rig = Rig::with(Options {
        frame_bytes_max: 25,
        ..Options::default()
    });
    rig.open(&echo());
    for (seq, bytes) in [(1, 10), (2, 10), (3, 10), (4, 1_000), (5, 10)] {
        let mut event = delivered(seq, 1, task_in(&seq.to_string(), &echo()));
        if let Event::Delivered { input_bytes, .. } = &mut event {
            *input_bytes = bytes;
        }
        rig.event(event);
    }
    let actions = rig.join("w1", 8);
    let sent: Vec<usize> = frames(&actions)
        .iter()
        .map(|frame| frame.tasks.len())
        .collect();
    assert_eq!(sent, [2, 1, 1, 1]);
}

/// Two tasks that have been on two lost workers, given back and ready again.
fn two_suspects(rig: &mut Rig) {
    for count in 1..=2 {
        let name = format!("victim{count}");
        rig.join(&name, 2);
        for seq in [1, 2] {
            rig.deliver_again(seq, count);
            rig.found(seq, Looked::Nothing);
        }
        assert_eq!(rig.holds(&name), [1, 2]);
        assert_eq!(nakked(&rig.wait(Span::from_secs(3))), [1, 2]);
    }
    for seq in [1, 2] {
        rig.deliver_again(seq, 3);
        rig.found(seq, Looked::Nothing);
    }
}

#[test]
fn suspects_run_one_at_a_time_on_a_worker() {
    let mut rig = rig();
    two_suspects(&mut rig);
    assert_eq!(placed(&rig.join("w1", 4)), [("w1", 1)]);
    assert_eq!(placed(&rig.deliver(3)), [("w1", 3)], "others run beside it");
    assert_eq!(placed(&rig.join("w2", 4)), [("w2", 2)]);
}

#[test]
fn a_suspect_that_was_adopted_keeps_others_away_too() {
    let mut rig = rig();
    two_suspects(&mut rig);
    rig.join("w1", 0);
    let mut held = running(1, 1);
    held.holding.term = crate::rig::TERM;
    rig.says("w1").held.push(held);
    rig.says("w1").slots = 4;
    assert_eq!(placed(&rig.beat("w1")), [], "it has one suspect already");
}

#[test]
fn nothing_more_is_pulled_when_memory_is_full() {
    let mut rig = Rig::with(Options {
        tasks_max: 3,
        ..Options::default()
    });
    rig.open(&echo());
    assert_eq!(pulled(&rig.join("w1", 1)), [("echo.5".to_owned(), 3)]);
    for seq in 1..=3 {
        assert_eq!(pulled(&rig.deliver(seq)), []);
    }
    let actions = rig.report("w1", 1, rota_wire::dispatch::Ending::Stored);
    assert_eq!(pulled(&actions), [("echo.5".to_owned(), 1)]);
}

#[test]
fn what_was_given_back_is_pulled_again_although_memory_is_full() {
    let mut rig = Rig::with(Options {
        tasks_max: 2,
        ..Options::default()
    });
    rig.open(&echo());
    rig.join("w1", 2);
    rig.deliver(1);
    rig.deliver(2);
    rig.wait(Span::from_secs(3));
    assert_eq!(rig.scheduler.tasks_in_memory(), 2);
    assert_eq!(pulled(&rig.join("w2", 2)), [("echo.5".to_owned(), 2)]);
}

#[test]
fn lanes_share_what_memory_is_left() {
    let mut rig = Rig::with(Options {
        tasks_max: 4,
        ..Options::default()
    });
    let (low, high) = (lane("echo", 1), lane("echo", 9));
    rig.open(&low);
    rig.open(&high);
    let pulls = pulled(&rig.join("w1", 2));
    assert_eq!(pulls, [("echo.1".to_owned(), 2), ("echo.9".to_owned(), 2)]);
}

#[test]
fn an_empty_lane_does_not_keep_memory_from_others_for_ever() {
    let mut rig = Rig::with(Options {
        tasks_max: 1,
        ..Options::default()
    });
    let lanes = [lane("echo", 1), lane("echo", 5), lane("echo", 9)];
    for lane in &lanes {
        rig.open(lane);
    }
    let mut asked = pulled(&rig.join("w1", 2));
    for _ in 0..2 {
        let last = asked.last().expect("one lane is asked").0.clone();
        let lane = lanes.iter().find(|lane| lane.to_string() == last);
        let lane = lane.expect("one of them").clone();
        asked.extend(pulled(&rig.event(Event::PullEnded {
            lane,
            unused: 1,
            end: PullEnd::Cut,
        })));
    }
    let mut names: Vec<String> = asked.into_iter().map(|(lane, _)| lane).collect();
    names.sort();
    assert_eq!(names, ["echo.1", "echo.5", "echo.9"]);
}

#[test]
fn tasks_that_no_worker_could_ever_take_do_not_fill_the_window_of_their_lane() {
    let mut rig = Rig::with(Options {
        look_ahead: 4,
        ..Options::default()
    });
    rig.open(&echo());
    rig.join("w1", 1);
    let needy = |seq: u64| {
        let mut spec = task(&format!("t{seq}"));
        spec.options.requires = vec!["gpu".parse().expect("good")];
        delivered(seq, 1, spec)
    };
    // A free slot and four to look ahead: all of them strangers to this worker.
    rig.events((1..=5).map(needy));
    let asked =
        |actions: &[crate::Action]| pulled(actions).iter().map(|(_, count)| count).sum::<u32>();
    let actions = rig.events((6..=10).map(needy));
    assert!(asked(&actions) > 0, "{actions:?}");
    assert_eq!(placed(&rig.deliver(11)), [("w1", 11)]);
    // They come into question: now they are waited for.
    rig.says("w1").labels = vec!["gpu".parse().expect("good")];
    assert_eq!(asked(&rig.beat("w1")), 0);
}

#[test]
fn a_label_of_each_workers_own_makes_no_class_and_is_found_all_the_same() {
    let mut rig = rig();
    for number in 0..200_u64 {
        let name = format!("w{number:03}");
        rig.join_as(&name, 1, |says| {
            says.labels = vec![format!("host={name}").parse().expect("a good label")];
        });
    }
    assert_eq!(
        rig.scheduler.fleet.classes_for(&echo().kind, &[]).count(),
        1
    );
    for number in 0..200_u64 {
        let name = format!("w{:03}", 199 - number);
        let actions = rig.deliver_as(number + 1, |spec| {
            spec.options.requires = vec![format!("host={name}").parse().expect("a good label")];
        });
        assert_eq!(placed(&actions), [(name.as_str(), number + 1)]);
    }
    let classes = rig.scheduler.fleet.classes_for(&echo().kind, &[]).count();
    assert_eq!(
        classes, 65,
        "of too many labels the others tell nobody apart"
    );
}
