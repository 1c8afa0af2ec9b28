//! Pulling without end, as the NATS client does for a feed.

use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::{Client, Subscriber};
use crate::limit::Cause;

/// How long a pull lives. It stands in for the heartbeats of the NATS client: silence for twice as long is an
/// error.
const PULL_LIFETIME: Duration = Duration::from_secs(3);

/// Messages of a consumer.
#[derive(Debug)]
pub(crate) struct Puller {
    client: Client,
    subject: String,
    inbox: String,
    messages: Subscriber,
    batch: usize,
    /// What is still to come of the pull that is open.
    owed: usize,
    /// When the server was last heard, or asked.
    heard: Instant,
}

impl Client {
    pub(crate) fn puller(&self, stream: &str, consumer: &str, batch: usize) -> Puller {
        let inbox = self.new_inbox();
        Puller {
            client: self.clone(),
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            messages: self.subscribe(&inbox),
            inbox,
            batch,
            owed: 0,
            heard: Instant::now(),
        }
    }
}

impl Puller {
    /// The next message. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Message, Cause> {
        loop {
            if self.owed == 0 {
                self.pull();
            }
            // Whoever waits may begin anew each second: silence is counted over all of that.
            let silence = self.heard + 2 * PULL_LIFETIME;
            let next = timeout_at(silence, self.messages.next()).await;
            let message = next?.ok_or("the connection is closed")?;
            self.heard = Instant::now();
            match message.status.map(|status| status.as_u16()) {
                None => {
                    self.owed -= 1;
                    return Ok(message);
                }
                Some(404 | 408) => self.owed = 0,
                Some(409) if message.description.as_deref() == Some("Leadership Change") => {
                    self.owed = 0;
                }
                Some(status) => {
                    self.owed = 0;
                    let description = message.description.unwrap_or_default();
                    return Err(format!("a pull ended with {status} {description}").into());
                }
            }
        }
    }

    fn pull(&mut self) {
        self.owed = self.batch;
        self.heard = Instant::now();
        let expires = PULL_LIFETIME.as_nanos();
        let body = format!(r#"{{"batch":{},"expires":{expires}}}"#, self.batch);
        let inbox = Some(self.inbox.clone());
        self.client.publish(&self.subject, inbox, None, body.into());
    }
}
