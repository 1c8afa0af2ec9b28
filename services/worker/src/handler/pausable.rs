//! A future that can be held: while its gate is shut it is not polled.
//!
//! What must hold: no wake-up is lost. A wake-up that comes while the gate is shut is answered
//! with `Pending`; opening the gate polls the future again, whether it was woken or not.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Opens and shuts the way for one [`Pausable`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    shut: AtomicBool,
    waker: AtomicWaker,
}

/// A future behind a [`Gate`].
pub(crate) struct Pausable<F> {
    inner: Pin<Box<F>>,
    gate: Gate,
}

impl Gate {
    pub(crate) fn shut(&self) {
        self.0.shut.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
        self.0.shut.store(false, Ordering::Release);
        self.0.waker.wake();
    }
}

impl<F: Future> Pausable<F> {
    pub(crate) fn new(inner: F, gate: Gate) -> Self {
        Self {
            inner: Box::pin(inner),
            gate,
        }
    }
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Registered before the look at the gate: an opening in between then wakes us again.
        self.gate.0.waker.register(cx.waker());
        if self.gate.0.shut.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.inner.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn a_shut_gate_holds_even_a_future_that_is_ready() {
        let gate = Gate::default();
        let mut held = Pausable::new(async { 7 }, gate.clone());
        gate.shut();
        assert_eq!((&mut held).now_or_never(), None);
        gate.open();
        assert_eq!(held.now_or_never(), Some(7));
    }

    #[tokio::test]
    async fn a_wake_up_while_shut_is_not_lost() {
        let gate = Gate::default();
        gate.shut();
        let (sender, receiver) = oneshot::channel();
        let held = tokio::spawn(Pausable::new(receiver, gate.clone()));
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        tokio::task::yield_now().await;
        assert!(!held.is_finished());
        gate.open();
        let held = timeout(Duration::from_secs(5), held)
            .await
            .expect("it is woken");
        assert_eq!(held.unwrap(), Ok(7));
    }
}
