//! The lever that the slot keeper holds for a running attempt: stop, suspend, resume.
//!
//! It is a level, not a queue: only the newest wish matters, so it is bounded by nature, and a
//! suspend followed at once by a resume may do nothing at all. Stop is final.

use tokio::sync::watch;

/// What the outside wants of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    Suspend,
    Stop,
}

/// Steers one attempt. Clones steer the same attempt; use a new one for each attempt.
#[derive(Clone, Debug)]
pub struct AttemptControl {
    wish: watch::Sender<Wish>,
}

/// The attempt's end of the lever.
pub(crate) struct Orders {
    wish: watch::Receiver<Wish>,
}

impl AttemptControl {
    /// A control for one attempt, which lets it run.
    pub fn new() -> Self {
        Self {
            wish: watch::Sender::new(Wish::Run),
        }
    }

    /// Ends the attempt: asks it to end, and kills it after the handler's grace period. Final, and
    /// the verdict will be [`Stopped`](crate::Verdict::Stopped).
    pub fn stop(&self) {
        self.wish.send_replace(Wish::Stop);
    }

    /// Makes the attempt stand still. It keeps its memory, but burns neither CPU nor time limit.
    pub fn suspend(&self) {
        self.change(Wish::Suspend);
    }

    /// Lets a suspended attempt go on.
    pub fn resume(&self) {
        self.change(Wish::Run);
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        *self.wish.borrow() == Wish::Stop
    }

    /// Waits until the attempt is stopped.
    pub(crate) async fn stopped(&self) {
        let mut wish = self.wish.subscribe();
        // Never an error: this control keeps the channel open.
        let _ = wish.wait_for(|wish| *wish == Wish::Stop).await;
    }

    /// Whether it stands still.
    pub fn is_suspended(&self) -> bool {
        *self.wish.borrow() == Wish::Suspend
    }

    pub(crate) fn orders(&self) -> Orders {
        let mut wish = self.wish.subscribe();
        // What was wished before the attempt began counts too.
        wish.mark_changed();
        Orders { wish }
    }

    fn change(&self, wanted: Wish) {
        self.wish.send_if_modified(|wish| {
            let changes = *wish != Wish::Stop && *wish != wanted;
            if changes {
                *wish = wanted;
            }
            changes
        });
    }
}

impl Default for AttemptControl {
    fn default() -> Self {
        Self::new()
    }
}

impl Orders {
    /// Waits for the next change of mind. Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> Wish {
        if self.wish.changed().await.is_err() {
            // Nobody is left to steer: the attempt runs to its own end.
            std::future::pending::<()>().await;
        }
        *self.wish.borrow_and_update()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_attempt_is_neither_suspended_nor_resumed() {
        let control = AttemptControl::new();
        control.stop();
        control.suspend();
        assert!(control.is_stopped());
        control.resume();
        assert!(control.is_stopped());
    }

    #[tokio::test]
    async fn a_wish_from_before_the_attempt_began_is_heard() {
        let control = AttemptControl::new();
        control.suspend();
        let mut orders = control.orders();
        assert_eq!(orders.next().await, Wish::Suspend);
        control.resume();
        assert_eq!(orders.next().await, Wish::Run);
    }
}
