//! The one way to wait for the network: with a limit.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

/// Why something failed, as the layer below tells it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Every wait for the server ends here at the latest, unless it says otherwise.
pub(crate) const NETWORK_LIMIT: Duration = Duration::from_secs(5);

/// A question is asked again after so long. Servers that elect a leader let questions fall without a word.
const QUESTION_LIMIT: Duration = Duration::from_millis(700);

/// The server let so much time pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {}s", .0.as_secs())]
pub(crate) struct NoAnswer(pub(crate) Duration);

/// Waits for something that may fail, at most [`NETWORK_LIMIT`].
pub(crate) async fn within<T, E: Into<Cause>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Cause> {
    within_limit(NETWORK_LIMIT, work).await
}

/// Waits for something that may fail, at most `limit`.
pub(crate) async fn within_limit<T, E: Into<Cause>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Cause> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(NoAnswer(limit).into()),
    }
}

/// Waits at most [`NETWORK_LIMIT`].
pub(crate) async fn limited<F: Future>(work: F) -> Result<F::Output, NoAnswer> {
    let done = timeout(NETWORK_LIMIT, work).await;
    done.map_err(|_| NoAnswer(NETWORK_LIMIT))
}

/// Asks, again and again, until there is an answer that stands, at most [`NETWORK_LIMIT`]; then the last
/// one. Only for questions that change nothing.
pub(crate) async fn asked<F: Future>(
    ask: impl Fn() -> F,
    stands: impl Fn(&F::Output) -> bool,
) -> Result<F::Output, NoAnswer> {
    let end = Instant::now() + NETWORK_LIMIT;
    loop {
        let next = (Instant::now() + QUESTION_LIMIT).min(end);
        let answer = tokio::time::timeout_at(next, ask()).await.ok();
        let over = Instant::now() >= end;
        match answer {
            Some(answer) if over || stands(&answer) => return Ok(answer),
            None if over => return Err(NoAnswer(NETWORK_LIMIT)),
            Some(_) => sleep_until(next).await,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Answers to the first questions, in order: `None` is none.
    async fn ask(answers: &[Option<bool>]) -> (Result<bool, NoAnswer>, usize) {
        let asked_times = Cell::new(0);
        let question = || {
            let answer = answers.get(asked_times.get()).copied().flatten();
            asked_times.set(asked_times.get() + 1);
            async move {
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        };
        let answer = asked(question, |stands| *stands).await;
        (answer, asked_times.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_or_does_not_stand_is_asked_again() {
        let begin = Instant::now();
        let answers = [None, Some(false), Some(true)];
        assert_eq!(ask(&answers).await, (Ok(true), 3));
        assert_eq!(begin.elapsed(), 2 * QUESTION_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn in_the_end_the_last_answer_is_given_or_none() {
        let begin = Instant::now();
        assert_eq!(ask(&[Some(false); 100]).await.0, Ok(false));
        assert!(begin.elapsed() <= NETWORK_LIMIT);
        assert_eq!(ask(&[]).await.0, Err(NoAnswer(NETWORK_LIMIT)));
    }
}
