//! A trace: what has arrived once, as a CSV file with a header row.
//!
//! ```text
//! arrival_s,duration_s,kind,priority,cpu,memory
//! 0.000,1.25,thumbnail,5,0.5,268435456
//! ```
//!
//! `arrival_s` and `duration_s` are seconds; arrivals count from any moment, such as 1970. The rest may be
//! left out, whole columns or single cells: `kind` (default `trace`), `priority` (0 to 9, default 5), `cpu` in
//! cores, `memory` in bytes; the last two as in a task's headers (`0.5`, `500m`, `256MiB`). Lines need not be
//! in order. A trace is read whole, about 48 bytes a task, so that every strategy gets the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rota_wire::{Cpu, Kind, Memory, Priority, Resources};

use crate::quantity::{number, to_micros, to_work};

/// The most tasks in a trace.
const TASKS_MAX: usize = 20_000_000;
/// The longest duration, and the longest time between the first arrival and the last, in seconds: a year.
const SECONDS_MAX: f64 = 3.2e7;
/// The latest arrival: what a scheduler records counts from 1970.
const ARRIVAL_MAX: f64 = 1e10;

const ARRIVAL: &str = "arrival_s";
const DURATION: &str = "duration_s";
const COLUMNS: [&str; 6] = [ARRIVAL, DURATION, "kind", "priority", "cpu", "memory"];

/// A trace that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    tasks: Vec<TraceTask>,
    kinds: Vec<Kind>,
}

/// One task of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceTask {
    /// When it arrived after the first, in microseconds of the virtual clock.
    pub(crate) at: u64,
    /// How long it takes, the same.
    pub(crate) duration: u64,
    /// Which of [`Trace::kinds`] it is.
    pub kind: usize,
    /// How urgent it is.
    pub priority: Priority,
    /// What it needs beside its slot.
    pub demand: Resources,
}

/// Why a trace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("the trace {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line breaks a rule.
    #[error("the trace {}, line {line}: {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`] when the file cannot be read, has no task, or has a line that breaks a rule.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let text = std::fs::read_to_string(path).map_err(|source| TraceError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|(line, problem)| TraceError::Line {
            path: path.to_owned(),
            line,
            problem,
        })
    }

    /// The tasks in the order of their arrival.
    #[must_use]
    pub fn tasks(&self) -> &[TraceTask] {
        &self.tasks
    }

    /// The most of each resource that any task needs.
    #[must_use]
    pub fn largest_demand(&self) -> Resources {
        let demands = self.tasks.iter().map(|task| task.demand);
        demands.fold(Resources::NONE, |most, demand| Resources {
            cpu: most.cpu.max(demand.cpu),
            memory: most.memory.max(demand.memory),
        })
    }

    /// The kinds that occur.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        let header = lines.next().map_or("", |(_, line)| line);
        let columns = Columns::parse(header).map_err(|problem| (1, problem))?;
        let mut reader = Reader {
            columns,
            kinds: Vec::new(),
            by_name: BTreeMap::new(),
        };
        let mut tasks = Vec::new();
        let mut latest = (0, 1);
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            if tasks.len() == TASKS_MAX {
                return Err((number, format!("a trace has at most {TASKS_MAX} tasks")));
            }
            let task = reader.task(line).map_err(|problem| (number, problem))?;
            latest = latest.max((task.at, number));
            tasks.push(task);
        }
        let Some(first) = tasks.iter().map(|task| task.at).min() else {
            return Err((1, "there is no task below the header".to_owned()));
        };
        if latest.0 - first > to_micros(SECONDS_MAX) {
            let problem =
                format!("{ARRIVAL}: it is more than {SECONDS_MAX} seconds after the first");
            return Err((latest.1, problem));
        }
        for task in &mut tasks {
            task.at -= first;
        }
        tasks.sort_by_key(|task| task.at);
        Ok(Self {
            tasks,
            kinds: reader.kinds,
        })
    }
}

/// Where each column stands, in the order of [`COLUMNS`].
struct Columns {
    places: [Option<usize>; COLUMNS.len()],
    count: usize,
}

impl Columns {
    fn parse(header: &str) -> Result<Self, String> {
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
        if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(name)) {
            return Err(format!(
                "column `{unknown}` is not known: the header row must name {}",
                COLUMNS.join(", ")
            ));
        }
        let places = COLUMNS.map(|column| names.iter().position(|name| *name == column));
        for (column, place) in COLUMNS.iter().zip(places).take(2) {
            if place.is_none() {
                return Err(format!("the header row must name the column `{column}`"));
            }
        }
        if names.len() != places.iter().flatten().count() {
            return Err("the header row names a column twice".to_owned());
        }
        Ok(Self {
            places,
            count: names.len(),
        })
    }
}

struct Reader {
    columns: Columns,
    kinds: Vec<Kind>,
    by_name: BTreeMap<String, usize>,
}

impl Reader {
    fn task(&mut self, line: &str) -> Result<TraceTask, String> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != self.columns.count {
            let (found, wanted) = (cells.len(), self.columns.count);
            return Err(format!(
                "{found} cells where the header row names {wanted} columns"
            ));
        }
        let [at, duration, kind, priority, cpu, memory] = self.columns.places.map(|place| {
            place
                .map(|place| cells[place])
                .filter(|cell| !cell.is_empty())
        });
        Ok(TraceTask {
            at: to_micros(seconds(ARRIVAL, at, ARRIVAL_MAX)?),
            duration: to_work(seconds(DURATION, duration, SECONDS_MAX)?),
            kind: self.kind(kind.unwrap_or("trace"))?,
            priority: priority.map_or(Ok(Priority::default()), parse_priority)?,
            demand: Resources {
                cpu: cpu.map_or(Ok(Cpu(0)), parse_cpu)?,
                memory: memory.map_or(Ok(Memory(0)), parse_memory)?,
            },
        })
    }

    fn kind(&mut self, name: &str) -> Result<usize, String> {
        if let Some(known) = self.by_name.get(name) {
            return Ok(*known);
        }
        let kind =
            Kind::parse(name).map_err(|error| format!("kind `{name}`: must be {}", error.rule))?;
        let index = self.kinds.len();
        self.kinds.push(kind);
        self.by_name.insert(name.to_owned(), index);
        Ok(index)
    }
}

fn seconds(column: &str, cell: Option<&str>, most: f64) -> Result<f64, String> {
    let cell = cell.unwrap_or_default();
    let seconds = number(cell);
    if (0.0..=most).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{column} `{cell}`: must be seconds, 0 to {most}"))
    }
}

fn parse_priority(cell: &str) -> Result<Priority, String> {
    let level = cell.parse().ok().and_then(Priority::new);
    level.ok_or_else(|| format!("priority `{cell}`: must be 0 to 9"))
}

fn parse_cpu(cell: &str) -> Result<Cpu, String> {
    cell.parse()
        .map_err(|error| format!("cpu `{cell}`: {error}"))
}

fn parse_memory(cell: &str) -> Result<Memory, String> {
    cell.parse()
        .map_err(|error| format!("memory `{cell}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_put_in_order_and_begins_with_its_first_arrival() {
        let text = "duration_s,arrival_s,kind,priority\n2,12.5,report,9\n0.5,10,,\n";
        let trace = Trace::parse(text).expect("good");
        let [first, second] = trace.tasks() else {
            panic!("two tasks");
        };
        assert_eq!(
            (first.at, first.duration, first.priority.level()),
            (0, 50_000_000, 5)
        );
        assert_eq!(
            (second.at, second.duration, second.priority.level()),
            (250_000_000, 200_000_000, 9)
        );
        assert_eq!(trace.kinds()[first.kind].as_str(), "trace");
        assert_eq!(trace.kinds()[second.kind].as_str(), "report");
    }

    #[test]
    fn arrivals_may_count_from_1970_and_lie_no_more_than_a_year_apart() {
        let header = "arrival_s,duration_s";
        let text = format!("{header}\n1795000000.25,1\n1795000000.000001,1\n");
        let trace = Trace::parse(&text).expect("good");
        // In microseconds of the virtual clock, a hundred of which are one of the trace's.
        let later = trace.tasks()[1].at as f64 / 100.0;
        assert!((later - 249_999.0).abs() <= 1.0, "{later}");
        let text = format!("{header}\n1,1\n1795000000,1\n2,1\n");
        let (line, problem) = Trace::parse(&text).expect_err("too far apart");
        assert_eq!(line, 3);
        assert!(problem.contains("after the first"), "{problem}");
    }

    #[test]
    fn a_line_that_breaks_a_rule_is_named_by_its_number() {
        let header = "arrival_s,duration_s,kind,priority,cpu,memory";
        for (line, word) in [
            ("0,1,echo,5,1", "5 cells"),
            ("0,x,echo,5,1,1", "duration_s `x`"),
            ("-1,1,echo,5,1,1", "arrival_s `-1`"),
            (",1,echo,5,1,1", "arrival_s ``"),
            ("0,1,Echo!,5,1,1", "kind `Echo!`"),
            ("0,1,echo,10,1,1", "priority `10`"),
            ("0,1,echo,5,lots,1", "cpu `lots`"),
            ("0,1,echo,5,1,1.5", "memory `1.5`"),
        ] {
            let text = format!("{header}\n0,1,echo,5,1,1\n\n{line}\n");
            let (number, problem) = Trace::parse(&text).expect_err(line);
            assert_eq!(number, 4, "{line}");
            assert!(problem.contains(word), "{line}: {problem}");
        }
    }

    #[test]
    fn a_header_row_is_required_and_must_make_sense() {
        for bad in [
            "",
            "0,1\n1,2\n",
            "arrival_s\n1\n",
            "arrival_s,duration_s,arrival_s\n1,2,3\n",
        ] {
            assert_eq!(Trace::parse(bad).expect_err(bad).0, 1, "{bad}");
        }
        assert!(Trace::parse("arrival_s,duration_s\n").is_err(), "no task");
    }
}
