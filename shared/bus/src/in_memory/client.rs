//! A client's handle: what the bus does through the NATS client, it does through this in memory.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::packet::message;
use super::world::{Op, World};
use crate::connect::Link;

/// The largest payload that the server takes.
pub(crate) const MAX_PAYLOAD: usize = 1024 * 1024;

/// The server, and its time.
#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    began: Instant,
    /// Woken when something is to happen earlier than was known.
    sooner: Notify,
}

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self {
            world: Mutex::new(world),
            began: Instant::now(),
            sooner: Notify::new(),
        }
    }

    /// Does something with the server, now.
    pub(super) fn with<R>(&self, deed: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        world.go_on(self.now());
        let planned = world.next_event();
        let done = deed(&mut world);
        world.settle();
        let next = world.next_event();
        if next.is_some_and(|next| planned.is_none_or(|planned| next < planned)) {
            self.sooner.notify_one();
        }
        done
    }

    /// Lets happen what happens by itself, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let next = {
                let mut world = self.lock();
                world.go_on(self.now());
                world.next_event()
            };
            let sooner = self.sooner.notified();
            match next {
                Some(at) => {
                    let at = self.began + std::time::Duration::from_micros(at);
                    let _ = tokio::time::timeout_at(at, sooner).await;
                }
                None => sooner.await,
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client of the server in memory.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
    id: usize,
}

impl Client {
    pub(super) fn connect(shared: &Arc<Shared>, name: &str) -> (Self, watch::Receiver<Link>) {
        let (id, link) = shared.with(|world| world.add_client(name));
        let shared = Arc::clone(shared);
        (Self { shared, id }, link)
    }

    pub(crate) fn publish(
        &self,
        subject: &str,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) {
        let packet = Arc::new(message(subject, reply, headers, payload));
        self.send(Op::Publish(packet));
    }

    pub(crate) fn subscribe(&self, pattern: &str) -> Subscriber {
        let (number, messages) = self.shared.with(|world| world.subscribe(self.id, pattern));
        let client = self.clone();
        Subscriber {
            client,
            number,
            messages,
        }
    }

    /// Asks; whoever waits gives up by itself.
    pub(crate) fn request(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Asking {
        let (reply, answer) = self.shared.with(|world| world.expect_answer(self.id));
        let asking = Asking {
            client: self.clone(),
            reply: reply.clone(),
            answer,
        };
        self.publish(subject, Some(reply), headers, payload);
        asking
    }

    pub(crate) fn new_inbox(&self) -> String {
        let number = self.shared.with(|world| world.draw_number(self.id));
        format!("_INBOX.{}.{number}", self.id)
    }

    fn send(&self, op: Op) {
        self.shared.with(|world| world.send_up(self.id, op));
    }
}

/// A request whose answer is awaited: nothing when the client is closed meanwhile. An answer that nobody waits
/// for any more is dropped.
#[derive(Debug)]
pub(crate) struct Asking {
    client: Client,
    reply: String,
    answer: oneshot::Receiver<Message>,
}

impl Future for Asking {
    type Output = Option<Message>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut self.answer).poll(cx).map(Result::ok)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let id = self.client.id;
        let forget = |world: &mut World| world.expect_no_answer(id, &self.reply);
        self.client.shared.with(forget);
    }
}

/// What comes in on a subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    client: Client,
    number: u64,
    messages: mpsc::UnboundedReceiver<Message>,
}

impl Stream for Subscriber {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(cx)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let (client, number) = (self.client.id, self.number);
        let leave = |world: &mut World| world.unsubscribe(client, number);
        self.client.shared.with(leave);
    }
}
