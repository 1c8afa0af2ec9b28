//! So many lines of a sort in ten seconds; what is beyond is counted by kind, and told after a second and
//! then every ten. So nothing repeats faster than that, however long something is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use rota_wire::Kind;

use super::line::{Line, Sort};

/// What a person can still follow.
pub(super) const LINES_MAX: u32 = 20;
/// Kinds that are counted apart; tasks of further kinds are counted together.
pub(super) const KINDS_MAX: usize = 8;
/// For so many lines, and between two counts of the same sort.
const INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Quota {
    sorts: BTreeMap<Sort, Room>,
}

/// What one sort may say.
#[derive(Debug, Default)]
struct Room {
    /// When the lines that count towards the limit began.
    begun: Duration,
    said: u32,
    /// When a count was last told.
    told: Option<Duration>,
    by_kind: BTreeMap<Kind, u64>,
    others: u64,
}

impl Quota {
    /// Whether a line may be said; if not, it is counted.
    pub(super) fn admit(&mut self, now: Duration, sort: Sort, kind: Option<&Kind>) -> bool {
        let room = self.sorts.entry(sort).or_default();
        if room.said == 0 || is_over(now, room.begun) {
            (room.begun, room.said) = (now, 0);
        }
        if room.said < LINES_MAX {
            room.said += 1;
            return true;
        }
        room.count(kind);
        false
    }

    /// Tells what was only counted, where that was not done a moment ago.
    pub(super) fn flush(&mut self, now: Duration, lines: &mut Vec<Line>) {
        for (sort, room) in &mut self.sorts {
            if room.told.is_none_or(|told| is_over(now, told)) {
                room.tell(now, *sort, lines);
            }
        }
        self.sorts.retain(|_, room| room.is_of_use(now));
    }

    /// Tells all that was only counted: nothing follows.
    pub(super) fn finish(&mut self, now: Duration, lines: &mut Vec<Line>) {
        for (sort, mut room) in std::mem::take(&mut self.sorts) {
            room.tell(now, sort, lines);
        }
    }
}

impl Room {
    fn count(&mut self, kind: Option<&Kind>) {
        let Some(kind) = kind else {
            self.others += 1;
            return;
        };
        if let Some(count) = self.by_kind.get_mut(kind) {
            *count += 1;
        } else if self.by_kind.len() < KINDS_MAX {
            self.by_kind.insert(kind.clone(), 1);
        } else {
            self.others += 1;
        }
    }

    fn tell(&mut self, now: Duration, sort: Sort, lines: &mut Vec<Line>) {
        if !self.has_more() {
            return;
        }
        self.told = Some(now);
        let kinds = std::mem::take(&mut self.by_kind).into_iter();
        lines.extend(kinds.map(|(kind, count)| Line::More {
            sort,
            kind: Some(kind),
            count,
        }));
        match std::mem::take(&mut self.others) {
            0 => {}
            count => lines.push(Line::More {
                sort,
                kind: None,
                count,
            }),
        }
    }

    fn has_more(&self) -> bool {
        self.others > 0 || !self.by_kind.is_empty()
    }

    fn is_of_use(&self, now: Duration) -> bool {
        let told = self.told.is_some_and(|told| !is_over(now, told));
        self.has_more() || told || !is_over(now, self.begun)
    }
}

fn is_over(now: Duration, since: Duration) -> bool {
    now.saturating_sub(since) >= INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn kind(text: &str) -> Kind {
        Kind::parse(text).expect("a good kind")
    }

    fn at(secs: u64) -> Duration {
        START + Duration::from_secs(secs)
    }

    fn flushed(quota: &mut Quota, now: Duration) -> Vec<Line> {
        let mut lines = Vec::new();
        quota.flush(now, &mut lines);
        lines
    }

    #[test]
    fn what_is_beyond_the_room_is_counted_by_kind() {
        let mut quota = Quota::default();
        let said = (0..500).filter(|_| quota.admit(START, Sort::Redelivered, Some(&kind("echo"))));
        assert_eq!(said.count(), 20);
        assert!(!quota.admit(START, Sort::Redelivered, Some(&kind("report"))));
        let more = |text, count| Line::More {
            sort: Sort::Redelivered,
            kind: Some(kind(text)),
            count,
        };
        let told = flushed(&mut quota, at(1));
        assert_eq!(told, [more("echo", 480), more("report", 1)]);
    }

    #[test]
    fn after_ten_seconds_there_is_room_again_and_nothing_is_told_twice() {
        let mut quota = Quota::default();
        for _ in 0..50 {
            quota.admit(START, Sort::Lost, None);
        }
        assert_eq!(flushed(&mut quota, at(1)).len(), 1);
        assert!(!quota.admit(at(9), Sort::Lost, None));
        assert!(quota.admit(at(10), Sort::Lost, None));
        assert_eq!(flushed(&mut quota, at(10)), []);
        assert_eq!(flushed(&mut quota, at(11)).len(), 1);
        assert_eq!(flushed(&mut quota, at(12)), []);
    }

    #[test]
    fn a_flood_that_does_not_end_is_counted_once_in_ten_seconds() {
        let mut quota = Quota::default();
        let (mut said, mut counts) = (0, 0);
        for second in 0..60 {
            let mut admit = || quota.admit(at(second), Sort::Retrying, None);
            said += (0..1_000).filter(|_| admit()).count();
            counts += flushed(&mut quota, at(second)).len();
        }
        assert_eq!((said, counts), (120, 6));
        let mut rest = Vec::new();
        quota.finish(at(60), &mut rest);
        assert_eq!(rest.len(), 1, "what was not told yet is told in the end");
    }

    #[test]
    fn a_sort_that_has_become_quiet_is_forgotten() {
        let mut quota = Quota::default();
        quota.admit(START, Sort::Lost, None);
        flushed(&mut quota, at(9));
        assert_eq!(quota.sorts.len(), 1);
        flushed(&mut quota, at(10));
        assert_eq!(quota.sorts.len(), 0);
    }

    #[test]
    fn one_sort_does_not_take_the_room_of_another() {
        let mut quota = Quota::default();
        for _ in 0..50 {
            quota.admit(START, Sort::Redelivered, None);
        }
        assert!(quota.admit(START, Sort::DeadLettered, None));
    }

    #[test]
    fn endless_kinds_take_bounded_room_and_are_all_counted() {
        let mut quota = Quota::default();
        for n in 0..1_020 {
            quota.admit(START, Sort::DeadLettered, Some(&kind(&format!("kind{n}"))));
        }
        let lines = flushed(&mut quota, at(1));
        assert_eq!(lines.len(), KINDS_MAX + 1);
        let counted = lines.iter().map(|line| match line {
            Line::More { count, .. } => *count,
            other => panic!("only counts, not {other:?}"),
        });
        assert_eq!(counted.sum::<u64>(), 1_000);
    }
}
