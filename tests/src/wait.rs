//! Waiting for a state with a limit.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// For waits whose length is not what a test is about: much longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Looks until the state is there. `look` gives what was waited for, or says what it sees instead.
///
/// # Panics
/// When the limit is over: with what was waited for, and what was seen last.
pub async fn wait_for<T>(
    what: impl Display,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(
                Instant::now() < deadline,
                "not within {limit:?}: {what}; seen last: {seen}"
            ),
        }
        sleep(POLL).await;
    }
}
