//! Lanes that flow, by what comes of them and what is read in them.

use rota_wire::{Kind, Priority};

use super::*;

struct Rig {
    flow: Flow,
    lane: Lane,
    now: Instant,
    custody: BTreeMap<u64, Custody>,
}

fn lane(kind: &str) -> Lane {
    Lane {
        kind: Kind::parse(kind).expect("good"),
        priority: Priority::default(),
    }
}

impl Rig {
    /// Messages 1 to 9 have come.
    fn new() -> Self {
        let mut rig = Self {
            flow: Flow::default(),
            lane: lane("mail"),
            now: Instant::now(),
            custody: BTreeMap::new(),
        };
        rig.flow.opened(&rig.lane);
        for seq in 1..=9 {
            rig.comes(seq);
        }
        rig
    }

    fn comes(&mut self, seq: u64) {
        self.flow.came(&self.lane, seq, self.now);
        self.custody.insert(seq, Custody::Held);
    }

    fn is_acked(&mut self, seq: u64) {
        self.custody.remove(&seq);
    }

    fn passes(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn is_read(&mut self, found: &[u64]) {
        let custody = |seq| self.custody.get(&seq).copied().unwrap_or(Custody::Unknown);
        let reading = Reading {
            lane: self.lane.clone(),
            found: found.to_vec(),
            next: None,
        };
        self.flow.read(vec![reading], custody, self.now);
    }

    fn due(&mut self) -> Vec<(u64, Remedy)> {
        let custody = |seq| self.custody.get(&seq).copied().unwrap_or(Custody::Unknown);
        let due = self.flow.take_due(custody, self.now).into_iter();
        due.map(|(_, seq, remedy)| (seq, remedy)).collect()
    }

    fn is_called_back(&mut self, seq: u64) {
        self.flow.called(seq, self.now);
        self.custody.insert(seq, Custody::GivenBack(self.now));
    }
}

#[test]
fn what_nobody_has_is_called_back_and_settled_as_a_stray_if_it_does_not_come() {
    let mut rig = Rig::new();
    rig.is_acked(3);
    rig.is_read(&[3, 4, 9]);
    rig.passes(4);
    assert_eq!(rig.due(), [], "its ack may be on its way");
    rig.passes(1);
    assert_eq!(rig.due(), [(3, Remedy::CallBack)]);
    rig.is_called_back(3);
    rig.passes(60);
    assert_eq!(rig.due(), [], "nothing was asked of the lane since");
    rig.comes(10);
    assert_eq!(rig.due(), [(3, Remedy::CallBack)]);
    rig.is_called_back(3);
    rig.passes(5);
    rig.comes(11);
    assert_eq!(rig.due(), [(3, Remedy::SettleStray)]);
}

#[test]
fn what_comes_when_it_is_called_back_is_no_suspect_any_more() {
    let mut rig = Rig::new();
    rig.is_acked(3);
    rig.is_read(&[3]);
    rig.passes(5);
    assert_eq!(rig.due(), [(3, Remedy::CallBack)]);
    rig.is_called_back(3);
    rig.comes(3);
    rig.passes(60);
    rig.comes(10);
    assert_eq!(rig.due(), []);
    rig.is_acked(3);
    assert_eq!(rig.due(), [], "and begins from the beginning");
}

#[test]
fn what_is_held_or_on_its_way_is_no_suspect() {
    let mut rig = Rig::new();
    rig.is_acked(5);
    // Five is acked when it is looked at again, and eleven was not handed out when the lane was read.
    rig.is_read(&[1, 5, 11]);
    rig.passes(5);
    rig.flow.clear(5);
    rig.comes(12);
    assert_eq!(rig.due(), []);
}

#[test]
fn what_was_given_back_is_lost_only_when_newer_ones_come_before_it() {
    let mut rig = Rig::new();
    rig.custody.insert(3, Custody::GivenBack(rig.now));
    rig.passes(100);
    rig.is_read(&[3]);
    rig.passes(100);
    assert_eq!(rig.due(), [], "nobody asks the lane for anything");
    rig.comes(2);
    rig.is_read(&[3]);
    rig.passes(5);
    assert_eq!(rig.due(), [], "another one comes again");
    rig.comes(10);
    rig.is_read(&[3]);
    rig.passes(5);
    assert_eq!(rig.due(), [(3, Remedy::CallBack)]);
}

#[test]
fn what_comes_again_of_a_lane_opened_anew_is_no_suspect() {
    let mut rig = Rig::new();
    rig.is_acked(3);
    rig.is_read(&[3]);
    rig.flow.opened(&rig.lane);
    rig.is_read(&[3]);
    rig.passes(60);
    assert_eq!(rig.due(), []);
    rig.flow.closed(&rig.lane);
    rig.is_read(&[3]);
    assert_eq!(rig.due(), []);
}

#[test]
fn lanes_that_flow_are_read_in_turn_and_one_reading_at_a_time() {
    let mut flow = Flow::default();
    let now = Instant::now();
    let lanes: Vec<Lane> = (0..20).map(|n| lane(&format!("k{n:02}"))).collect();
    for (number, lane) in lanes.iter().enumerate() {
        flow.opened(lane);
        if number < 12 {
            flow.came(lane, 7, now);
        }
    }
    let mut seen = BTreeSet::new();
    let except = BTreeSet::from([lanes[0].clone()]);
    for _ in 0..2 {
        let stretches = flow.begin_reading(&except, now).expect("lanes flow");
        assert!(stretches.len() <= LANES_MAX);
        assert!(
            flow.begin_reading(&except, now).is_none(),
            "one is under way"
        );
        let readings = stretches.into_iter().map(|Stretch { lane, from, to }| {
            let is_first = seen.insert(lane.clone());
            assert_eq!((from, to), (if is_first { 1 } else { 5 }, 7));
            let (found, next) = (Vec::new(), Some(5));
            Reading { lane, found, next }
        });
        let readings = readings.collect();
        flow.read(readings, |_| Custody::Held, now);
    }
    assert_eq!(seen.len(), 11, "those at rest and the one left out are not");
    let stretches = flow.begin_reading(&except, now).expect("lanes flow");
    assert!(stretches.iter().all(|stretch| stretch.from == 5));
    let flow = &mut Flow::default();
    assert_eq!(flow.begin_reading(&except, now), None);
}

#[test]
fn suspects_are_bounded_and_a_few_are_seen_to_at_a_time() {
    let mut rig = Rig::new();
    rig.comes(2 * SUSPECTS_MAX as u64);
    let found: Vec<u64> = (10..2 * SUSPECTS_MAX as u64).collect();
    rig.is_read(&found);
    assert_eq!(rig.flow.suspects.len(), SUSPECTS_MAX);
    rig.passes(5);
    assert_eq!(rig.due().len(), DUE_MAX);
    assert_eq!(rig.due().len(), DUE_MAX, "the next ones");
}
