//! Reads a ledger while it is written: each line once.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::{Entry, strange};

/// Where the reading has come to.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    /// From the beginning of a ledger, which need not be there yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The lines that were written since the last time.
    ///
    /// # Errors
    /// When it cannot be read, or a line cannot be understood.
    pub fn read_on(&mut self) -> io::Result<Vec<Entry>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A line is one write, but a reader may come in the middle of it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.offset += whole as u64;
        let lines = text[..whole].lines();
        lines
            .map(|line| Entry::parse(line).ok_or_else(|| strange(line)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_line_is_read_once_and_half_a_line_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut tail = Tail::new(path.clone());
        assert!(tail.read_on().unwrap().is_empty(), "not there yet");
        fs::write(&path, "begin 1 t 1 worker1.1 r\nbegin 2 t").unwrap();
        assert_eq!(tail.read_on().unwrap().len(), 1);
        assert!(tail.read_on().unwrap().is_empty());
        fs::write(&path, "begin 1 t 1 worker1.1 r\nbegin 2 t 1 worker1.1 r\n").unwrap();
        assert_eq!(tail.read_on().unwrap()[0].at.0, 2);
    }
}
