//! Why a handler could not do its task, and whether trying again may help.
//!
//! `Failure` is no `std::error::Error`: that is what lets every error become one through `?`.

use std::error::Error;

use crate::ended::{Retry, Verdict};

/// A failed attempt, as a handler reports it.
///
/// Anything that is an error (or a text) becomes one through `?`, with its sources in the reason,
/// and is retried. What can never succeed is said with [`Failure::fatal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    retry: Retry,
    reason: String,
}

impl Failure {
    /// The attempt failed; another one may succeed.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self {
            retry: Retry::Later,
            reason: reason.into(),
        }
    }

    /// The task can never succeed, for instance because its input is wrong.
    pub fn fatal(reason: impl Into<String>) -> Self {
        Self {
            retry: Retry::Never,
            reason: reason.into(),
        }
    }

    /// Whether no attempt can ever succeed.
    pub fn is_fatal(&self) -> bool {
        self.retry == Retry::Never
    }

    /// Why it failed.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self::retry(reason)
    }
}

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        match failure.retry {
            Retry::Later => Self::retry(failure.reason),
            Retry::Never => Self::fatal(failure.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Result<(), Failure> {
        Err(anyhow::anyhow!("connection reset").context("reading the photo"))?;
        Ok(())
    }

    #[test]
    fn an_error_is_retried_and_brings_its_sources() {
        assert_eq!(
            broken(),
            Err(Failure::retry("reading the photo: connection reset"))
        );
    }

    #[test]
    fn a_text_is_a_reason_to_retry() {
        assert_eq!(Failure::from("not now"), Failure::retry("not now"));
    }

    #[test]
    fn a_fatal_failure_passes_through_the_question_mark() {
        fn inner() -> Result<(), Failure> {
            Err(Failure::fatal("no photo at all"))?;
            Ok(())
        }
        assert!(inner().is_err_and(|failure| failure.is_fatal()));
    }
}
