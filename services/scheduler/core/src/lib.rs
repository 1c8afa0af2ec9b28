//! Every decision of the scheduler, as a state machine without I/O, clock, threads or logging.
//!
//! Events and the time go in, actions and the next deadline come out. The service feeds it from NATS,
//! the simulator from a virtual clock, the tests from sequences of events: all run this code.
//!
//! ```text
//!            Delivered            Looked: nothing          place
//! (unknown) ──────────► LookingUp ───────────────► Ready ─────────► Held ──Stored──► acked
//!     ▲          └── fresh: no look-up needed ──────▲                │ │
//!     │                                             │     lost,      │ └─Failed─► Settling ─► acked
//!     └───────────── redelivered ◄── Returning ◄────┴── handed back ─┘            (retry or dead letter
//!                                     (nak)                                        is stored first)
//!
//!  Held is one of:  running ◄── resume, suspend ──► suspended    (on the same worker)
//! ```
//!
//! What must hold after each event ([`Scheduler::check`] looks):
//! 1. A task is held by one worker at most.
//! 2. No worker runs more than its slots and its declared resources allow, unless it came with more; and no
//!    more are suspended on it than may be.
//! 3. A message is acked only when its result, its retry or its dead letter is stored.
//! 4. What was delivered is known until it is acked, or given back and delivered again.
//! 5. Same options, seed and events give the same actions.
//!
//! Reading order: [`event`], [`action`], [`scheduler`]; then what comes in (`deliveries`, `heartbeats`,
//! `outcomes`, `recovery`), what waits (`order`, `queue`, `waiting`, `estimates`), who has room (`fleet`,
//! `allocation`), and what is decided from both (`dispatch`, `preemption`); `explain` tells why.

pub mod action;
pub mod event;
pub mod options;
pub mod policy;
pub mod scheduler;

mod allocation;
mod check;
mod deliveries;
mod departures;
mod dispatch;
mod estimates;
mod explain;
mod fleet;
mod heartbeats;
mod lanes;
mod lineage;
mod losses;
mod maps;
mod opening;
mod order;
mod outcomes;
mod preemption;
mod queue;
mod recovery;
mod reservation;
mod retried;
#[cfg(test)]
mod rig;
mod tasks;
mod unserved;
mod waiting;

pub use action::{Action, AssignFrame, Freshness, Placed};
pub use event::{Event, Looked, PullEnd};
pub use options::{LoadView, Options, Recording};
pub use policy::{Allocation, Binding, Order, Policy};
pub use scheduler::{Beginning, Scheduler};
