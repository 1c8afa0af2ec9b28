//! Wall clocks that step: a library that is loaded before the C library's own clock, and a file for each
//! process that says how far its clock is off.
//!
//! It is built at the start with the C compiler, without which there is no Rust either. Where it cannot be
//! built, no clock is stepped, and the report says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::fault::Place;

const SOURCE: &str = include_str!("wall/step.c");
/// Names the file to the library.
const FILE_ENV: &str = "CHAOS_CLOCK";

/// The library, and the folder of the files.
#[derive(Debug, Clone)]
pub struct WallClocks {
    library: PathBuf,
    folder: PathBuf,
}

impl WallClocks {
    /// Builds the library in a folder, and tries it.
    ///
    /// # Errors
    /// When this machine does not allow it, with the reason.
    pub fn build(folder: &Path) -> anyhow::Result<Self> {
        let (source, library) = (folder.join("step.c"), folder.join("step.so"));
        fs::write(&source, SOURCE)?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .output();
        let built = built.context("there is no C compiler")?;
        let errors = String::from_utf8_lossy(&built.stderr);
        ensure!(built.status.success(), "the C compiler says: {errors}");
        let clocks = Self {
            library,
            folder: folder.to_owned(),
        };
        clocks.try_out()?;
        Ok(clocks)
    }

    /// The variables with which a process sees its own clock.
    #[must_use]
    pub fn environment(&self, place: Place) -> [(&'static str, PathBuf); 2] {
        let file = self.file(&place.to_string());
        [("LD_PRELOAD", self.library.clone()), (FILE_ENV, file)]
    }

    /// Makes the clock of a process step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn step(&self, place: Place, by_ms: i64) -> io::Result<()> {
        let file = self.file(&place.to_string());
        let now: i64 = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(_) => 0,
        };
        // Renamed into place: nobody reads half a number.
        let new = file.with_extension("new");
        fs::write(&new, format!("{}\n", now + by_ms))?;
        fs::rename(new, file)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("clock.{name}"))
    }

    /// A day ahead, `date` must tell another day.
    fn try_out(&self) -> anyhow::Result<()> {
        let file = self.file("trial");
        fs::write(&file, "864000000\n")?;
        let told = Command::new("date")
            .arg("+%s")
            .env("LD_PRELOAD", &self.library)
            .env(FILE_ENV, &file)
            .output()?;
        let told: u64 = String::from_utf8_lossy(&told.stdout).trim().parse()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        ensure!(told > now.as_secs() + 800_000, "the clock does not step");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Role;

    /// It builds and tries the library; a machine that does not allow it only loses this sort of fault.
    #[test]
    fn steps_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(clocks) = WallClocks::build(folder.path()) else {
            return;
        };
        let place = Place {
            role: Role::Worker,
            number: 1,
        };
        clocks.step(place, 1_500).unwrap();
        clocks.step(place, -2_000).unwrap();
        let text = fs::read_to_string(clocks.file("worker1")).unwrap();
        assert_eq!(text, "-500\n");
    }
}
