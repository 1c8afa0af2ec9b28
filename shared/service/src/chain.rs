//! An error and its sources as one line.
//!
//! Our own errors never repeat their source, but those of some libraries do (async-nats prints it).
//! Joined naively, such a chain says everything twice, so a source that was already said is left
//! out.

use std::error::Error;
use std::fmt::{self, Display};

/// The message of `error` and those of its sources, joined by `: `.
///
/// A source whose text the line so far already ends with is not repeated. Made for `error!(error =
/// %chain(&e))` at the one place where the error is handled.
pub fn chain<'a>(error: &'a (dyn Error + 'a)) -> impl Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'a));

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut next = self.0.source();
        while let Some(source) = next {
            let text = source.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            next = source.source();
        }
        f.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|link| link as &(dyn Error + 'static))
        }
    }

    fn line(texts: &[&'static str]) -> String {
        let link = texts
            .iter()
            .rev()
            .fold(None, |next, text| Some(Box::new(Link(text, next))));
        chain(&*link.expect("the tests give at least one text")).to_string()
    }

    #[test]
    fn each_source_follows_its_error() {
        assert_eq!(
            line(&["cannot start", "cannot bind", "in use"]),
            "cannot start: cannot bind: in use"
        );
    }

    #[test]
    fn a_source_that_was_said_already_is_not_repeated() {
        assert_eq!(line(&["io: timed out", "timed out"]), "io: timed out");
        assert_eq!(line(&["a: b: c", "b: c", "c"]), "a: b: c");
    }

    #[test]
    fn what_lies_below_a_repeated_source_is_still_said() {
        assert_eq!(
            line(&["io: timed out", "timed out", "no route"]),
            "io: timed out: no route"
        );
    }

    #[test]
    fn a_source_without_text_leaves_no_colon_behind() {
        assert_eq!(line(&["cannot start", ""]), "cannot start");
    }
}
