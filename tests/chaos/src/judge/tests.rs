//! The judge is judged: histories in which one thing is wrong, and histories in which nothing is.

use std::time::Duration;

use super::*;
use crate::clock::Moment;
use crate::facts::{
    Execution, FaultFact, Genuine, Left, Leftover, LifeFact, Repeat, Span, StoredResult, Task, Told,
};
use crate::fault::{Direction, Fault, Life, Place, Role, Which};
use crate::job::{Ending, Job, Then};
use crate::ledger::Outcome;

const DONE: Outcome = Outcome::Ended(Ending::Done);
const FAILED: Outcome = Outcome::Ended(Ending::Failed);

/// A history in the making; all times in milliseconds.
#[derive(Default)]
struct Scene(History);

impl Scene {
    /// One task, `t`, that fails so often and then completes; five workers that live all the time.
    fn new(fails: u32) -> Self {
        let mut scene = Self::default();
        for number in 1..=5 {
            scene.0.lives.insert(worker(number), life());
        }
        scene.submit("t", 1, fails);
        scene
    }

    /// The same, and it has run to its end as it should.
    fn ended_well(fails: u32) -> Self {
        let mut scene = Self::new(fails);
        for attempt in 1..=fails {
            scene.ran(
                1,
                attempt,
                u64::from(attempt) * 100..u64::from(attempt) * 100 + 50,
                FAILED,
            );
        }
        let last = u64::from(fails + 1) * 100;
        scene.ran(2, fails + 1, last..last + 50, DONE);
        scene.result("t", "completed", fails + 1, last + 60);
        scene
    }

    fn submit(&mut self, id: &str, number: u64, fails: u32) {
        let job = Job {
            number,
            run: Duration::from_millis(50),
            fails,
            then: Then::Complete,
            bytes: 0,
        };
        let task = Task {
            job,
            kind: "command".to_owned(),
            attempts_max: 3,
            sent: at(0),
            submissions: 1,
        };
        self.0.tasks.insert(id.to_owned(), task);
    }

    fn ran(&mut self, by: usize, attempt: u32, time: std::ops::Range<u64>, outcome: Outcome) {
        self.began(by, attempt, time.start);
        let execution = self.0.executions.last_mut().unwrap();
        execution.end = Some((at(time.end), outcome));
    }

    fn began(&mut self, by: usize, attempt: u32, begin: u64) {
        self.0.executions.push(Execution {
            task: "t".to_owned(),
            attempt,
            worker: worker(by),
            begin: at(begin),
            end: None,
        });
    }

    fn result(&mut self, id: &str, state: &str, attempts: u32, time: u64) -> &mut Genuine {
        let job = self.0.tasks.get(id).map_or(99, |task| task.job.number);
        let genuine = Genuine {
            state: state.to_owned(),
            attempts,
            reason: String::new(),
            job: Some(job),
            output: format!("done {job}"),
        };
        self.store(id, Some(genuine), time)
    }

    fn store(&mut self, id: &str, genuine: Option<Genuine>, time: u64) -> &mut Genuine {
        self.0.results.push(StoredResult {
            id: id.to_owned(),
            seq: self.0.results.len() as u64 + 1,
            at: at(time),
            genuine,
        });
        let stored = self.0.results.last_mut().unwrap();
        stored.genuine.get_or_insert_with(|| Genuine {
            state: String::new(),
            attempts: 0,
            reason: String::new(),
            job: None,
            output: String::new(),
        })
    }

    fn kill(&mut self, number: usize, time: u64) {
        self.kill_life(worker(number), time);
    }

    fn kill_life(&mut self, life: Life, time: u64) {
        let life = self.0.lives.get_mut(&life).unwrap();
        life.told = Some((at(time), Told::Kill));
        life.ended = Some(at(time + 1));
    }

    fn fault(&mut self, fault: Fault, time: std::ops::Range<u64>) {
        self.0.faults.push(FaultFact {
            fault,
            span: span(time),
            server: None,
            skipped: None,
        });
    }

    fn repeated(&mut self, life: Life, line: String) {
        self.0.repeats.push(Repeat {
            life,
            line,
            times: 3,
            shortest: ms(40),
        });
    }

    fn verdict(&self) -> Verdict {
        judge(&self.0, &Rules::default())
    }

    fn classes(&self) -> Vec<Class> {
        self.verdict().classes().into_keys().collect()
    }
}

fn at(ms: u64) -> Moment {
    Moment(10_000_000 + ms * 1_000)
}

fn span(time: std::ops::Range<u64>) -> Span {
    Span {
        from: at(time.start),
        to: at(time.end),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn place(role: Role, number: usize) -> Place {
    Place { role, number }
}

fn worker(number: usize) -> Life {
    Life {
        place: place(Role::Worker, number),
        number: 1,
    }
}

fn life() -> LifeFact {
    LifeFact {
        pid: 1,
        old: false,
        started: at(0),
        told: None,
        ended: None,
        how: String::new(),
        peak_bytes: 1 << 20,
    }
}

#[test]
fn a_task_that_ends_as_it_should_is_no_violation() {
    for fails in 0..=2 {
        let verdict = Scene::ended_well(fails).verdict();
        assert_eq!(verdict.violations, [], "fails {fails} times");
        assert!(verdict.warnings.is_empty() && verdict.reruns.is_empty());
    }
}

#[test]
fn a_task_that_uses_up_its_attempts_must_have_failed_and_be_a_dead_letter() {
    let mut scene = Scene::new(7);
    for attempt in 1..=3 {
        scene.ran(
            1,
            attempt,
            u64::from(attempt) * 100..u64::from(attempt) * 100 + 50,
            FAILED,
        );
    }
    scene.result("t", "failed", 3, 400);
    assert_eq!(scene.classes(), [Class::DeadLetters]);
    scene.0.dead.push("t".to_owned());
    assert_eq!(scene.classes(), []);
    scene.0.results[0].genuine.as_mut().unwrap().state = "completed".to_owned();
    assert_eq!(scene.classes(), [Class::WrongOutcome, Class::DeadLetters]);
}

#[test]
fn a_confirmed_task_without_a_result_is_lost() {
    let mut scene = Scene::ended_well(0);
    scene.0.results.clear();
    assert_eq!(scene.classes(), [Class::Lost]);
    scene.0.left.push(Left {
        stream: "ROTA_SCHEDULE".to_owned(),
        messages: Some(1),
        unacked: 0,
        ids: vec!["t".to_owned()],
    });
    assert_eq!(scene.classes(), [Class::Unfinished, Class::Left]);
}

#[test]
fn a_task_that_was_not_confirmed_may_come_to_a_result_or_not_but_not_run_without_one() {
    let mut scene = Scene::ended_well(0);
    let task = scene.0.tasks.remove("t").unwrap();
    scene.0.unconfirmed.insert(1, task);
    scene.0.results[0].genuine.as_mut().unwrap().job = Some(1);
    assert_eq!(scene.classes(), []);
    scene.0.results.clear();
    assert_eq!(scene.classes(), [Class::Lost], "it ran");
    scene.0.executions.clear();
    assert_eq!(scene.classes(), []);
}

#[test]
fn a_second_result_is_found_in_what_was_seen_and_in_the_gap_that_it_leaves() {
    let mut scene = Scene::ended_well(0);
    scene.result("t", "completed", 1, 300);
    assert_eq!(scene.classes(), [Class::TwoResults]);
    let mut scene = Scene::ended_well(0);
    scene.0.results_unseen = 1;
    assert_eq!(scene.classes(), [Class::TwoResults]);
    scene.fault(Fault::Forge, 5..6);
    assert_eq!(scene.classes(), [], "a forger's");
}

#[test]
fn a_forged_message_is_no_result() {
    let mut scene = Scene::ended_well(0);
    scene.0.results.clear();
    scene.store("t", None, 50);
    scene.0.results[0].genuine = None;
    assert_eq!(scene.classes(), [Class::Lost]);
    scene.result("t", "completed", 1, 160);
    assert_eq!(scene.classes(), [], "overwritten by the genuine one");
    scene.0.results.clear();
    scene.store("t", None, 50_000);
    scene.0.results[0].genuine = None;
    assert_eq!(scene.classes(), [], "it came when all was done");
}

#[test]
fn a_result_that_nobody_asked_for_is_found() {
    let mut scene = Scene::ended_well(0);
    scene.result("stranger", "completed", 1, 300);
    assert_eq!(scene.classes(), [Class::Unsubmitted]);
}

#[test]
fn a_result_of_another_task_is_found() {
    let mut scene = Scene::ended_well(0);
    scene.0.results[0].genuine.as_mut().unwrap().job = Some(2);
    assert_eq!(scene.classes(), [Class::WrongOutcome]);
    scene.0.results[0].genuine.as_mut().unwrap().job = Some(1);
    scene.0.results[0].genuine.as_mut().unwrap().output = "done 2".to_owned();
    assert_eq!(scene.classes(), [Class::WrongOutcome]);
}

#[test]
fn a_wrong_number_of_attempts_is_found() {
    let mut scene = Scene::ended_well(1);
    scene.0.results[0].genuine.as_mut().unwrap().attempts = 3;
    assert_eq!(scene.classes(), [Class::WrongOutcome]);
}

#[test]
fn a_result_without_an_execution_is_found() {
    let mut scene = Scene::ended_well(0);
    scene.0.executions.clear();
    assert_eq!(scene.classes(), [Class::NeverRan]);
}

#[test]
fn a_damaged_input_is_found() {
    let mut scene = Scene::ended_well(0);
    scene.0.executions[0].end = Some((at(150), Outcome::Damaged));
    assert_eq!(scene.classes(), [Class::Damaged]);
    scene.kill(2, 140);
    assert_eq!(scene.classes(), [], "its worker was killed while it wrote");
}

#[test]
fn poison_needs_three_workers_that_were_really_killed_and_two_that_ran_it() {
    let buried = |killed: &[usize]| {
        let mut scene = Scene::new(0);
        for number in 1..=3 {
            let time = number as u64 * 1_000;
            scene.began(number, 1, time);
            let place = worker(number).place;
            if killed.contains(&number) {
                scene.kill(number, time + 500);
            } else {
                scene.fault(Fault::Stop(place, ms(2_000)), time + 100..time + 2_100);
            }
        }
        scene.result("t", "failed", 1, 6_000).reason = "poison: 3 workers were lost".to_owned();
        scene.0.dead.push("t".to_owned());
        scene
    };
    assert_eq!(buried(&[1, 2, 3]).classes(), []);
    assert_eq!(buried(&[1, 2]).classes(), [Class::FalsePoison]);
    assert_eq!(buried(&[]).classes(), [Class::FalsePoison]);
    let mut scene = buried(&[1, 2]);
    scene.kill(4, 4_000);
    assert_eq!(scene.classes(), [], "the third had it, but had not begun");
}

#[test]
fn a_letter_without_a_result_needs_cause_and_a_scheduler_that_died() {
    let run_on = |killed: &[usize], scheduler: bool| {
        let mut scene = Scene::new(0);
        for number in 1..=3 {
            let time = number as u64 * 1_000;
            scene.began(number, 1, time);
            if killed.contains(&number) {
                scene.kill(number, time + 500);
            }
        }
        if scheduler {
            let leader = Life {
                place: place(Role::Scheduler, 1),
                number: 1,
            };
            scene.0.lives.insert(leader, life());
            scene.kill_life(leader, 3_600);
        }
        scene.ran(4, 1, 4_000..4_100, DONE);
        scene.result("t", "completed", 1, 4_200);
        scene.0.dead.push("t".to_owned());
        let verdict = scene.verdict();
        verdict
            .violations
            .iter()
            .any(|found| found.class == Class::DeadLetters)
    };
    assert!(!run_on(&[1, 2, 3], true), "it died with what it knew");
    assert!(run_on(&[1, 2, 3], false), "nobody died who wrote it");
    assert!(run_on(&[1, 2], true), "there was no cause for it");
}

#[test]
fn an_attempt_beyond_what_is_allowed_or_without_a_failure_before_it_is_found() {
    let mut scene = Scene::ended_well(0);
    scene.ran(1, 2, 180..190, DONE);
    assert_eq!(
        scene.classes(),
        [Class::Attempts],
        "the first one did not fail"
    );
    let mut scene = Scene::ended_well(2);
    scene.ran(1, 3, 310..320, FAILED);
    scene.ran(1, 4, 330..340, DONE);
    let verdict = scene.verdict();
    let beyond = |found: &Violation| found.what == "attempt 4 of 3";
    assert!(verdict.violations.iter().any(beyond), "{verdict:?}");
}

/// Attempt 1 runs on worker 1 from 1 s on, and begins again on worker 2 at 3 s.
fn twice(hurt: impl FnOnce(&mut Scene)) -> Verdict {
    let mut scene = Scene::new(0);
    scene.ran(1, 1, 1_000..5_000, DONE);
    scene.ran(2, 1, 3_000..7_000, DONE);
    scene.result("t", "completed", 1, 5_010);
    hurt(&mut scene);
    scene.verdict()
}

fn explained_as(verdict: &Verdict) -> &'static str {
    assert_eq!(verdict.reruns.len(), 1, "{verdict:?}");
    verdict.reruns.keys().next().unwrap()
}

#[test]
fn a_second_execution_without_any_fault_is_unexplained() {
    let verdict = twice(|_| {});
    assert_eq!(verdict.classes(), [(Class::Unexplained, 1)].into());
}

#[test]
fn the_end_of_its_worker_explains_it_unless_it_comes_later() {
    assert_eq!(
        explained_as(&twice(|scene| scene.kill(1, 2_500))),
        "its worker ended"
    );
    let verdict = twice(|scene| scene.kill(1, 3_500));
    assert_eq!(verdict.classes(), [(Class::Unexplained, 1)].into());
    let verdict = twice(|scene| scene.kill(3, 2_500));
    assert_eq!(
        verdict.classes(),
        [(Class::Unexplained, 1)].into(),
        "another's"
    );
}

#[test]
fn a_long_silence_of_its_worker_explains_it_and_a_short_one_does_not() {
    let own = worker(1).place;
    let stop =
        |span: u64| twice(|scene| scene.fault(Fault::Stop(own, ms(span)), 1_500..1_500 + span));
    assert_eq!(explained_as(&stop(1_400)), "a worker was silent");
    // It is on the path, so that it is not called unexplained; but the worker was well.
    let short = stop(600);
    assert_eq!(short.warnings.len(), 1, "{short:?}");
    assert_eq!(short.warnings[0].class, Class::Disturbed);
    let later = twice(|scene| scene.fault(Fault::Stop(own, ms(4_000)), 2_900..6_900));
    assert_eq!(
        later.warnings[0].class,
        Class::Disturbed,
        "0.1 s of it came before"
    );
}

#[test]
fn silences_add_up_when_no_heartbeat_fits_between() {
    let own = worker(1).place;
    let two = |second: u64| {
        twice(|scene| {
            scene.fault(Fault::Stop(own, ms(500)), 1_200..1_700);
            scene.0.gaps.push((own, span(second..second + 500)));
        })
    };
    assert_eq!(explained_as(&two(2_000)), "a worker was silent");
    assert_eq!(two(2_300).warnings[0].class, Class::Disturbed);
}

#[test]
fn only_what_comes_from_a_worker_silences_it() {
    let own = worker(1).place;
    let stall = |way| twice(|scene| scene.fault(Fault::Stall(own, way, ms(1_500)), 1_200..2_700));
    assert_eq!(explained_as(&stall(Direction::Up)), "a worker was silent");
    assert_eq!(explained_as(&stall(Direction::Both)), "a worker was silent");
    assert_eq!(stall(Direction::Down).warnings[0].class, Class::Disturbed);
}

#[test]
fn a_worker_that_begins_late_what_it_was_given_first_explains_it() {
    let other = worker(2).place;
    let verdict = twice(|scene| scene.fault(Fault::Stop(other, ms(2_900)), 0..2_900));
    assert_eq!(explained_as(&verdict), "a worker was silent");
}

#[test]
fn a_machine_that_stood_still_explains_it() {
    let verdict = twice(|scene| scene.0.machine_stalls.push(span(1_500..2_600)));
    assert_eq!(explained_as(&verdict), "a worker was silent");
}

#[test]
fn faults_of_the_path_explain_it_but_not_that_a_healthy_worker_was_disturbed() {
    let leader = place(Role::Scheduler, 1);
    let faults = [
        Fault::Kill(leader),
        Fault::StepDownStream("ROTA_READY"),
        Fault::KillServer(Which::Number(1), ms(100)),
        Fault::Cut(worker(2).place, ms(10)),
    ];
    for fault in faults {
        let verdict = twice(|scene| scene.fault(fault.clone(), 2_500..2_510));
        assert_eq!(verdict.warnings[0].class, Class::Disturbed, "{fault}");
        let verdict = twice(|scene| {
            scene.0.executions[0].end = Some((at(2_000), DONE));
            scene.fault(fault.clone(), 2_500..2_510);
        });
        assert_eq!(explained_as(&verdict), "only its path failed", "{fault}");
    }
    for fault in [
        Fault::Kill(place(Role::Monitor, 1)),
        Fault::Cut(worker(3).place, ms(10)),
    ] {
        let verdict = twice(|scene| scene.fault(fault.clone(), 2_500..2_510));
        assert_eq!(
            verdict.classes(),
            [(Class::Unexplained, 1)].into(),
            "{fault}"
        );
    }
    let verdict = twice(|scene| {
        scene.fault(Fault::StepDownStream("ROTA_READY"), 2_500..2_510);
        scene.0.faults[0].skipped = Some("nobody was told".to_owned());
    });
    assert_eq!(
        verdict.classes(),
        [(Class::Unexplained, 1)].into(),
        "not done"
    );
}

#[test]
fn whoever_is_strict_takes_a_disturbed_task_for_a_violation() {
    let mut scene = Scene::new(0);
    scene.ran(1, 1, 1_000..5_000, DONE);
    scene.ran(2, 1, 3_000..7_000, DONE);
    scene.result("t", "completed", 1, 5_010);
    scene.fault(Fault::StepDownStream("ROTA_READY"), 2_500..2_510);
    let rules = Rules {
        disturbed: Severity::Violation,
        ..Rules::default()
    };
    let verdict = judge(&scene.0, &rules);
    assert_eq!(verdict.classes(), [(Class::Disturbed, 1)].into());
}

#[test]
fn what_begins_after_the_result_is_found_unless_its_worker_was_silent() {
    let late = |hurt: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::ended_well(0);
        scene.kill(2, 500);
        scene.ran(3, 1, 3_000..3_050, DONE);
        hurt(&mut scene);
        scene.classes()
    };
    assert_eq!(late(&|_| {}), [Class::AfterResult]);
    let own = worker(3).place;
    let silent = |scene: &mut Scene| scene.fault(Fault::Stop(own, ms(2_900)), 50..2_950);
    assert_eq!(late(&silent), []);
}

#[test]
fn what_is_left_in_a_stream_is_found() {
    let left = |messages, unacked| {
        let mut scene = Scene::ended_well(0);
        let stream = "ROTA_READY".to_owned();
        scene.0.left.push(Left {
            stream,
            messages,
            unacked,
            ids: Vec::new(),
        });
        scene.classes()
    };
    assert_eq!(left(Some(0), 0), []);
    assert_eq!(left(Some(1), 0), [Class::Left]);
    assert_eq!(left(Some(0), 1), [Class::Left]);
    assert_eq!(left(None, 0), [Class::Left]);
}

#[test]
fn a_dead_letter_of_a_task_that_did_not_fail_is_found() {
    let mut scene = Scene::ended_well(0);
    scene.0.dead.push("t".to_owned());
    assert_eq!(scene.classes(), [Class::DeadLetters]);
}

#[test]
fn what_a_process_leaves_uses_or_dies_of_is_found() {
    let mut scene = Scene::ended_well(0);
    scene.0.leftovers.push(Leftover {
        worker: worker(1),
        pid: 7,
        task: "t".to_owned(),
        after: ms(2_500),
    });
    scene.0.panics.push((worker(1), "panicked".to_owned()));
    scene.0.lives.get_mut(&worker(2)).unwrap().peak_bytes = 301 << 20;
    let crashed = scene.0.lives.get_mut(&worker(3)).unwrap();
    crashed.ended = Some(at(50));
    crashed.how = "exit status: 1".to_owned();
    let found = [
        Class::LeftBehind,
        Class::Memory,
        Class::Panic,
        Class::Crashed,
    ];
    assert_eq!(scene.classes(), found);
    let without_server = scene.0.lives.get_mut(&worker(3)).unwrap();
    without_server.how = "exit status: 69".to_owned();
    assert!(!scene.classes().contains(&Class::Crashed));
    for life in scene.0.lives.values_mut() {
        life.old = true;
    }
    assert_eq!(scene.classes(), [], "of the older release");
}

#[test]
fn lines_that_are_repeated_are_told_once_for_each_message_with_all_their_times() {
    let mut scene = Scene::ended_well(0);
    for number in 1..=2 {
        let line = format!("trying again task={number} error=\"it is late\"");
        scene.repeated(worker(number), line);
    }
    let verdict = scene.verdict();
    assert_eq!(verdict.classes(), [(Class::Repeated, 1)].into());
    let what = &verdict.violations[0].what;
    assert!(what.starts_with("6 times"), "{what}");
}

#[test]
fn what_the_monitor_repeats_is_apart_and_only_told_of_unless_the_rules_are_strict() {
    let mut scene = Scene::ended_well(0);
    let monitor = Life {
        place: place(Role::Monitor, 1),
        number: 1,
    };
    scene.repeated(monitor, "worker joined worker=a".to_owned());
    let verdict = scene.verdict();
    assert_eq!((verdict.violations.len(), verdict.warnings.len()), (0, 1));
    scene.repeated(worker(1), "worker joined worker=a".to_owned());
    assert_eq!(scene.verdict().violations.len(), 1, "of another service");
    let strict = Rules {
        monitor_repeats: Severity::Violation,
        ..Rules::default()
    };
    assert_eq!(judge(&scene.0, &strict).violations.len(), 2);
}

#[test]
fn the_time_from_a_death_to_what_follows_is_measured() {
    let mut scene = Scene::new(0);
    scene.began(1, 1, 1_000);
    scene.ran(2, 1, 2_070..2_100, DONE);
    scene.kill(1, 2_000);
    let leader = Life {
        place: place(Role::Scheduler, 1),
        number: 1,
    };
    scene.0.leaders.push((at(10), leader));
    let mut killed = life();
    killed.told = Some((at(1_900), Told::Kill));
    scene.0.lives.insert(leader, killed);
    let timings = scene.verdict().timings;
    let spans =
        |waits: &[Wait]| -> Vec<Duration> { waits.iter().map(|wait| wait.span.length()).collect() };
    assert_eq!(spans(&timings.worker_killed), [ms(70)]);
    assert_eq!(spans(&timings.leader_killed), [ms(170)]);
    let wait = &timings.worker_killed[0];
    assert_eq!((wait.dead, wait.worker), (worker(1), worker(2)));
}
