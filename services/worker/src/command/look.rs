//! Whether a command can be started, as far as that can be seen without starting it.
//!
//! It exists so that a bad deployment is a fault at the start of the worker, and so that a worker sees when
//! what was missing is there again. What must hold: whatever this refuses would not start; it may let pass
//! what does not start all the same, such as a file in a format that the machine does not run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::CommandHandler;

/// Where programs are looked for when nothing is said, as the system does it.
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// How much of a script's first line the system reads.
const FIRST_LINE_BYTES: usize = 256;

/// Why a command cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Its program.
    #[error("program {program:?} {why}")]
    Program { program: String, why: String },
    /// The folder in which it is to run.
    #[error("working_dir {} {why}", folder.display())]
    WorkingDir { folder: PathBuf, why: String },
}

impl CommandHandler {
    /// What stands in the way of each of its attempts; nothing if nothing does.
    pub(crate) fn look(&self) -> Vec<Unfit> {
        let folder = self.working_dir.as_deref();
        let unfit_folder = folder.and_then(|folder| {
            let folder = folder.to_owned();
            let why = folder_fault(&folder)?;
            Some(Unfit::WorkingDir { folder, why })
        });
        let unfit_program = self.program_fault().map(|why| Unfit::Program {
            program: self.program.clone(),
            why,
        });
        unfit_program.into_iter().chain(unfit_folder).collect()
    }

    fn program_fault(&self) -> Option<String> {
        if self.program.contains('/') {
            return file_fault(&self.in_its_folder(&self.program));
        }
        let path = self.search_path();
        let found = std::env::split_paths(&path)
            .map(|folder| self.in_its_folder(folder).join(&self.program))
            .map(|file| (file_fault(&file), file));
        let mut fault = None;
        for (file_fault, file) in found {
            match file_fault {
                None => return None,
                // One that is there and unfit says more than that nothing is there.
                Some(why) if file.exists() => {
                    fault.get_or_insert(format!("is {} and {why}", file.display()));
                }
                Some(_) => {}
            }
        }
        let path = path.to_string_lossy();
        fault.or_else(|| Some(format!("is not found in PATH ({path})")))
    }

    /// A relative path counts from where the command runs.
    fn in_its_folder(&self, path: impl AsRef<Path>) -> PathBuf {
        match &self.working_dir {
            Some(folder) => folder.join(path),
            None => path.as_ref().to_owned(),
        }
    }

    fn search_path(&self) -> OsString {
        let own = self.env.get("PATH").map(OsString::from);
        own.or_else(|| std::env::var_os("PATH"))
            .unwrap_or_else(|| PATH_DEFAULT.into())
    }
}

fn folder_fault(folder: &Path) -> Option<String> {
    match fs::metadata(folder) {
        Err(error) => Some(not_there(&error)),
        Ok(found) if !found.is_dir() => Some("is no folder".to_owned()),
        Ok(_) => access(folder, Access::EXEC_OK)
            .is_err()
            .then(|| "may not be entered by this user".to_owned()),
    }
}

fn file_fault(file: &Path) -> Option<String> {
    match fs::metadata(file) {
        Err(error) => Some(not_there(&error)),
        Ok(found) if !found.is_file() => Some("is no file".to_owned()),
        Ok(_) if access(file, Access::EXEC_OK).is_err() => {
            Some("may not be executed by this user".to_owned())
        }
        Ok(_) => {
            let interpreter = interpreter(file).ok().flatten()?;
            let fault = file_fault_of_interpreter(&interpreter)?;
            Some(format!(
                "begins with #!{}, which {fault}",
                interpreter.escape_debug()
            ))
        }
    }
}

fn file_fault_of_interpreter(interpreter: &str) -> Option<String> {
    match fs::metadata(interpreter) {
        Err(error) => Some(not_there(&error)),
        Ok(_) => access(interpreter, Access::EXEC_OK)
            .is_err()
            .then(|| "may not be executed by this user".to_owned()),
    }
}

/// The absolute path after `#!`, if the file begins so and may be read.
fn interpreter(file: &Path) -> io::Result<Option<String>> {
    let mut begin = Vec::new();
    let limit = FIRST_LINE_BYTES as u64;
    File::open(file)?.take(limit).read_to_end(&mut begin)?;
    let Some(line) = begin.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // A carriage return is no blank to the system: it belongs to the name, which then is not there.
    let mut words = line
        .split(|byte| matches!(byte, b' ' | b'\t' | 0))
        .filter(|word| !word.is_empty());
    let word = words.next().map(|word| String::from_utf8_lossy(word));
    Ok(word
        .filter(|word| Path::new(OsStr::new(&**word)).is_absolute())
        .map(Into::into))
}

fn not_there(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be used: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn told(handler: &CommandHandler) -> Vec<String> {
        handler.look().iter().map(ToString::to_string).collect()
    }

    fn program(program: &str) -> CommandHandler {
        CommandHandler {
            program: program.to_owned(),
            ..CommandHandler::default()
        }
    }

    fn write(folder: &TempDir, name: &str, text: &str, mode: u32) -> String {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file.display().to_string()
    }

    #[test]
    fn what_is_in_the_path_or_has_a_path_of_its_own_is_fit() {
        let folder = TempDir::new().unwrap();
        let script = write(&folder, "script", "#! /bin/sh -e\necho\n", 0o755);
        for fit in ["sh", "/bin/sh", &script] {
            assert_eq!(told(&program(fit)), [""; 0], "{fit}");
        }
        let mut own_path = program("script");
        let path = format!("/no/such/folder:{}", folder.path().display());
        own_path.env.insert("PATH".to_owned(), path);
        assert_eq!(told(&own_path), [""; 0]);
        let relative = CommandHandler {
            working_dir: Some(folder.path().into()),
            ..program("./script")
        };
        assert_eq!(told(&relative), [""; 0], "counts from where it runs");
    }

    #[test]
    fn what_cannot_be_started_is_told_with_its_reason() {
        let folder = TempDir::new().unwrap();
        let plain = write(&folder, "plain", "text", 0o644);
        let windows = write(&folder, "windows", "#!/bin/sh\r\necho\n", 0o755);
        let snake = write(&folder, "snake", "#!/no/python3 -u\n", 0o755);
        let folder = folder.path().display().to_string();
        for (unfit, why) in [
            ("no-such-program", "is not found in PATH ("),
            ("/no/such/program", "is not there"),
            (&folder, "is no file"),
            (&plain, "may not be executed"),
            (&windows, r"begins with #!/bin/sh\r, which is not there"),
            (&snake, "begins with #!/no/python3, which is not there"),
        ] {
            let told = told(&program(unfit)).concat();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn an_unfit_program_in_the_path_is_named() {
        let folder = TempDir::new().unwrap();
        let file = write(&folder, "tool", "text", 0o644);
        let mut handler = program("tool");
        let path = folder.path().display().to_string();
        handler.env.insert("PATH".to_owned(), path);
        let why = format!("is {file} and may not be executed by this user");
        assert!(
            told(&handler).concat().contains(&why),
            "{:?}",
            told(&handler)
        );
    }

    #[test]
    fn a_program_and_its_folder_are_both_told() {
        let handler = CommandHandler {
            working_dir: Some("/no/such/folder".into()),
            ..program("no-such-program")
        };
        let told = told(&handler);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], "working_dir /no/such/folder is not there");
    }
}
