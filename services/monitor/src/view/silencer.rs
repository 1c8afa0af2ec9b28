//! Keeps a log short while nothing happens: the same quiet summary is said once in twelve intervals.

use rota_wire::Span;

use super::line::Line;
use super::summary::{Standing, Summary};

const QUIET_INTERVALS: u32 = 12;
/// The bus itself says that the connection was lost; here it is said that it stays so.
const CUT_OFF_MIN: Span = Span::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Silencer {
    last: Option<Said>,
    skipped: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Busy,
    Quiet(Standing),
    CutOff,
}

impl Silencer {
    /// Says a summary, unless nothing happens and nothing has changed since the last.
    pub(super) fn say(&mut self, summary: Summary, lines: &mut Vec<Line>) {
        let said = summary.quiet_standing().map_or(Said::Busy, Said::Quiet);
        if self.is_worth_saying(said) {
            lines.push(Line::Summary(Box::new(summary)));
        }
    }

    /// Says that there is still no connection, at the same pace.
    pub(super) fn say_cut_off(&mut self, elapsed: Span, lines: &mut Vec<Line>) {
        if elapsed >= CUT_OFF_MIN && self.is_worth_saying(Said::CutOff) {
            lines.push(Line::CutOff { elapsed });
        }
    }

    fn is_worth_saying(&mut self, said: Said) -> bool {
        let is_same = said != Said::Busy && self.last.as_ref() == Some(&said);
        if is_same && self.skipped + 1 < QUIET_INTERVALS {
            self.skipped += 1;
            return false;
        }
        self.last = Some(said);
        self.skipped = 0;
        true
    }
}
