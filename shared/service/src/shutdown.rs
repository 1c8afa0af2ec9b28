//! Signals: the first SIGTERM or SIGINT drains, the second ends.
//!
//! A parent that wants its services to end with it, also when it is killed, gives each a pipe as standard
//! input and sets [`LIFELINE`]: the end of the pipe drains as a first signal does.
//!
//! ```text
//! running ── signal, drain() ──► draining ── signal, end() ──► ended
//!    └───────────────────── end() ──────────────────────────────▲
//! ```
//!
//! Both states are tokens, so any number of parts can wait for them and none can miss them. What
//! must hold: who sees `ended` also sees `draining`, and neither is ever taken back.

use std::io;
use std::os::fd::AsFd;

use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Set to anything, it says that the standard input is a pipe that is open as long as the parent lives.
pub const LIFELINE: &str = "ROTA_LIFELINE";

/// The wish to stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    ended: CancellationToken,
}

impl Shutdown {
    /// A shutdown that no signal starts: for tests, and for a service inside a larger process.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Installs the handlers for SIGTERM and SIGINT. Must be called inside a tokio runtime.
    ///
    /// Two signals that arrive before the first was seen count as one: the kernel and the runtime
    /// both merge them.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        let shutdown = Self::new();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        // The one task that nobody waits for: it holds nothing, and must outlive every part that
        // drains.
        tokio::spawn(shutdown.clone().follow(terminate, interrupt));
        if std::env::var_os(LIFELINE).is_some() {
            let parent = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
            tokio::spawn(shutdown.clone().outlive(parent));
        }
        Ok(shutdown)
    }

    /// Cancelled when the service is to take nothing new and to finish what it has.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when the service is to stop at once.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Starts the drain, as the first signal does.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Ends at once, as the second signal does.
    pub fn end(&self) {
        self.draining.cancel();
        self.ended.cancel();
    }

    async fn follow(self, mut terminate: Signal, mut interrupt: Signal) {
        while !self.ended.is_cancelled() {
            let name = tokio::select! {
                biased;
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                else => return,
            };
            self.on_signal(name);
        }
    }

    /// Nothing is ever written into the pipe: it only ends.
    async fn outlive(self, parent: pipe::Receiver) {
        let mut nothing = [0; 16];
        loop {
            // An error tells as well as an end that nobody holds the other side.
            if parent.readable().await.is_err() {
                break;
            }
            match parent.try_read(&mut nothing) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => break,
            }
        }
        if !self.draining.is_cancelled() {
            warn!("draining: the process that started this one is gone");
            self.drain();
        }
    }

    fn on_signal(&self, name: &'static str) {
        if self.draining.is_cancelled() {
            warn!(signal = name, "ending at once");
            self.end();
        } else {
            info!(signal = name, "draining, a second signal ends at once");
            self.drain();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_drains_and_the_second_ends() {
        let shutdown = Shutdown::new();
        shutdown.on_signal("SIGTERM");
        assert!(shutdown.draining().is_cancelled());
        assert!(!shutdown.ended().is_cancelled());
        shutdown.on_signal("SIGINT");
        assert!(shutdown.ended().is_cancelled());
    }

    #[test]
    fn who_is_ended_is_also_draining() {
        let shutdown = Shutdown::new();
        shutdown.end();
        assert!(shutdown.draining().is_cancelled());
        assert!(shutdown.ended().is_cancelled());
    }

    #[test]
    fn a_signal_during_a_drain_that_was_asked_for_in_code_ends() {
        let shutdown = Shutdown::new();
        shutdown.drain();
        shutdown.on_signal("SIGTERM");
        assert!(shutdown.ended().is_cancelled());
    }
}
