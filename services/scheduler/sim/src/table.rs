//! The figures of several runs side by side, for people.

use std::fmt::Write as _;

use crate::compare::Run;
use crate::figures::Figures;

type Cell = fn(&Figures) -> String;

const COLUMNS: [(&str, Cell); 13] = [
    ("response", |f| time(f.mean_response)),
    ("p50", |f| time(f.p50_response)),
    ("p95", |f| time(f.p95_response)),
    ("p99", |f| time(f.p99_response)),
    ("wait", |f| time(f.mean_wait)),
    ("slowdown", |f| time(f.mean_slowdown)),
    ("slowdown p99", |f| time(f.p99_slowdown)),
    ("used", |f| format!("{:.1}%", f.utilisation * 100.0)),
    ("preempted", |f| f.preemptions.to_string()),
    ("redelivered", |f| f.redeliveries.to_string()),
    ("workers lost", |f| f.workers_lost.to_string()),
    ("dead", |f| f.dead.to_string()),
    ("lost", |f| f.lost.to_string()),
];
const NAMES: [&str; 3] = ["order", "allocation", "binding"];

/// A table with a line for each run: means of response, wait and slowdown, quantiles of response and
/// slowdown, and what was counted. Times are in mean service times, of a trace in seconds.
#[must_use]
pub fn table(runs: &[Run]) -> String {
    let mut lines = vec![
        NAMES
            .iter()
            .chain(COLUMNS.iter().map(|(name, _)| name))
            .copied()
            .map(String::from)
            .collect(),
    ];
    lines.extend(runs.iter().map(cells));
    let widths = widths(&lines);
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
            if index < NAMES.len() {
                let _ = write!(row, "{cell:<width$}  ");
            } else {
                let _ = write!(row, "{cell:>width$}  ");
            }
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn cells(run: &Run) -> Vec<String> {
    let strategy = &run.strategy;
    let names = [&strategy.order, &strategy.allocation, &strategy.binding].map(Clone::clone);
    names
        .into_iter()
        .chain(COLUMNS.iter().map(|(_, cell)| cell(&run.figures)))
        .collect()
}

fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].len())
            .max()
            .unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

/// Four digits that count, never more than three of them behind the point.
fn time(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.3}"),
        v if v < 100.0 => format!("{v:.2}"),
        v if v < 1_000.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_four_digits_that_count() {
        let texts = [0.12345, 12.345, 123.45, 12_345.6].map(time);
        assert_eq!(texts, ["0.123", "12.35", "123.5", "12346"]);
    }
}
