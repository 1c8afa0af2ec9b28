//! What a worker tells its guardian, line by line: which process groups there are, and that it leaves in
//! order. The end of the pipe without a goodbye is the worker's death.

use std::fmt;

use rustix::process::Pid;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// A command was started as the leader of this group.
    Group(Pid),
    /// That group is gone; its number may become another's.
    Over(Pid),
    /// The worker holds nothing any more: nothing is left to do.
    Goodbye,
}

impl Line {
    /// Reads a line without its end.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "goodbye" {
            return Some(Self::Goodbye);
        }
        let (word, id) = text.split_once(' ')?;
        // 1 would be the machine's own first process, and its group.
        let id: i32 = id.parse().ok().filter(|id| *id > 1)?;
        let group = Pid::from_raw(id)?;
        match word {
            "group" => Some(Self::Group(group)),
            "over" => Some(Self::Over(group)),
            _ => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => writeln!(f, "group {}", group.as_raw_nonzero()),
            Self::Over(group) => writeln!(f, "over {}", group.as_raw_nonzero()),
            Self::Goodbye => writeln!(f, "goodbye"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let group = Pid::from_raw(4711).expect("not 0");
        for line in [Line::Group(group), Line::Over(group), Line::Goodbye] {
            let text = line.to_string();
            let text = text.strip_suffix('\n').expect("a whole line");
            assert_eq!(Line::parse(text), Some(line));
        }
    }

    #[test]
    fn no_line_names_everybodys_group_or_the_first_process() {
        for text in [
            "group 0", "group 1", "group -1", "group", "group x", "", "bye",
        ] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
    }
}
