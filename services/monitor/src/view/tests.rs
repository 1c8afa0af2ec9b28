//! The view by what it says.

use rota_bus::LaneState;
use rota_wire::event::{Counts, RedeliveryCause, TimedEvent};
use rota_wire::fleet::{Held, KindCapacity, MachineLoad, Stage, WorkerState};
use rota_wire::frame::FrameError;
use rota_wire::{
    Delivery, Holding, Lane, Micros, Priority, Resources, Span, TaskId, Term, WorkerId,
};

use super::*;

/// A view, its clock, and what it has said since it was last asked.
#[derive(Default)]
struct Watch {
    view: View,
    now: Duration,
    lines: Vec<Line>,
}

impl Watch {
    fn heartbeat(&mut self, heartbeat: Heartbeat) {
        self.view
            .handle_heartbeat(self.now, heartbeat, &mut self.lines);
    }

    fn events(&mut self, events: Vec<Event>) {
        let timed = |event| TimedEvent {
            at: Micros(0),
            event,
        };
        let batch = EventBatch {
            events: events.into_iter().map(timed).collect(),
            dropped: 0,
        };
        self.view.handle_events(self.now, batch, &mut self.lines);
    }

    fn reading(&mut self, reading: Reading) {
        self.view.handle_reading(self.now, reading, &mut self.lines);
    }

    fn link(&mut self, up: bool) {
        let link = Link { up, breaks: 0 };
        self.view.handle_link(self.now, link, &mut self.lines);
    }

    fn garbage(&mut self, subject: &str) {
        let error = FrameError::Empty { frame: "heartbeat" };
        self.view
            .handle_undecodable(self.now, subject, &error, &mut self.lines);
    }

    /// Seconds pass, with a tick each.
    fn pass(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now += Duration::from_secs(1);
            self.view.handle_tick(self.now, &mut self.lines);
        }
    }

    /// Seconds pass in which a leader shows that it is there.
    fn pass_led(&mut self, secs: u64, term: u64) {
        for _ in 0..secs {
            self.events(vec![counted(term, 0)]);
            self.pass(1);
        }
    }

    fn said(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// An interval ends; the summary that is said, if any.
    fn summary(&mut self, reading: Reading) -> Option<String> {
        self.reading(reading);
        self.said().into_iter().find_map(|line| match line {
            Line::Summary(summary) => Some(summary.to_string()),
            _ => None,
        })
    }
}

fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).expect("a good worker id")
}

fn kind(name: &str) -> Kind {
    Kind::parse(name).expect("a good kind")
}

fn heartbeat(name: &str, number: u64) -> Heartbeat {
    Heartbeat {
        worker: worker(name),
        number,
        started: Micros(1),
        interval: Span::from_secs(1),
        state: WorkerState::Up,
        slots: 8,
        resources: Resources::NONE,
        kinds: vec![KindCapacity {
            kind: kind("echo"),
            concurrency: None,
        }],
        labels: Vec::new(),
        seen: None,
        held: Vec::new(),
        machine: MachineLoad::default(),
        withdrawn: Vec::new(),
        dialect: rota_wire::Dialect::V2,
    }
}

fn held(stage: Stage, count: u64) -> impl Iterator<Item = Held> {
    (0..count).map(move |seq| Held {
        holding: Holding {
            term: Term(1),
            delivery: Delivery { seq, count: 1 },
        },
        stage,
        ran: Span::default(),
        task: None,
    })
}

fn counted(term: u64, failed_attempts: u64) -> Event {
    Event::Counted(Counts {
        term: Term(term),
        failed_attempts,
        ..Counts::default()
    })
}

fn redelivered(task: u64, of: &str) -> Event {
    Event::Redelivered {
        task: TaskId::from_sequence(task),
        kind: kind(of),
        worker: worker("w1"),
        cause: RedeliveryCause::Lost,
    }
}

fn lost(name: &str) -> Event {
    Event::WorkerLost {
        worker: worker(name),
        silent: Span::from_secs(3),
        holding: 0,
    }
}

fn waiting(of: &str, waiting: u64) -> LaneState {
    LaneState {
        lane: Lane {
            kind: kind(of),
            priority: Priority::default(),
        },
        waiting,
        oldest: Some(Micros(0)),
    }
}

/// A reading in which nothing waits and nothing moves.
fn still() -> Reading {
    Reading {
        submitted_ever: Some(100),
        at_the_door: Some(0),
        unsettled: Some(0),
        finished_ever: Some(100),
        backlog: Some(Backlog::default()),
        kept: None,
    }
}

fn with_work(lanes: &[LaneState]) -> Reading {
    Reading {
        unsettled: Some(lanes.iter().map(|lane| lane.waiting).sum()),
        backlog: Some(Backlog::new(lanes, Micros(40_000))),
        ..still()
    }
}

#[test]
fn what_a_scheduler_tells_is_said_as_it_came() {
    let mut watch = Watch::default();
    let events = vec![
        Event::Leading { term: Term(4) },
        Event::Recovered {
            term: Term(4),
            adopted: 14,
        },
        Event::WorkerJoined {
            worker: worker("w1"),
            slots: 8,
            kinds: vec![kind("echo")],
        },
        Event::WorkerDraining {
            worker: worker("w1"),
            holding: 3,
        },
        Event::WorkerLeft {
            worker: worker("w1"),
        },
        lost("w2"),
        redelivered(17, "echo"),
    ];
    watch.events(events.clone());
    let expected: Vec<Line> = events.into_iter().map(Line::Happened).collect();
    assert_eq!(watch.said(), expected);
}

#[test]
fn the_leaders_totals_are_figures_and_no_lines() {
    let mut watch = Watch::default();
    watch.events(vec![counted(4, 7)]);
    assert_eq!(watch.said(), []);
}

#[test]
fn five_hundred_redeliveries_are_twenty_lines_and_a_count() {
    let mut watch = Watch::default();
    watch.events((0..500).map(|n| redelivered(n, "x")).collect());
    assert_eq!(watch.said().len(), 20);
    watch.pass(1);
    let more = Line::More {
        sort: Sort::Redelivered,
        kind: Some(kind("x")),
        count: 480,
    };
    assert_eq!(watch.said(), [more]);
    watch.pass(1);
    assert_eq!(watch.said(), []);
}

#[test]
fn a_thousand_workers_that_join_at_once_do_not_fill_the_log() {
    let mut watch = Watch::default();
    let joined = |n| Event::WorkerJoined {
        worker: worker(&format!("w{n}")),
        slots: 1,
        kinds: vec![],
    };
    watch.events((0..1_000).map(joined).collect());
    watch.pass(1);
    assert_eq!(watch.said().len(), 21);
}

#[test]
fn the_summary_adds_up_what_the_workers_say() {
    let mut watch = Watch::default();
    watch.reading(still());
    let mut first = heartbeat("w1", 1);
    first.held = held(Stage::Running, 6)
        .chain(held(Stage::Ended, 2))
        .collect();
    first.machine = MachineLoad {
        cpu_milli: 4_000,
        cpu_busy_permille: Some(900),
        memory_bytes: 8_000,
        memory_available_bytes: Some(6_000),
        ..MachineLoad::default()
    };
    let mut second = heartbeat("w2", 1);
    // It does not tell its load: it must not count as idle.
    second.machine = MachineLoad {
        cpu_milli: 64_000,
        memory_bytes: 64_000,
        ..MachineLoad::default()
    };
    watch.heartbeat(first);
    watch.heartbeat(second);
    watch.pass_led(2, 1);
    let line = watch.summary(Reading {
        submitted_ever: Some(110),
        finished_ever: Some(101),
        ..still()
    });
    assert_eq!(
        line.as_deref(),
        Some(
            "in 5/s  out 0.5/s  running 6  waiting 0  failed 0  redelivered 0  \
             slots 6/16 used 37.5% free 62.5%  cpu 90% used  memory 25% used  workers 2"
        )
    );
}

#[test]
fn the_empty_slots_of_a_draining_worker_are_not_free() {
    let mut watch = Watch::default();
    watch.reading(still());
    let mut draining = heartbeat("w1", 1);
    draining.state = WorkerState::Draining;
    draining.held = held(Stage::Running, 2).collect();
    watch.heartbeat(draining);
    watch.now += Duration::from_secs(1);
    let line = watch.summary(still()).expect("something runs");
    assert!(
        line.contains("slots 2/2 used 100% free 0%  workers 1 (1 draining)"),
        "{line}"
    );
}

#[test]
fn what_cannot_be_read_is_not_told_as_zero() {
    let mut watch = Watch::default();
    watch.reading(still());
    watch.pass_led(5, 1);
    let line = watch
        .summary(Reading::default())
        .expect("unknown is not quiet");
    assert!(
        line.starts_with("in ?  out ?  running 0  waiting ?"),
        "{line}"
    );
}

#[test]
fn a_kind_that_no_worker_takes_is_marked() {
    let mut watch = Watch::default();
    watch.reading(still());
    watch.heartbeat(heartbeat("w1", 1));
    let mut draining = heartbeat("w2", 1);
    draining.state = WorkerState::Draining;
    draining.kinds[0].kind = kind("report");
    watch.heartbeat(draining);
    let line = watch
        .summary(with_work(&[waiting("echo", 5), waiting("report", 3)]))
        .expect("busy");
    assert!(
        line.contains("waiting echo 5 (oldest 40ms), report 3 (40ms, no worker)"),
        "{line}"
    );
}

#[test]
fn failed_attempts_are_those_since_the_last_summary() {
    let mut watch = Watch::default();
    watch.events(vec![counted(4, 1_000)]);
    watch.reading(still());
    watch.events(vec![counted(4, 1_003), counted(4, 1_004)]);
    let line = watch.summary(still()).expect("something failed");
    assert!(line.contains("failed 4  redelivered 0"), "{line}");
    watch.events(vec![Event::Leading { term: Term(6) }, counted(6, 2)]);
    let line = watch.summary(still()).expect("something failed");
    assert!(line.contains("failed 2"), "{line}");
}

#[test]
fn the_totals_of_a_deposed_leader_are_left_out() {
    let mut watch = Watch::default();
    watch.events(vec![counted(4, 10), Event::Leading { term: Term(6) }]);
    watch.reading(still());
    watch.events(vec![counted(4, 500), counted(6, 1)]);
    let line = watch.summary(still()).expect("something failed");
    assert!(line.contains("failed 1"), "{line}");
}

#[test]
fn a_late_heartbeat_does_not_bring_back_older_news() {
    let mut watch = Watch::default();
    let mut newer = heartbeat("w1", 5);
    newer.held = held(Stage::Running, 3).collect();
    watch.heartbeat(newer);
    watch.heartbeat(heartbeat("w1", 4));
    assert_eq!(watch.view.fleet.figures(watch.now).running, 3);
}

#[test]
fn a_worker_that_started_anew_under_its_name_counts_from_one_again() {
    let mut watch = Watch::default();
    watch.heartbeat(heartbeat("w1", 500));
    let mut anew = heartbeat("w1", 1);
    anew.started = Micros(2);
    anew.slots = 3;
    watch.heartbeat(anew);
    watch.heartbeat(heartbeat("w1", 501));
    assert_eq!(watch.view.fleet.figures(watch.now).slots.capacity(), 3);
}

#[test]
fn a_late_heartbeat_does_not_bring_back_a_worker_that_said_goodbye() {
    let mut watch = Watch::default();
    watch.heartbeat(heartbeat("w1", 4));
    let mut goodbye = heartbeat("w1", 6);
    goodbye.state = WorkerState::Gone;
    watch.heartbeat(goodbye);
    watch.heartbeat(heartbeat("w1", 5));
    watch.pass(60);
    let figures = watch.view.fleet.figures(watch.now);
    assert_eq!((figures.workers, figures.silent), (0, 0));
    assert_eq!(watch.said(), []);
}

#[test]
fn a_worker_that_misses_three_heartbeats_leaves_the_figures() {
    let mut watch = Watch::default();
    watch.heartbeat(heartbeat("w1", 1));
    watch.pass_led(3, 1);
    assert_eq!(watch.view.fleet.figures(watch.now).workers, 1);
    watch.pass_led(1, 1);
    let figures = watch.view.fleet.figures(watch.now);
    assert_eq!((figures.workers, figures.silent), (0, 1));
    assert_eq!(figures.slots.shares(), None);
}

#[test]
fn while_a_scheduler_leads_a_loss_is_told_by_it_alone() {
    let mut watch = Watch::default();
    watch.heartbeat(heartbeat("w1", 1));
    watch.pass_led(4, 1);
    watch.events(vec![lost("w1")]);
    watch.pass_led(1, 1);
    assert_eq!(watch.said(), [Line::Happened(lost("w1"))]);
    // Nor is it told again when later nobody leads.
    watch.pass(20);
    assert_eq!(watch.said(), []);
}

#[test]
fn while_nobody_leads_the_monitor_tells_of_silence_and_of_return_once() {
    let mut watch = Watch::default();
    watch.heartbeat(heartbeat("w1", 1));
    watch.pass(5);
    assert_eq!(watch.said(), [], "a leader may still show itself");
    watch.pass(10);
    let silent = Line::WorkerSilent {
        worker: worker("w1"),
        silent: Span::from_secs(6),
        holding: 0,
    };
    assert_eq!(watch.said(), [silent]);
    watch.heartbeat(heartbeat("w1", 2));
    watch.heartbeat(heartbeat("w1", 3));
    assert_eq!(
        watch.said(),
        [Line::WorkerHeardAgain {
            worker: worker("w1")
        }]
    );
}

#[test]
fn that_nobody_leads_is_said_when_work_waits_and_again_each_half_minute() {
    let mut watch = Watch::default();
    watch.reading(with_work(&[waiting("echo", 5)]));
    watch.pass(5);
    assert_eq!(watch.said(), []);
    watch.pass(1);
    let nobody = |secs| Line::NobodyLeads {
        elapsed: Span::from_secs(secs),
        unsettled: 5,
    };
    assert_eq!(watch.said(), [nobody(6)]);
    watch.pass(29);
    assert_eq!(watch.said(), []);
    watch.pass(1);
    assert_eq!(watch.said(), [nobody(36)]);
}

#[test]
fn without_work_a_missing_leader_is_no_warning_but_in_the_summary() {
    let mut watch = Watch::default();
    watch.reading(still());
    watch.pass(60);
    assert_eq!(watch.said(), []);
    let line = watch.summary(still()).expect("the first one is said");
    assert!(line.ends_with("workers 0  no leader"), "{line}");
}

#[test]
fn submissions_that_nobody_passes_on_are_work_that_waits() {
    let mut watch = Watch::default();
    watch.reading(Reading {
        at_the_door: Some(3),
        ..still()
    });
    watch.pass(6);
    assert_eq!(
        watch.said(),
        [Line::NobodyLeads {
            elapsed: Span::from_secs(6),
            unsettled: 3
        }]
    );
}

#[test]
fn a_leader_that_only_stood_still_is_heard_again() {
    let mut watch = Watch::default();
    watch.reading(with_work(&[waiting("echo", 5)]));
    watch.pass_led(2, 4);
    watch.pass(10);
    watch.said();
    watch.events(vec![counted(4, 0), counted(4, 0)]);
    assert_eq!(watch.said(), [Line::LeadsAgain { term: Term(4) }]);
}

#[test]
fn a_new_leader_after_the_warning_is_told_by_its_election_alone() {
    let mut watch = Watch::default();
    watch.reading(with_work(&[waiting("echo", 5)]));
    watch.pass(10);
    watch.said();
    watch.events(vec![Event::Leading { term: Term(9) }, counted(9, 0)]);
    assert_eq!(
        watch.said(),
        [Line::Happened(Event::Leading { term: Term(9) })]
    );
}

#[test]
fn terms_that_begin_anew_are_believed_when_the_old_leader_is_silent() {
    let mut watch = Watch::default();
    watch.reading(still());
    watch.pass_led(2, 900);
    watch.events(vec![counted(1, 0)]);
    assert_eq!(
        watch.view.leadership.leader(watch.now),
        Leader::Leading(Term(900))
    );
    watch.pass(6);
    watch.events(vec![counted(1, 0)]);
    assert_eq!(
        watch.view.leadership.leader(watch.now),
        Leader::Leading(Term(1))
    );
}

#[test]
fn a_cut_connection_makes_nobody_silent() {
    let mut watch = Watch::default();
    watch.reading(with_work(&[waiting("echo", 5)]));
    watch.heartbeat(heartbeat("w1", 1));
    watch.pass_led(1, 1);
    watch.link(false);
    watch.pass(60);
    watch.link(true);
    assert_eq!(watch.said(), []);
    assert_eq!(watch.view.fleet.figures(watch.now).workers, 1);
    // From here on they must show themselves.
    watch.pass(6);
    let said = watch.said();
    assert!(
        matches!(
            said[..],
            [Line::WorkerSilent { .. }, Line::NobodyLeads { .. }]
        ),
        "{said:?}"
    );
}

#[test]
fn a_worker_that_was_silent_before_the_connection_was_cut_stays_silent() {
    let mut watch = Watch::default();
    watch.heartbeat(heartbeat("w1", 1));
    watch.pass_led(10, 1);
    watch.link(false);
    watch.pass(3);
    watch.link(true);
    assert_eq!(watch.view.fleet.figures(watch.now).silent, 1);
}

#[test]
fn without_a_connection_the_summary_says_so_and_nothing_else() {
    let mut watch = Watch::default();
    watch.reading(still());
    watch.link(false);
    for _ in 0..13 {
        watch.pass(5);
        watch.reading(Reading::default());
    }
    let cut_off = |secs| Line::CutOff {
        elapsed: Span::from_secs(secs),
    };
    assert_eq!(watch.said(), [cut_off(10)]);
    watch.pass(5);
    watch.reading(Reading::default());
    assert_eq!(watch.said(), [cut_off(70)]);
}

#[test]
fn after_a_cut_nobody_is_the_leader_before_one_shows_itself() {
    let mut watch = Watch::default();
    watch.pass_led(2, 4);
    watch.link(false);
    watch.pass(2);
    watch.link(true);
    assert_eq!(watch.view.leadership.leader(watch.now), Leader::Unknown);
    watch.pass_led(1, 4);
    assert_eq!(
        watch.view.leadership.leader(watch.now),
        Leader::Leading(Term(4))
    );
}

#[test]
fn when_nothing_happens_one_summary_in_twelve_is_said() {
    let mut watch = Watch::default();
    watch.reading(still());
    let said: Vec<bool> = (0..25)
        .map(|_| {
            watch.pass_led(5, 1);
            watch.summary(still()).is_some()
        })
        .collect();
    let at: Vec<usize> = (0..25).filter(|n| said[*n]).collect();
    assert_eq!(at, [0, 12, 24]);
}

#[test]
fn a_quiet_summary_is_said_at_once_when_something_has_changed() {
    let mut watch = Watch::default();
    watch.reading(still());
    watch.pass_led(1, 1);
    assert!(watch.summary(still()).is_some());
    assert!(watch.summary(still()).is_none());
    watch.heartbeat(heartbeat("w1", 1));
    assert!(watch.summary(still()).is_some(), "a worker came");
    watch.heartbeat(heartbeat("w1", 2));
    assert!(watch.summary(still()).is_none());
    let came = Reading {
        submitted_ever: Some(101),
        ..still()
    };
    watch.pass_led(1, 1);
    assert!(watch.summary(came.clone()).is_some(), "a task came");
    assert!(watch.summary(came).is_some(), "and then it was quiet again");
}

#[test]
fn garbage_is_told_once_in_ten_seconds_with_its_number() {
    let mut watch = Watch::default();
    for _ in 0..100 {
        watch.garbage("rota.worker.w1.heartbeat");
    }
    let told = |count| Line::Undecodable {
        subject: "rota.worker.w1.heartbeat".to_owned(),
        reason: "heartbeat: no bytes".to_owned(),
        count,
    };
    assert_eq!(watch.said(), [told(1)]);
    watch.pass(9);
    assert_eq!(watch.said(), []);
    watch.pass(1);
    assert_eq!(watch.said(), [told(99)]);
    watch.pass(20);
    assert_eq!(watch.said(), []);
}

#[test]
fn that_ids_are_forgotten_early_is_told_from_the_first_reading_on_and_then_every_ten_minutes() {
    let full = Kept {
        messages: Room {
            used: 2_000_000,
            max: Some(2_000_000),
        },
        bytes: Room {
            used: 1,
            max: Some(1_000),
        },
        oldest: Span::from_secs(100),
        promised: Span::from_secs(86_400),
    };
    let reading = || Reading {
        kept: Some(full),
        ..still()
    };
    let told = |said: Vec<Line>| {
        let early = |line: &&Line| matches!(line, Line::ForgottenEarly { .. });
        said.iter().filter(early).count()
    };
    let mut watch = Watch::default();
    watch.reading(reading());
    assert_eq!(told(watch.said()), 1);
    watch.pass(599);
    watch.reading(reading());
    assert_eq!(told(watch.said()), 0);
    watch.pass(1);
    watch.reading(reading());
    assert_eq!(told(watch.said()), 1);
}

#[test]
fn a_hostile_subject_is_cut() {
    let mut watch = Watch::default();
    watch.garbage(&"ä".repeat(10_000));
    let said = watch.said();
    let [Line::Undecodable { subject, .. }] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(subject.len(), 120);
}

#[test]
fn events_that_a_sender_dropped_are_told() {
    let mut watch = Watch::default();
    let batch = EventBatch {
        events: Vec::new(),
        dropped: 70,
    };
    watch.view.handle_events(watch.now, batch, &mut watch.lines);
    watch.pass(1);
    assert_eq!(watch.said(), [Line::EventsLost { count: 70 }]);
}

#[test]
fn a_silent_worker_is_forgotten_after_ten_minutes() {
    let mut watch = Watch::default();
    watch.heartbeat(heartbeat("w1", 1));
    watch.pass(599);
    assert_eq!(watch.view.fleet.figures(watch.now).silent, 1);
    watch.pass(1);
    assert_eq!(watch.view.fleet.figures(watch.now).silent, 0);
}

#[test]
fn a_full_table_takes_no_more_but_makes_room_for_those_who_are_there() {
    let mut watch = Watch::default();
    for n in 0..fleet::WORKERS_MAX {
        watch.heartbeat(heartbeat(&format!("w{n}"), 1));
    }
    watch.heartbeat(heartbeat("late", 1));
    watch.pass_led(1, 1);
    assert_eq!(watch.said(), [Line::FleetTooLarge { heartbeats: 1 }]);
    watch.pass_led(4, 1);
    watch.heartbeat(heartbeat("late", 2));
    let figures = watch.view.fleet.figures(watch.now);
    assert_eq!((figures.workers, figures.silent), (1, 0));
}

#[test]
fn an_interval_that_nobody_can_mean_does_not_hide_a_silent_worker() {
    let mut watch = Watch::default();
    let mut odd = heartbeat("w1", 1);
    odd.interval = Span::from_ms(u64::MAX);
    watch.heartbeat(odd);
    watch.pass_led(181, 1);
    assert_eq!(watch.view.fleet.figures(watch.now).silent, 1);
}
