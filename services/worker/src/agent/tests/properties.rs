//! Whatever happens to a worker, in any order: what must hold does after each step.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What may happen to a worker, in any order.
#[derive(Debug, Clone)]
enum Step {
    Frame {
        term: u64,
        settle: bool,
        revoke: Option<u64>,
        suspend: Option<u64>,
        resume: Option<u64>,
        assign: Vec<(bool, u64, u32)>,
    },
    End {
        nth: usize,
        how: u8,
    },
    /// A kind that is looked at is found to be fit or not.
    Looked {
        fit: bool,
    },
    RollCall(u64),
    Link,
    Pass(u64),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let tasks = prop::collection::vec((any::<bool>(), 1..12u64, 1..3u32), 0..5);
    let one = || prop::option::of(1..12u64);
    let frame = (1..4u64, any::<bool>(), one(), one(), one(), tasks);
    prop_oneof![
        6 => frame.prop_map(|(term, settle, revoke, suspend, resume, assign)| {
            Step::Frame { term, settle, revoke, suspend, resume, assign }
        }),
        6 => (0..4usize, 0..5u8).prop_map(|(nth, how)| Step::End { nth, how }),
        1 => any::<bool>().prop_map(|fit| Step::Looked { fit }),
        1 => (1..4u64).prop_map(Step::RollCall),
        1 => Just(Step::Link),
        2 => (0..2_000u64).prop_map(Step::Pass),
        1 => Just(Step::Drain),
    ]
}

/// An attempt that was begun.
struct Running {
    attempt: u64,
    kind: Kind,
}

/// The world around an agent: which attempts it was told to run, and what it heard.
struct World {
    bench: Bench,
    running: Vec<Running>,
    /// Attempts that stand still, and those of them that were told to end.
    still: BTreeSet<u64>,
    stopped: BTreeSet<u64>,
    /// Kinds that are looked at.
    asked: Vec<Kind>,
    heard: Vec<u64>,
    last_beat: u64,
    drained: bool,
}

impl World {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Frame {
                term,
                settle,
                revoke,
                suspend,
                resume,
                assign,
            } => {
                let settled = if settle {
                    std::mem::take(&mut self.heard)
                } else {
                    Vec::new()
                };
                let held = |seq| {
                    self.bench
                        .agent
                        .held
                        .get(&ReadySeq(seq))
                        .map(|held| held.holding)
                };
                let [revoked, suspended, resumed] =
                    [revoke, suspend, resume].map(|seq| seq.and_then(held).into_iter().collect());
                let kind = |single| if single { "single" } else { "a" };
                let tasks = assign.into_iter().map(|(single, seq, count)| {
                    assignment(kind(single), counted(term, seq, count))
                });
                self.bench.frames += 1;
                let frame = Assign {
                    settled,
                    revoked,
                    suspended,
                    resumed,
                    tasks: tasks.collect(),
                    ..empty(mark(term, self.bench.frames))
                };
                self.bench.leads = self.bench.leads.max(Term(term));
                self.bench.tell(Event::Assigned(frame));
                self.bench.end_turn();
            }
            Step::End { nth, how } if nth < self.running.len() => self.end(nth, how),
            Step::End { .. } => {}
            Step::Looked { fit } => {
                if let Some(kind) = self.asked.pop() {
                    let unfit = (!fit).then(|| "gone".to_owned());
                    self.bench.tell(Event::Looked { kind, unfit });
                    self.bench.end_turn();
                }
            }
            Step::RollCall(term) => self.bench.roll_call(term),
            Step::Link => {
                self.bench.tell(Event::LinkRestored);
                self.bench.end_turn();
            }
            Step::Pass(ms) => self.bench.pass(Duration::from_millis(ms)),
            Step::Drain => {
                self.drained = true;
                self.bench.drain();
            }
        }
        self.look();
    }

    fn end(&mut self, nth: usize, how: u8) {
        let attempt = self.running.remove(nth).attempt;
        self.still.remove(&attempt);
        let reason = || "gone".to_owned();
        let end = match how {
            0 => AttemptEnd::Stopped,
            1 => AttemptEnd::Ended(Ending::Stored),
            2 => AttemptEnd::Unfit { reason: reason() },
            3 => AttemptEnd::Returned { reason: reason() },
            _ => failed(),
        };
        self.bench.end(attempt, end);
    }

    /// What must hold after each step.
    fn look(&mut self) {
        for action in self.bench.said() {
            match action {
                Action::Start {
                    attempt,
                    assignment,
                } => {
                    assert!(!self.drained, "begun while draining");
                    let (attempt, kind) = (attempt.0, assignment.kind);
                    assert!(self.bench.agent.offer.has(&kind), "it is withdrawn");
                    self.running.push(Running { attempt, kind });
                }
                Action::Suspend(attempt) => {
                    assert!(self.still.insert(attempt.0), "it stands still already");
                }
                Action::Resume(attempt) => {
                    assert!(self.still.remove(&attempt.0), "it runs already");
                    assert!(!self.stopped.contains(&attempt.0), "it is to end");
                }
                Action::Stop(attempt) => drop(self.stopped.insert(attempt.0)),
                Action::Report(report) => {
                    self.heard
                        .extend(report.outcomes.iter().map(|outcome| outcome.number));
                }
                Action::Beat(beat) => {
                    assert_eq!(beat.number, self.last_beat + 1);
                    self.last_beat = beat.number;
                    let kinds = beat.kinds.len() + beat.withdrawn.len();
                    assert_eq!(kinds, 2, "each kind is offered or withdrawn");
                }
                Action::Look(kind) => {
                    assert!(!self.asked.contains(&kind), "one look at a time");
                    self.asked.push(kind);
                }
                Action::AskLeader => panic!("answered at once by the bench"),
                Action::Note(_) | Action::Leave => {}
            }
        }
        if self.bench.agent.phase == Phase::Gone {
            return;
        }
        self.look_at_slots();
        let agent = &self.bench.agent;
        let ended = agent
            .held
            .values()
            .filter(|held| matches!(held.place, Place::Ended(_)));
        let unsettled = ended.count();
        let mut outbox = agent.outbox.clone();
        let next = agent
            .next_deadline()
            .expect("a living worker has a next heartbeat");
        assert!(next <= self.bench.now + INTERVAL || self.bench.now == Duration::ZERO);
        outbox.repeat_all();
        let mut count = 0;
        while let Some(frame) = outbox.take_frame(Duration::ZERO) {
            for outcome in frame {
                count += 1;
                let held = &agent.held[&ReadySeq(outcome.holding.delivery.seq)];
                assert_eq!(
                    held.holding, outcome.holding,
                    "reported under the newest holding"
                );
            }
        }
        assert_eq!(count, unsettled, "each ended delivery has one outcome");
    }

    /// Kinds of what waits for a slot.
    fn waiting(&self) -> Vec<Kind> {
        let agent = &self.bench.agent;
        let waiting = agent.held.values().filter_map(|held| match &held.place {
            Place::Waiting(ticket, assignment) => ticket.map(|_| assignment.kind.clone()),
            Place::Begun(attempt) => match &agent.attempts[attempt] {
                Begun {
                    standing: Standing::Resuming(_),
                    kind,
                    ..
                } => Some(kind.clone()),
                _ => None,
            },
            Place::Ended(_) => None,
        });
        waiting.collect()
    }

    fn look_at_slots(&self) {
        let awake = |running: &&Running| !self.still.contains(&running.attempt);
        let awake: Vec<_> = self.running.iter().filter(awake).collect();
        assert!(awake.len() <= 3, "more run than slots");
        let single = awake.iter().filter(|one| one.kind.as_str() == "single");
        let single = single.count();
        assert!(single <= 1, "more of a kind run than may");
        for kind in self.waiting() {
            let may_run = kind.as_str() != "single" || single == 0;
            assert!(awake.len() == 3 || !may_run, "a slot is left idle");
        }
        let agent = &self.bench.agent;
        if self.drained {
            assert!(self.still.is_subset(&self.stopped), "who resumes them?");
        }
        for held in agent.list_held(self.bench.now) {
            let place = &agent.held[&ReadySeq(held.holding.delivery.seq)].place;
            if let Place::Begun(AttemptNumber(attempt)) = place {
                let may_be_still = self.still.contains(attempt);
                assert!(held.stage != Stage::Suspended || may_be_still, "{held:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_what_must_hold_does_and_a_drained_worker_leaves(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut world = World {
            bench: Bench::new(3),
            running: Vec::new(),
            still: BTreeSet::new(),
            stopped: BTreeSet::new(),
            asked: Vec::new(),
            heard: Vec::new(),
            last_beat: 1,
            drained: false,
        };
        for step in steps {
            world.apply(step);
        }
        world.apply(Step::Drain);
        world.bench.pass(GRACE + STOP_WAIT + SETTLE_WAIT);
        prop_assert_eq!(world.bench.agent.phase, Phase::Gone);
    }
}
