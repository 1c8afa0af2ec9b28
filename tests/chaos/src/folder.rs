//! The folder of a run: one that somebody has named and wants to keep, or a temporary one.
//!
//! What must hold: nothing of another run lies in it. A ledger or a store that was there before would be judged
//! as if it were this run's.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// A folder that was empty when the run began.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Removes the folder when dropped.
    _temporary: Option<TempDir>,
}

impl Folder {
    /// The folder of that name, made if it is not there; a temporary one without a name.
    ///
    /// # Errors
    /// When it has something in it, or cannot be made.
    pub fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        let Some(named) = named else {
            let temporary = tempfile::Builder::new().prefix("rota-chaos-").tempdir()?;
            return Ok(Self {
                path: temporary.path().to_owned(),
                _temporary: Some(temporary),
            });
        };
        let is_empty = match fs::read_dir(named) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error).with_context(|| format!("`{}`", named.display())),
        };
        ensure!(
            is_empty,
            "the folder `{}` is not empty: what lies there would be taken for this run's; name an empty \
             folder, or one that is not there",
            named.display()
        );
        fs::create_dir_all(named).with_context(|| format!("making `{}`", named.display()))?;
        Ok(Self {
            path: named.canonicalize()?,
            _temporary: None,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_taken_and_one_that_is_not_there_is_made() {
        let parent = tempfile::tempdir().unwrap();
        for named in [parent.path().to_owned(), parent.path().join("a/b")] {
            let folder = Folder::open(Some(&named)).unwrap();
            assert!(folder.path().is_dir(), "{named:?}");
        }
    }

    #[test]
    fn a_folder_with_the_ledger_of_another_run_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let ledger = parent.path().join("ledger");
        fs::write(&ledger, "begin 1 t 1 w r\n").unwrap();
        let error = Folder::open(Some(parent.path())).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error:#}");
        assert!(ledger.is_file());
    }

    #[test]
    fn a_file_is_no_folder() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Folder::open(Some(&file)).is_err());
    }
}
