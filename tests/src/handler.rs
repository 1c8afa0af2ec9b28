//! Commands for workers, as sections of a handlers file.

use std::fmt::Write as _;
use std::path::Path;

/// A shell script that handles a kind. It finds the installation's folder in `$DIR`.
#[derive(Debug, Clone)]
pub struct Handler {
    kind: &'static str,
    script: String,
    settings: String,
}

impl Handler {
    /// A script for `sh -c`.
    #[must_use]
    pub fn sh(kind: &'static str, script: impl Into<String>) -> Self {
        Self {
            kind,
            script: script.into(),
            settings: String::new(),
        }
    }

    /// Another line of its section, such as `timeout = "1s"`.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// The whole file.
    pub(crate) fn file(handlers: &[Self], folder: &Path) -> String {
        let mut text = String::new();
        for Self {
            kind,
            script,
            settings,
        } in handlers
        {
            let (script, folder) = (quote(script), quote(&folder.display().to_string()));
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "[handlers.{kind}]\ncommand = [\"sh\", \"-c\", {script}]\n\
                 env = {{ DIR = {folder} }}\n{settings}\n"
            );
        }
        text
    }
}

/// A string of JSON is one of TOML too.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
