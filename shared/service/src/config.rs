//! Configuration files: reading TOML, and telling a person everything that is wrong with it at
//! once.
//!
//! Two steps, because they see different faults. `load_toml` finds what is not TOML, has the wrong
//! type or is an unknown key: it stops at the first, with line and column. The rules between values
//! are checked by the owner of the options, who collects them in [`Faults`]. All of it is one
//! [`ConfigError`], which ends a process with the exit code for wrong use.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// More than any configuration needs, and little enough for a wrong path (`/dev/zero`) to do no
/// harm.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the configuration {} is larger than {bytes_max} bytes", path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
    /// `line` and `column` count from 1, the column in characters.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid {
        path: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{} fault(s) in the configuration: {}", faults.len(), joined(faults))]
    Faults { faults: Vec<Fault> },
}

/// One value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub key: String,
    pub value: String,
    pub rule: String,
}

/// Collects faults, so that a person fixes them in one go.
///
/// ```
/// # use rota_service::Faults;
/// # let lease_ms = 0;
/// let mut faults = Faults::new();
/// if lease_ms == 0 {
///     faults.push("lease_ms", lease_ms, "must be at least 1");
/// }
/// assert!(faults.into_result().is_err());
/// ```
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

/// Reads a TOML file into `T`, which should carry `#[serde(deny_unknown_fields)]` at each level: an
/// unknown key is then refused with the list of those allowed.
///
/// # Errors
/// The file cannot be read, is larger than 1 MiB, is not TOML, or does not fit `T`.
pub fn load_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = read_bounded(path)?;
    toml::from_str(&text).map_err(|error| invalid(path, &text, &error))
}

/// As [`load_toml`], with the defaults when no file was named. A file that was named must exist.
///
/// # Errors
/// Those of [`load_toml`].
pub fn load_optional_toml<T: DeserializeOwned + Default>(
    path: Option<&Path>,
) -> Result<T, ConfigError> {
    path.map_or_else(|| Ok(T::default()), load_toml)
}

impl Faults {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault. The value ends up in logs: never push a secret.
    pub fn push(&mut self, key: impl Into<String>, value: impl Display, rule: impl Into<String>) {
        self.0.push(Fault {
            key: key.into(),
            value: value.to_string(),
            rule: rule.into(),
        });
    }

    /// True while nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// All faults that were pushed, in that order.
    pub fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Faults { faults: self.0 })
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` = {}: {}", self.key, self.value, self.rule)
    }
}

fn read_bounded(path: &Path) -> Result<String, ConfigError> {
    let read = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a full file from one that is too large.
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            bytes_max: CONFIG_BYTES_MAX,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        read(io::Error::new(
            io::ErrorKind::InvalidData,
            error.utf8_error(),
        ))
    })
}

fn invalid(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let (line, column) = line_and_column(text, start);
    // One line, as it will be a field of a log line.
    let message = error.message().trim().replace('\n', ", ");
    ConfigError::Invalid {
        path: path.to_owned(),
        line,
        column,
        message,
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

fn joined(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(Fault::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        slots: u16,
        limits: Limits,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        output_bytes_max: u64,
    }

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn fault(content: &[u8]) -> String {
        let file = file(content);
        let error = load_toml::<Sample>(file.path()).unwrap_err();
        crate::chain(&error)
            .to_string()
            .replace(&file.path().display().to_string(), "rota.toml")
    }

    #[test]
    fn a_file_that_fits_is_loaded_over_the_defaults() {
        let file = file(b"[limits]\noutput_bytes_max = 7\n");
        let sample: Sample = load_optional_toml(Some(file.path())).unwrap();
        assert_eq!(
            sample,
            Sample {
                slots: 0,
                limits: Limits {
                    output_bytes_max: 7
                }
            }
        );
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        assert_eq!(
            load_optional_toml::<Sample>(None).unwrap(),
            Sample::default()
        );
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let path = Path::new("no/such/rota.toml");
        let error = load_optional_toml::<Sample>(Some(path)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the configuration no/such/rota.toml"
        );
        assert!(
            matches!(error, ConfigError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_the_keys_that_are_allowed() {
        assert_eq!(
            fault("# ä\nslots = 1\n  slot = 2\n".as_bytes()),
            "rota.toml:3:3: unknown field `slot`, expected `slots` or `limits`"
        );
    }

    #[test]
    fn an_unknown_key_of_an_inner_table_is_refused_too() {
        assert_eq!(
            fault(b"[limits]\noutput = 7\n"),
            "rota.toml:2:1: unknown field `output`, expected `output_bytes_max`"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_with_its_place() {
        assert_eq!(
            fault(b"slots = \"many\"\n"),
            "rota.toml:1:9: invalid type: string \"many\", expected u16"
        );
    }

    #[test]
    fn text_that_is_not_toml_is_told_in_one_line() {
        let fault = fault(b"slots = 1\nlimits = [\n");
        assert!(fault.starts_with("rota.toml:2:"), "{fault}");
        assert!(!fault.contains('\n'), "{fault}");
    }

    #[test]
    fn a_column_counts_characters_and_not_bytes() {
        assert_eq!(line_and_column("a\näö = 1", "a\näö".len()), (2, 3));
        assert_eq!(line_and_column("", 0), (1, 1));
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        assert!(
            fault(b"slots = \xff").contains("invalid utf-8"),
            "{}",
            fault(b"slots = \xff")
        );
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_and_one_at_the_limit_is_read() {
        let max = usize::try_from(CONFIG_BYTES_MAX).unwrap();
        assert!(load_toml::<Sample>(file(&vec![b'\n'; max]).path()).is_ok());
        let error = load_toml::<Sample>(file(&vec![b'\n'; max + 1]).path()).unwrap_err();
        assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn all_faults_are_told_at_once_in_the_order_they_were_found() {
        let mut faults = Faults::new();
        faults.push("slots", 0, "must be at least 1");
        faults.push("limits.output_bytes_max", 9, "must be at most 8");
        assert_eq!(
            faults.into_result().unwrap_err().to_string(),
            "2 fault(s) in the configuration: `slots` = 0: must be at least 1; \
             `limits.output_bytes_max` = 9: must be at most 8"
        );
    }

    #[test]
    fn no_fault_is_no_error() {
        assert!(Faults::new().into_result().is_ok());
    }
}
