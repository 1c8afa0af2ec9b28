//! So many lines of a sort a second; what is beyond is counted by kind and told once.

use std::collections::BTreeMap;

use rota_wire::Kind;

use super::line::{Line, Sort};

/// What a person can still follow.
pub(super) const LINES_MAX: u32 = 20;
/// Kinds that are counted apart; tasks of further kinds are counted together.
pub(super) const KINDS_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Quota {
    sorts: BTreeMap<Sort, Second>,
}

/// One sort in one second.
#[derive(Debug, Default)]
struct Second {
    said: u32,
    by_kind: BTreeMap<Kind, u64>,
    others: u64,
}

impl Quota {
    /// Whether a line may be said; if not, it is counted.
    pub(super) fn admit(&mut self, sort: Sort, kind: Option<&Kind>) -> bool {
        let second = self.sorts.entry(sort).or_default();
        if second.said < LINES_MAX {
            second.said += 1;
            return true;
        }
        second.count(kind);
        false
    }

    /// Tells what was only counted, and begins a new second.
    pub(super) fn flush(&mut self, lines: &mut Vec<Line>) {
        for (sort, second) in std::mem::take(&mut self.sorts) {
            let kinds = second.by_kind.into_iter();
            lines.extend(kinds.map(|(kind, count)| Line::More {
                sort,
                kind: Some(kind),
                count,
            }));
            if second.others > 0 {
                lines.push(Line::More {
                    sort,
                    kind: None,
                    count: second.others,
                });
            }
        }
    }
}

impl Second {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        Kind::parse(text).expect("a good kind")
    }

    fn flushed(quota: &mut Quota) -> Vec<Line> {
        let mut lines = Vec::new();
        quota.flush(&mut lines);
        lines
    }

    #[test]
    fn what_is_beyond_the_room_of_a_second_is_counted_by_kind() {
        let mut quota = Quota::default();
        let said = (0..500).filter(|_| quota.admit(Sort::Redelivered, Some(&kind("echo"))));
        assert_eq!(said.count(), 20);
        assert!(!quota.admit(Sort::Redelivered, Some(&kind("report"))));
        let more = |text, count| Line::More {
            sort: Sort::Redelivered,
            kind: Some(kind(text)),
            count,
        };
        assert_eq!(flushed(&mut quota), [more("echo", 480), more("report", 1)]);
    }

    #[test]
    fn a_new_second_has_room_again_and_nothing_is_told_twice() {
        let mut quota = Quota::default();
        for _ in 0..50 {
            quota.admit(Sort::Lost, None);
        }
        assert_eq!(flushed(&mut quota).len(), 1);
        assert!(quota.admit(Sort::Lost, None));
        assert_eq!(flushed(&mut quota), []);
    }

    #[test]
    fn one_sort_does_not_take_the_room_of_another() {
        let mut quota = Quota::default();
        for _ in 0..50 {
            quota.admit(Sort::Redelivered, None);
        }
        assert!(quota.admit(Sort::DeadLettered, None));
    }

    #[test]
    fn endless_kinds_take_bounded_room_and_are_all_counted() {
        let mut quota = Quota::default();
        for n in 0..1_020 {
            quota.admit(Sort::DeadLettered, Some(&kind(&format!("kind{n}"))));
        }
        let lines = flushed(&mut quota);
        assert_eq!(lines.len(), KINDS_MAX + 1);
        let counted = lines.iter().map(|line| match line {
            Line::More { count, .. } => *count,
            other => panic!("only counts, not {other:?}"),
        });
        assert_eq!(counted.sum::<u64>(), 1_000);
    }
}
