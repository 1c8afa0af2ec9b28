//! What may happen, drawn at random. A step names what it is about by a selector that is counted round
//! what there is when its turn comes; a step about nothing is skipped. So any part of a sequence is a
//! sequence, and shrinking works.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;

/// One thing that happens in the world.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// New tasks in a lane. What they need is written in bits, see `World::new_task`.
    Submit {
        lane: u8,
        tasks: u8,
        attempts: u8,
        needs: u8,
    },
    /// A second message of a task that was submitted before, now and then in another lane.
    Resubmit { task: u8, lane: u8 },
    /// The next that is to be done with lanes, or to be told of them, is; or it fails.
    Open { lanes: u8, fate: Fate },
    /// The server hands out messages that were asked for.
    Deliver { lane: u8, messages: u8, fate: Fate },
    /// A pull ends since there is nothing to give.
    EndPull { lane: u8 },
    /// A pull is cut short: a leader steps down.
    CutPull { lane: u8 },
    /// Somebody resets a lane's consumer and tells nobody.
    ResetConsumer { lane: u8 },
    /// A message is taken out of its lane by hand.
    Purge { lane: u8, nth: u8 },
    /// A store that was told to have failed happens all the same.
    LateStore { nth: u8 },
    /// The submitter passes on a retry that is due.
    PassDue { nth: u8, fate: Fate },
    /// A worker that has crashed is told to be dead.
    Obituary { nth: u8 },
    /// The server tells that nobody listened to a frame.
    Unheard { nth: u8, fate: Fate },
    /// A worker is looked for.
    Probe { nth: u8, fate: Fate },
    /// The scheduler stands still for a while, and knows it.
    Stall { ms: u16 },
    /// Nobody has answered deliveries of a lane for too long: they come again.
    AckWait { lane: u8 },
    /// A lane's consumer is gone.
    LoseConsumer { lane: u8, traces: Traces },
    /// So many of the next acks and naks do not reach the server.
    LoseAnswers { answers: u8 },
    /// A worker starts.
    Join { profile: u8 },
    /// A worker sends a heartbeat.
    Beat { worker: u8, road: Road },
    /// Every worker that can sends a heartbeat, and it is heard.
    BeatAll,
    /// A heartbeat that is under way arrives, or does not.
    HearBeat { nth: u8, fate: Fate },
    /// A worker reads what was sent to it, or it is lost.
    Mail {
        worker: u8,
        messages: u8,
        fate: Fate,
    },
    /// An attempt ends.
    Finish { worker: u8, nth: u8, end: End },
    /// A worker reports once more what is not settled.
    Repeat { worker: u8 },
    /// A report that is under way arrives, or does not.
    HearReport { nth: u8, fate: Fate },
    /// A worker is told to stop.
    Drain { worker: u8 },
    /// A worker hands back what it has and says goodbye.
    Leave { worker: u8 },
    /// A worker is no more.
    Crash { worker: u8 },
    /// A worker's network is cut.
    Cut { worker: u8 },
    /// All networks work again.
    Mend,
    /// A look-up is answered, or its answer is lost.
    Look { nth: u8, fate: Fate },
    /// A store is answered.
    Store { nth: u8, fate: StoreFate },
    /// For a moment all goes well: lanes are opened, messages and answers arrive.
    Flow,
    /// Time passes.
    Pass { ms: u16 },
    /// The scheduler dies and another takes over. Of the stores under way some still happen.
    Restart { salt: u8 },
    /// The same, all is well, and every worker answers the roll call in time.
    HandOver,
}

/// A sequence, printed with one step on each line.
#[derive(Clone)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[")?;
        for step in &self.0 {
            writeln!(f, "    Step::{step:?},")?;
        }
        write!(f, "]")
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Twice,
    Lost,
}

/// How a heartbeat travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Road {
    Straight,
    Slow,
}

/// What is left of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traces {
    Kept,
    Gone,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    Failed,
    Fatal,
    HandedBack,
}

/// What becomes of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFate {
    /// It is done and confirmed.
    Done,
    /// It is done; that is told later.
    DoneInSilence,
    /// It is done, and seems to have failed.
    DoneUnheard,
    /// It seems to have failed, and is done later.
    DoneLater,
    /// Of a dead letter and its result only the first is stored.
    Halved,
    /// It is not done.
    Refused,
}

/// Anything that may happen.
pub(crate) fn any_steps(most: usize) -> impl Strategy<Value = Steps> {
    let work = prop_oneof![
        4 => (any::<u8>(), 1..4_u8, 1..4_u8, needs())
            .prop_map(|(lane, tasks, attempts, needs)| Step::Submit { lane, tasks, attempts, needs }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(task, lane)| Step::Resubmit { task, lane }),
        4 => (any::<u8>(), fate()).prop_map(|(nth, fate)| Step::PassDue { nth, fate }),
        9 => (any::<u8>(), 1..6_u8, fate())
            .prop_map(|(lane, messages, fate)| Step::Deliver { lane, messages, fate }),
        10 => (any::<u8>(), any::<u8>(), end())
            .prop_map(|(worker, nth, end)| Step::Finish { worker, nth, end }),
        6 => (any::<u8>(), fate()).prop_map(|(nth, fate)| Step::Look { nth, fate }),
        5 => (any::<u8>(), store_fate()).prop_map(|(nth, fate)| Step::Store { nth, fate }),
    ];
    let talk = prop_oneof![
        3 => any::<u8>().prop_map(|profile| Step::Join { profile }),
        4 => (any::<u8>(), road()).prop_map(|(worker, road)| Step::Beat { worker, road }),
        5 => Just(Step::BeatAll),
        2 => (any::<u8>(), fate()).prop_map(|(nth, fate)| Step::HearBeat { nth, fate }),
        12 => (any::<u8>(), 1..5_u8, fate())
            .prop_map(|(worker, messages, fate)| Step::Mail { worker, messages, fate }),
        2 => any::<u8>().prop_map(|worker| Step::Repeat { worker }),
        6 => (any::<u8>(), fate()).prop_map(|(nth, fate)| Step::HearReport { nth, fate }),
    ];
    let trouble = prop_oneof![
        1 => any::<u8>().prop_map(|lane| Step::AckWait { lane }),
        1 => (any::<u8>(), traces())
            .prop_map(|(lane, traces)| Step::LoseConsumer { lane, traces }),
        1 => (1..3_u8).prop_map(|answers| Step::LoseAnswers { answers }),
        1 => any::<u8>().prop_map(|lane| Step::ResetConsumer { lane }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(lane, nth)| Step::Purge { lane, nth }),
        3 => any::<u8>().prop_map(|nth| Step::LateStore { nth }),
        2 => (0..5_000_u16).prop_map(|ms| Step::Stall { ms }),
        1 => any::<u8>().prop_map(|worker| Step::Drain { worker }),
        1 => any::<u8>().prop_map(|worker| Step::Leave { worker }),
        2 => any::<u8>().prop_map(|worker| Step::Crash { worker }),
        1 => any::<u8>().prop_map(|nth| Step::Obituary { nth }),
        1 => (any::<u8>(), fate()).prop_map(|(nth, fate)| Step::Unheard { nth, fate }),
        2 => (any::<u8>(), fate()).prop_map(|(nth, fate)| Step::Probe { nth, fate }),
        2 => any::<u8>().prop_map(|worker| Step::Cut { worker }),
        2 => Just(Step::Mend),
    ];
    let rest = prop_oneof![
        6 => (1..6_u8, fate()).prop_map(|(lanes, fate)| Step::Open { lanes, fate }),
        2 => any::<u8>().prop_map(|lane| Step::EndPull { lane }),
        1 => any::<u8>().prop_map(|lane| Step::CutPull { lane }),
        6 => (0..1_000_u16).prop_map(|ms| Step::Pass { ms }),
    ];
    let replaced = prop_oneof![
        2 => any::<u8>().prop_map(|salt| Step::Restart { salt }),
        1 => Just(Step::HandOver),
    ];
    let step = prop_oneof![80 => work, 64 => talk, 10 => trouble, 24 => rest, 2 => replaced];
    vec(prop_oneof![14 => step, 1 => Just(Step::Flow)], 0..most).prop_map(Steps)
}

/// What happens where nothing is lost and nobody dies: the scheduler is replaced or stands still now and then,
/// pulls are cut, and lanes can not be opened at once.
pub(crate) fn peaceful_steps(most: usize) -> impl Strategy<Value = Steps> {
    let end = prop_oneof![
        6 => Just(End::Completed),
        1 => Just(End::Fatal),
        1 => Just(End::HandedBack),
    ];
    let fate = Fate::Arrives;
    let step = prop_oneof![
        4 => (any::<u8>(), 1..4_u8, needs())
            .prop_map(|(lane, tasks, needs)| Step::Submit { lane, tasks, attempts: 1, needs }),
        6 => (any::<u8>(), 1..6_u8)
            .prop_map(move |(lane, messages)| Step::Deliver { lane, messages, fate }),
        6 => (any::<u8>(), any::<u8>(), end)
            .prop_map(|(worker, nth, end)| Step::Finish { worker, nth, end }),
        3 => any::<u8>().prop_map(move |nth| Step::Look { nth, fate }),
        2 => any::<u8>().prop_map(|nth| Step::Store { nth, fate: StoreFate::Done }),
        2 => any::<u8>().prop_map(|profile| Step::Join { profile }),
        3 => (any::<u8>(), road()).prop_map(|(worker, road)| Step::Beat { worker, road }),
        2 => any::<u8>().prop_map(move |nth| Step::HearBeat { nth, fate }),
        8 => (any::<u8>(), 1..5_u8)
            .prop_map(move |(worker, messages)| Step::Mail { worker, messages, fate }),
        5 => any::<u8>().prop_map(move |nth| Step::HearReport { nth, fate }),
        1 => any::<u8>().prop_map(|worker| Step::Repeat { worker }),
        4 => (1..6_u8, fate_of_opening())
            .prop_map(|(lanes, fate)| Step::Open { lanes, fate }),
        3 => any::<u8>().prop_map(|lane| Step::EndPull { lane }),
        2 => any::<u8>().prop_map(|lane| Step::CutPull { lane }),
        1 => (0..5_000_u16).prop_map(|ms| Step::Stall { ms }),
        3 => (0..1_500_u16).prop_map(|ms| Step::Pass { ms }),
        2 => Just(Step::Flow),
        2 => Just(Step::HandOver),
    ];
    vec(step, 0..most).prop_map(Steps)
}

/// What happens to a few tasks that fail again and again, while stores come late, messages come twice and look-ups
/// are answered late.
pub(crate) fn retry_steps(most: usize) -> impl Strategy<Value = Steps> {
    let end =
        prop_oneof![1 => Just(End::Completed), 8 => Just(End::Failed), 1 => Just(End::HandedBack)];
    let store = prop_oneof![
        3 => Just(StoreFate::Done),
        3 => Just(StoreFate::DoneInSilence),
        1 => Just(StoreFate::DoneUnheard),
        4 => Just(StoreFate::DoneLater),
    ];
    let look = prop_oneof![3 => Just(Fate::Arrives), 3 => Just(Fate::Twice), 1 => Just(Fate::Lost)];
    let pass = prop_oneof![5 => Just(Fate::Arrives), 1 => Just(Fate::Twice)];
    let fate = Fate::Arrives;
    let step = prop_oneof![
        1 => (0..3_u8).prop_map(|lane| Step::Submit { lane, tasks: 1, attempts: 4, needs: 64 }),
        2 => (0..2_u8, any::<u8>()).prop_map(|(task, lane)| Step::Resubmit { task, lane }),
        8 => any::<u8>().prop_map(move |lane| Step::Deliver { lane, messages: 1, fate }),
        8 => (any::<u8>(), any::<u8>(), end)
            .prop_map(|(worker, nth, end)| Step::Finish { worker, nth, end }),
        6 => (any::<u8>(), look).prop_map(|(nth, fate)| Step::Look { nth, fate }),
        6 => (any::<u8>(), store).prop_map(|(nth, fate)| Step::Store { nth, fate }),
        5 => any::<u8>().prop_map(|nth| Step::LateStore { nth }),
        6 => (any::<u8>(), pass).prop_map(|(nth, fate)| Step::PassDue { nth, fate }),
        5 => any::<u8>().prop_map(move |nth| Step::HearReport { nth, fate }),
        6 => any::<u8>().prop_map(move |worker| Step::Mail { worker, messages: 4, fate }),
        2 => Just(Step::BeatAll),
        3 => (0..700_u16).prop_map(|ms| Step::Pass { ms }),
        2 => (1..4_u8).prop_map(move |lanes| Step::Open { lanes, fate }),
        1 => any::<u8>().prop_map(|lane| Step::ResetConsumer { lane }),
        1 => (1..3_u8).prop_map(|answers| Step::LoseAnswers { answers }),
        1 => any::<u8>().prop_map(|salt| Step::Restart { salt }),
        1 => Just(Step::Flow),
    ];
    vec(step, 0..most).prop_map(Steps)
}

fn needs() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(0), 1 => 0..4_u8, 2 => any::<u8>()]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![12 => Just(Fate::Arrives), 1 => Just(Fate::Twice), 2 => Just(Fate::Lost)]
}

fn fate_of_opening() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Arrives), 1 => Just(Fate::Lost)]
}

fn road() -> impl Strategy<Value = Road> {
    prop_oneof![3 => Just(Road::Straight), 2 => Just(Road::Slow)]
}

fn traces() -> impl Strategy<Value = Traces> {
    prop_oneof![Just(Traces::Kept), Just(Traces::Gone)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Completed),
        3 => Just(End::Failed),
        1 => Just(End::Fatal),
        1 => Just(End::HandedBack),
    ]
}

fn store_fate() -> impl Strategy<Value = StoreFate> {
    prop_oneof![
        4 => Just(StoreFate::Done),
        1 => Just(StoreFate::DoneInSilence),
        1 => Just(StoreFate::DoneUnheard),
        3 => Just(StoreFate::DoneLater),
        1 => Just(StoreFate::Halved),
        1 => Just(StoreFate::Refused),
    ]
}
