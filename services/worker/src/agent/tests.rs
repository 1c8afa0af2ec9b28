//! The rules of delivery on the worker's side, one by one.

mod properties;
mod room;
mod standstill;
mod withdrawing;

use bytes::Bytes;
use rota_wire::dispatch::{Failure, Input, Retry};
use rota_wire::fleet::{Heartbeat, Held, HeldTask, KindCapacity, RollCall, Stage, WorkerState};
use rota_wire::{Delivery, Dialect, Label, Micros, Priority, Resources, Term, WorkerId};

use super::leaving::SETTLE_WAIT;
use super::*;

const GRACE: Duration = Duration::from_secs(10);
const STOP_WAIT: Duration = Duration::from_secs(8);
const PAYLOAD_MAX: usize = 1024 * 1024;
const INTERVAL: Duration = Duration::from_millis(500);
/// What each attempt says that it ran.
const RAN: Span = Span::from_ms(1_234);

/// An agent with a clock that the test turns, and what it said since it was last asked.
struct Bench {
    agent: Agent,
    now: Duration,
    frames: u64,
    /// What stands in the lease.
    leads: Term,
    said: Vec<Action>,
}

impl Bench {
    fn new(slots: u32) -> Self {
        let capacity = |(kind, concurrency)| KindCapacity {
            kind: Kind::parse(kind).expect("good"),
            concurrency,
        };
        let profile = Profile {
            worker: worker(),
            started: Micros(1),
            interval: Span::from_ms(500),
            slots,
            kinds: [("a", None), ("single", Some(1))].map(capacity).into(),
            resources: Resources::NONE,
            labels: vec![label("gpu")],
        };
        let mut bench = Self {
            agent: Agent::new(profile, STOP_WAIT, PAYLOAD_MAX),
            now: Duration::ZERO,
            frames: 0,
            leads: Term(1),
            said: Vec::new(),
        };
        // Read once before anything else, as the shell does.
        bench.tell(Event::LeaderRead(Some(leader(Term(1)))));
        bench.end_turn();
        bench.said.clear();
        bench
    }

    fn tell(&mut self, event: Event) {
        self.agent.handle_event(self.now, event, &mut self.said);
        if let Some(asked) = self.said.iter().position(|said| *said == Action::AskLeader) {
            self.said.remove(asked);
            let leader = leader(self.leads);
            self.tell(Event::LeaderRead(Some(leader)));
        }
    }

    fn end_turn(&mut self) {
        self.agent.end_turn(self.now, &mut self.said);
    }

    /// Lets time pass, each deadline being a turn of its own.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self.agent.next_deadline()
            && deadline <= end
        {
            self.now = self.now.max(deadline);
            self.agent.handle_timeout(self.now, &mut self.said);
            self.end_turn();
        }
        self.now = end;
    }

    /// One frame as the scheduler of a term sends it.
    fn frame(&mut self, term: u64, settled: &[u64], revoked: &[Holding], tasks: Vec<Assignment>) {
        self.frames += 1;
        self.leads = self.leads.max(Term(term));
        let mark = mark(term, self.frames);
        self.tell(Event::Assigned(Assign {
            settled: settled.to_vec(),
            revoked: revoked.to_vec(),
            tasks,
            ..empty(mark)
        }));
        self.end_turn();
    }

    /// One frame of the first term that suspends, resumes and assigns.
    fn switch(&mut self, suspended: &[u64], resumed: &[u64], assigned: &[u64]) {
        self.frames += 1;
        let mark = mark(1, self.frames);
        let holdings = |seqs: &[u64]| seqs.iter().map(|seq| holding(1, *seq)).collect();
        let tasks = assigned.iter().map(|seq| assignment("a", holding(1, *seq)));
        self.tell(Event::Assigned(Assign {
            suspended: holdings(suspended),
            resumed: holdings(resumed),
            tasks: tasks.collect(),
            ..empty(mark)
        }));
        self.end_turn();
    }

    fn assign(&mut self, seqs: impl IntoIterator<Item = u64>) {
        let tasks = seqs.into_iter().map(|seq| assignment("a", holding(1, seq)));
        let tasks = tasks.collect();
        self.frame(1, &[], &[], tasks);
    }

    fn end(&mut self, attempt: u64, end: AttemptEnd) {
        let attempt = AttemptNumber(attempt);
        self.tell(Event::AttemptEnded {
            attempt,
            ran: RAN,
            end,
        });
        self.end_turn();
    }

    fn complete(&mut self, attempt: u64) {
        self.end(attempt, AttemptEnd::Ended(Ending::Stored));
    }

    fn roll_call(&mut self, term: u64) {
        self.leads = self.leads.max(Term(term));
        self.tell(Event::RollCalled(RollCall { term: Term(term) }));
        self.end_turn();
    }

    fn drain(&mut self) {
        self.tell(Event::DrainBegun { grace: GRACE });
        self.end_turn();
    }

    fn said(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.said)
    }

    /// Sequences of what was started since the last look, in order.
    fn started(&mut self) -> Vec<u64> {
        let seq = |action| match action {
            Action::Start { assignment, .. } => Some(assignment.holding.delivery.seq),
            _ => None,
        };
        self.said().into_iter().filter_map(seq).collect()
    }

    fn stopped(&mut self) -> Vec<u64> {
        let number = |action| match action {
            Action::Stop(AttemptNumber(number)) => Some(number),
            _ => None,
        };
        self.said().into_iter().filter_map(number).collect()
    }

    fn reported(&mut self) -> Vec<Outcome> {
        outcomes(self.said())
    }

    /// What a heartbeat would list now, by sequence.
    fn held(&self) -> Vec<(u64, Stage)> {
        let held = self.agent.list_held(self.now).into_iter();
        held.map(|held| (held.holding.delivery.seq, held.stage))
            .collect()
    }
}

/// The name of a task of kind `a` as heartbeats tell it.
fn name(seq: u64, priority: Priority, attempt: u32) -> HeldTask {
    HeldTask {
        id: TaskId::from_sequence(seq),
        lane: Lane {
            kind: Kind::parse("a").expect("good"),
            priority,
        },
        attempt,
    }
}

fn leader(term: Term) -> Leader {
    let dialect = Dialect::V2;
    Leader { term, dialect }
}

fn worker() -> WorkerId {
    WorkerId::parse("w-1").expect("good")
}

fn mark(term: u64, number: u64) -> FrameMark {
    let term = Term(term);
    FrameMark { term, number }
}

fn empty(mark: FrameMark) -> Assign {
    Assign {
        mark,
        settled: Vec::new(),
        revoked: Vec::new(),
        suspended: Vec::new(),
        resumed: Vec::new(),
        tasks: Vec::new(),
    }
}

fn label(text: &str) -> Label {
    text.parse().expect("good")
}

fn holding(term: u64, seq: u64) -> Holding {
    counted(term, seq, 1)
}

fn counted(term: u64, seq: u64, count: u32) -> Holding {
    Holding {
        term: Term(term),
        delivery: Delivery { seq, count },
    }
}

fn assignment(kind: &str, holding: Holding) -> Assignment {
    Assignment {
        holding,
        id: TaskId::from_sequence(holding.delivery.seq),
        kind: Kind::parse(kind).expect("good"),
        attempt: 1,
        timeout: Span::from_secs(60),
        estimate: None,
        submitted: Micros(1),
        traceparent: None,
        priority: Some(Priority::default()),
        input: Input::Inline(Bytes::from_static(b"input")),
    }
}

fn failed() -> AttemptEnd {
    AttemptEnd::Ended(Ending::Failed(Failure {
        retry: Retry::Later,
        reason: "exit 3".to_owned(),
        exit: Some("3".to_owned()),
        stderr_tail: String::new(),
        started: Micros(1),
        finished: Micros(2),
    }))
}

fn outcomes(actions: Vec<Action>) -> Vec<Outcome> {
    let reported = actions.into_iter().filter_map(|action| match action {
        Action::Report(report) => Some(report.outcomes),
        _ => None,
    });
    reported.flatten().collect()
}

fn beats(actions: &[Action]) -> Vec<&Heartbeat> {
    let mut beats = Vec::new();
    for action in actions {
        if let Action::Beat(heartbeat) = action {
            beats.push(heartbeat);
        }
    }
    beats
}

fn is_returned(outcome: &Outcome) -> bool {
    matches!(outcome.ending, Ending::Returned { .. })
}

#[test]
fn an_assigned_task_runs_and_its_end_is_reported_until_it_is_settled() {
    let mut bench = Bench::new(2);
    bench.assign([7]);
    assert_eq!(bench.started(), [7]);
    assert_eq!(bench.held(), [(7, Stage::Running)]);
    bench.complete(1);
    let reported = bench.reported();
    assert_eq!(reported.len(), 1);
    assert_eq!(
        (reported[0].holding, reported[0].ran, &reported[0].ending),
        (holding(1, 7), RAN, &Ending::Stored)
    );
    assert_eq!(bench.held(), [(7, Stage::Ended)]);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.reported(), reported, "it is repeated as it was");
    }
    bench.frame(1, &[reported[0].number], &[], Vec::new());
    assert_eq!(bench.held(), []);
    bench.said();
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.reported(), [], "settled outcomes are not repeated");
}

#[test]
fn outcomes_of_one_turn_travel_in_one_frame() {
    let mut bench = Bench::new(3);
    bench.assign([1, 2, 3]);
    bench.said();
    for attempt in 1..=3 {
        let attempt = AttemptNumber(attempt);
        let end = AttemptEnd::Ended(Ending::Stored);
        let ran = RAN;
        bench.tell(Event::AttemptEnded { attempt, ran, end });
    }
    bench.end_turn();
    let said = bench.said();
    let frames = said
        .iter()
        .filter(|action| matches!(action, Action::Report(_)));
    assert_eq!(frames.count(), 1);
    assert_eq!(outcomes(said).len(), 3);
}

#[test]
fn a_frame_of_an_older_term_has_no_effect_at_all() {
    let mut bench = Bench::new(2);
    bench.frame(5, &[], &[], vec![assignment("a", holding(5, 1))]);
    bench.complete(1);
    let number = bench.reported()[0].number;
    bench.frame(
        4,
        &[number],
        &[holding(5, 1)],
        vec![assignment("a", holding(4, 2))],
    );
    assert_eq!(
        bench.said(),
        [Action::Note(Note::NotLeading {
            found: Term(4),
            leads: Some(Term(5))
        })]
    );
    assert_eq!(bench.held(), [(1, Stage::Ended)]);
    assert_eq!(bench.agent.seen, Some(mark(5, 1)));
}

#[test]
fn a_roll_call_is_answered_with_a_heartbeat_and_all_that_is_not_settled() {
    let mut bench = Bench::new(2);
    bench.assign([1, 2]);
    bench.complete(1);
    let before = bench.reported();
    bench.roll_call(9);
    let said = bench.said();
    let held = &beats(&said)[0].held;
    assert_eq!(
        held.iter()
            .map(|held| (held.holding, held.stage))
            .collect::<Vec<_>>(),
        [
            (holding(1, 1), Stage::Ended),
            (holding(1, 2), Stage::Running)
        ]
    );
    assert_eq!(outcomes(said), before);
    bench.assign([3]);
    assert_eq!(
        bench.started(),
        [] as [u64; 0],
        "the old leader is refused from now on"
    );
}

#[test]
fn a_roll_call_of_an_older_term_is_not_answered_but_a_repeated_one_is() {
    let mut bench = Bench::new(1);
    bench.roll_call(9);
    bench.said();
    bench.roll_call(8);
    assert_eq!(beats(&bench.said()), [] as [&Heartbeat; 0]);
    bench.roll_call(9);
    assert_eq!(beats(&bench.said()).len(), 1);
}

#[test]
fn a_frame_of_a_term_that_nobody_won_does_not_turn_the_worker_from_its_leader() {
    let mut bench = Bench::new(2);
    bench.assign([1]);
    bench.said();
    bench.tell(Event::RollCalled(RollCall { term: Term(100) }));
    bench.end_turn();
    assert_eq!(beats(&bench.said()), [] as [&Heartbeat; 0]);
    bench.assign([2]);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn a_worker_follows_a_leader_whose_terms_began_anew() {
    let mut bench = Bench::new(2);
    bench.roll_call(500);
    bench.leads = Term(0);
    bench.frame(3, &[], &[], vec![assignment("a", holding(3, 1))]);
    assert_eq!(bench.started(), [1]);
    assert_eq!(bench.agent.seen, Some(mark(3, 1)));
}

#[test]
fn frames_wait_in_order_while_the_lease_is_read_and_the_former_leader_is_followed_if_it_cannot_be()
{
    let mut bench = Bench::new(4);
    bench.assign([1]);
    bench.said();
    let frame = |number, seq| {
        Event::Assigned(Assign {
            tasks: vec![assignment("a", holding(7, seq))],
            ..empty(mark(7, number))
        })
    };
    let now = bench.now;
    let Bench { agent, said, .. } = &mut bench;
    agent.handle_event(now, frame(1, 2), said);
    agent.handle_event(now, frame(2, 3), said);
    assert_eq!(*said, [Action::AskLeader], "one question for both");
    agent.handle_event(now, Event::LeaderRead(None), said);
    assert_eq!(bench.started(), [] as [u64; 0]);
    bench.assign([4]);
    assert_eq!(bench.started(), [4]);
    let Bench { agent, said, .. } = &mut bench;
    agent.handle_event(now, frame(3, 5), said);
    agent.handle_event(now, frame(4, 6), said);
    agent.handle_event(now, Event::LeaderRead(Some(leader(Term(7)))), said);
    assert_eq!(bench.started(), [5, 6]);
}

#[test]
fn a_heartbeat_comes_at_each_interval_counts_up_and_tells_the_newest_frame() {
    let mut bench = Bench::new(2);
    bench.assign([1]);
    bench.said();
    bench.pass(INTERVAL * 3);
    let said = bench.said();
    let numbers: Vec<_> = beats(&said).iter().map(|beat| beat.number).collect();
    assert_eq!(numbers, [2, 3, 4], "the first was sent at the start");
    let beat = beats(&said)[0];
    assert_eq!(
        (beat.seen, beat.state, beat.slots),
        (Some(mark(1, 1)), WorkerState::Up, 2)
    );
    let (held, stage) = (holding(1, 1), Stage::Running);
    assert_eq!(
        beat.held,
        [Held {
            holding: held,
            stage,
            ran: Span::from_ms(500),
            task: Some(name(1, Priority::default(), 1)),
        }]
    );
    assert_eq!(
        (beat.interval, beat.labels.as_slice()),
        (Span::from_ms(500), &[label("gpu")][..])
    );
}

#[test]
fn a_restored_connection_brings_a_heartbeat_and_all_reports_again() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.complete(1);
    let before = bench.reported();
    bench.tell(Event::LinkRestored);
    bench.end_turn();
    let said = bench.said();
    assert_eq!(beats(&said).len(), 1);
    assert_eq!(outcomes(said), before);
}

#[test]
fn a_gap_in_the_frames_is_answered_with_a_heartbeat_at_once() {
    let mut bench = Bench::new(1);
    bench.assign([]);
    bench.frames += 1;
    bench.said();
    bench.assign([]);
    let said = bench.said();
    assert_eq!(
        said[0],
        Action::Note(Note::FramesMissed {
            expected: 2,
            found: 3
        })
    );
    assert_eq!(beats(&said)[0].seen, Some(mark(1, 3)));
}

#[test]
fn the_same_holding_assigned_twice_runs_once() {
    let mut bench = Bench::new(2);
    bench.assign([1]);
    bench.assign([1]);
    assert_eq!(bench.started(), [1]);
    bench.complete(1);
    assert_eq!(bench.reported().len(), 1);
    bench.assign([1]);
    assert_eq!(bench.started(), [] as [u64; 0], "also when it has ended");
    assert_eq!(bench.held(), [(1, Stage::Ended)]);
}

#[test]
fn a_running_attempt_that_is_assigned_anew_goes_on_and_reports_under_the_new_holding() {
    let mut bench = Bench::new(2);
    bench.assign([1]);
    bench.said();
    let anew = counted(2, 1, 1);
    bench.frame(2, &[], &[], vec![assignment("a", anew)]);
    assert_eq!(bench.started(), [] as [u64; 0]);
    bench.complete(1);
    assert_eq!(bench.reported()[0].holding, anew);
}

#[test]
fn a_waiting_attempt_that_is_assigned_anew_starts_under_the_new_holding() {
    let mut bench = Bench::new(1);
    bench.assign([1, 2]);
    let anew = counted(1, 2, 2);
    bench.frame(1, &[], &[], vec![assignment("a", anew)]);
    bench.said();
    bench.complete(1);
    let started = bench.said().into_iter().find_map(|action| match action {
        Action::Start { assignment, .. } => Some(assignment.holding),
        _ => None,
    });
    assert_eq!(started, Some(anew));
}

#[test]
fn an_ended_attempt_that_is_assigned_anew_is_not_run_again_but_reported_anew() {
    for end in [AttemptEnd::Ended(Ending::Stored), failed()] {
        let mut bench = Bench::new(1);
        bench.assign([1]);
        bench.end(1, end);
        let before = bench.reported().remove(0);
        let anew = counted(2, 1, 1);
        bench.frame(2, &[], &[], vec![assignment("a", anew)]);
        let after = bench.reported();
        assert_eq!(after.len(), 1);
        assert_eq!((after[0].holding, &after[0].ending), (anew, &before.ending));
        assert_ne!(after[0].number, before.number);
        bench.frame(2, &[before.number], &[], Vec::new());
        assert_eq!(
            bench.held(),
            [(1, Stage::Ended)],
            "the old number settles nothing"
        );
    }
}

#[test]
fn what_was_handed_back_and_is_assigned_anew_is_run() {
    let mut bench = Bench::new(1);
    let unknown = assignment("b", holding(1, 1));
    bench.frame(1, &[], &[], vec![unknown]);
    assert!(is_returned(&bench.reported()[0]));
    bench.frame(1, &[], &[], vec![assignment("a", counted(1, 1, 2))]);
    assert_eq!(bench.started(), [1]);
    assert_eq!(bench.held(), [(1, Stage::Running)]);
}

#[test]
fn another_task_under_a_known_sequence_takes_its_place() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    let mut other = assignment("a", counted(1, 1, 2));
    other.id = TaskId::parse("other").expect("good");
    bench.said();
    bench.frame(1, &[], &[], vec![other]);
    assert_eq!(bench.stopped(), [1]);
    bench.end(1, AttemptEnd::Stopped);
    assert_eq!(bench.started(), [1], "once the first has left its slot");
    bench.complete(2);
    assert_eq!(bench.reported().len(), 1);
}

#[test]
fn a_revoked_running_attempt_is_stopped_and_never_spoken_of_again() {
    for end in [
        AttemptEnd::Stopped,
        AttemptEnd::Ended(Ending::Stored),
        failed(),
    ] {
        let mut bench = Bench::new(1);
        bench.assign([1]);
        bench.said();
        bench.frame(1, &[], &[holding(1, 1)], Vec::new());
        assert_eq!(bench.stopped(), [1]);
        assert_eq!(bench.held(), []);
        bench.end(1, end);
        bench.pass(Duration::from_secs(3));
        assert_eq!(bench.reported(), []);
    }
}

#[test]
fn a_revoked_attempt_keeps_its_slot_until_it_has_ended() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.frame(
        1,
        &[],
        &[holding(1, 1)],
        vec![assignment("a", holding(1, 2))],
    );
    assert_eq!(bench.started(), [1]);
    bench.end(1, AttemptEnd::Stopped);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn a_revoked_delivery_that_waits_or_has_ended_vanishes() {
    let mut bench = Bench::new(1);
    bench.assign([1, 2]);
    bench.frame(1, &[], &[holding(1, 2)], Vec::new());
    bench.said();
    bench.complete(1);
    assert_eq!(
        bench.said().len(),
        1,
        "a report, and the second is not started"
    );
    bench.frame(1, &[], &[holding(1, 1)], Vec::new());
    assert_eq!(bench.held(), []);
    bench.said();
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.reported(), []);
}

#[test]
fn the_revocation_of_an_older_holding_does_not_touch_the_newer_one() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.frame(2, &[], &[], vec![assignment("a", holding(2, 1))]);
    bench.said();
    bench.frame(2, &[], &[holding(1, 1)], Vec::new());
    assert_eq!(bench.stopped(), [] as [u64; 0]);
    assert_eq!(bench.held(), [(1, Stage::Running)]);
}

#[test]
fn a_delivery_revoked_and_assigned_in_one_frame_is_run_anew() {
    let mut bench = Bench::new(2);
    bench.assign([1]);
    bench.said();
    bench.frame(
        1,
        &[],
        &[holding(1, 1)],
        vec![assignment("a", counted(1, 1, 2))],
    );
    let said = bench.said();
    assert!(said.contains(&Action::Stop(AttemptNumber(1))));
    assert!(
        said.iter()
            .any(|action| matches!(action, Action::Start { .. }))
    );
    bench.end(1, AttemptEnd::Stopped);
    bench.complete(2);
    assert_eq!(bench.reported()[0].holding, counted(1, 1, 2));
}

#[test]
fn more_than_the_slots_wait_and_begin_in_order() {
    let mut bench = Bench::new(2);
    bench.assign([5, 3, 4, 1]);
    assert_eq!(bench.started(), [5, 3]);
    assert_eq!(bench.held().len(), 4, "what waits is held too");
    bench.complete(1);
    assert_eq!(bench.started(), [4]);
    bench.complete(2);
    assert_eq!(bench.started(), [1]);
}

#[test]
fn a_kind_does_not_run_more_often_at_once_than_its_concurrency() {
    let mut bench = Bench::new(4);
    let single = |seq| assignment("single", holding(1, seq));
    let tasks = vec![single(1), single(2), assignment("a", holding(1, 3))];
    bench.frame(1, &[], &[], tasks);
    assert_eq!(bench.started(), [1, 3]);
    bench.complete(1);
    assert_eq!(bench.started(), [2]);
}

#[test]
fn what_finds_no_room_in_the_queue_is_handed_back() {
    let mut bench = Bench::new(1);
    bench.assign(1..=1 + 66 + 1);
    let reported = bench.reported();
    assert_eq!(reported.len(), 1);
    assert!(is_returned(&reported[0]));
    assert_eq!(reported[0].holding, holding(1, 68));
}

#[test]
fn so_much_that_no_heartbeat_could_list_it_is_not_taken() {
    let mut bench = Bench::new(1);
    let held_max = bench.agent.held_max();
    bench.assign(1..=held_max as u64 + 3);
    assert_eq!(bench.held().len(), held_max);
    let shed = bench.said();
    let shed = shed
        .iter()
        .filter(|action| matches!(action, Action::Note(Note::Shed(_))));
    assert_eq!(shed.count(), 3);
}

#[test]
fn a_stopped_attempt_that_nobody_revoked_is_handed_back() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.end(1, AttemptEnd::Stopped);
    assert!(is_returned(&bench.reported()[0]));
}

#[test]
fn a_drain_is_told_at_once_and_hands_back_what_waits_and_what_comes() {
    let mut bench = Bench::new(1);
    bench.assign([1, 2]);
    bench.said();
    bench.drain();
    let said = bench.said();
    assert_eq!(beats(&said)[0].state, WorkerState::Draining);
    let back = outcomes(said);
    assert_eq!(
        (back[0].holding, is_returned(&back[0])),
        (holding(1, 2), true)
    );
    bench.assign([3]);
    let back = bench.reported();
    assert_eq!(
        (back[0].holding, is_returned(&back[0])),
        (holding(1, 3), true)
    );
    assert_eq!(bench.held().len(), 3);
}

#[test]
fn a_drained_worker_that_holds_nothing_says_goodbye_and_leaves() {
    let mut bench = Bench::new(1);
    bench.drain();
    let said = bench.said();
    let states: Vec<_> = beats(&said).iter().map(|beat| beat.state).collect();
    assert_eq!(states, [WorkerState::Draining, WorkerState::Gone]);
    assert_eq!(said.last(), Some(&Action::Leave));
    assert_eq!(bench.agent.next_deadline(), None);
}

#[test]
fn what_ends_within_the_grace_period_is_reported_as_it_ended() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.drain();
    bench.pass(GRACE - Duration::from_millis(1));
    assert_eq!(bench.stopped(), [] as [u64; 0]);
    bench.complete(1);
    let reported = bench.reported();
    assert_eq!(reported[0].ending, Ending::Stored);
    bench.frame(1, &[reported[0].number], &[], Vec::new());
    let said = bench.said();
    assert_eq!(said.last(), Some(&Action::Leave));
    assert_eq!(beats(&said)[0].held, []);
}

#[test]
fn what_outlasts_the_grace_period_is_stopped_and_handed_back() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.drain();
    bench.pass(GRACE);
    assert_eq!(bench.stopped(), [1]);
    bench.end(1, AttemptEnd::Stopped);
    let reported = bench.reported();
    assert!(is_returned(&reported[0]));
    bench.frame(1, &[reported[0].number], &[], Vec::new());
    assert_eq!(bench.said().last(), Some(&Action::Leave));
}

#[test]
fn what_does_not_even_end_when_killed_is_handed_back_too() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.drain();
    bench.pass(GRACE + STOP_WAIT);
    let reported = bench.reported();
    assert!(is_returned(reported.last().expect("handed back")));
    bench.end(1, AttemptEnd::Stopped);
    assert_eq!(bench.reported(), [], "its late end is nobody's business");
}

#[test]
fn a_worker_that_stops_waits_no_longer_than_three_seconds_to_be_settled() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.drain();
    bench.complete(1);
    bench.said();
    bench.pass(SETTLE_WAIT - Duration::from_millis(1));
    assert!(!bench.said().contains(&Action::Leave));
    bench.pass(Duration::from_millis(1));
    let said = bench.said();
    assert_eq!(said.last(), Some(&Action::Leave));
    let last = *beats(&said).last().expect("a goodbye");
    assert_eq!((last.state, last.held.len()), (WorkerState::Gone, 0));
}

#[test]
fn a_second_drain_does_not_begin_the_grace_period_again() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.drain();
    bench.pass(GRACE / 2);
    bench.drain();
    bench.pass(GRACE / 2);
    assert_eq!(bench.stopped(), [1]);
}

#[test]
fn a_revoked_attempt_that_still_runs_keeps_a_draining_worker() {
    let mut bench = Bench::new(1);
    bench.assign([1]);
    bench.frame(1, &[], &[holding(1, 1)], Vec::new());
    bench.drain();
    assert!(!bench.said().contains(&Action::Leave));
    bench.end(1, AttemptEnd::Stopped);
    assert_eq!(bench.said().last(), Some(&Action::Leave));
}
