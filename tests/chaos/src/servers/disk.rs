//! A small file system of its own for a server's store, which can be filled. Only root may mount one; elsewhere
//! no disk is filled, and the report says so.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Much more than a storm keeps, and quick to fill.
const SIZE: &str = "size=1g";
const BALLAST: &str = "ballast";
const CHUNK: usize = 1 << 20;

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Whether this machine allows it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn try_out(folder: &Path) -> anyhow::Result<()> {
        let folder = folder.join("disk-trial");
        fs::create_dir_all(&folder)?;
        Self::mount(&folder).map(drop)
    }

    /// Mounts one over a folder.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn mount(folder: &Path) -> anyhow::Result<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(folder)
            .output();
        let mounted = mounted.context("there is no mount")?;
        let errors = String::from_utf8_lossy(&mounted.stderr);
        ensure!(mounted.status.success(), "{}", errors.trim());
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Leaves no room on it.
    ///
    /// # Errors
    /// When something else than that goes wrong.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = fs::File::create(self.folder.join(BALLAST))?;
        let chunk = vec![0; CHUNK];
        loop {
            match ballast.write_all(&chunk) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When that fails.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.folder.join(BALLAST))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: it is gone when the last file on it is closed.
        let unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        drop(unmounted);
    }
}
