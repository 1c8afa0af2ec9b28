//! The one way to wait for the network: with a limit.

use std::time::Duration;

use tokio::time::timeout;

/// Why something failed, as the layer below tells it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Every wait for the server ends here at the latest, unless it says otherwise.
pub(crate) const NETWORK_LIMIT: Duration = Duration::from_secs(5);

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
