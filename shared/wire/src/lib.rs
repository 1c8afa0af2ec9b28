//! What crosses the wire: ids, task options, results, and the frames that the services send each other.
//!
//! People's side of the wire is text: subjects name the kind, headers carry the options, the body is
//! theirs. [`options`], [`task`] and [`result`] hold that half. Between services everything is a
//! [`frame`]: postcard behind one version byte. This crate does no I/O and knows no NATS client.
//!
//! ```text
//! ids ── span ── resources ── headers   the vocabulary
//!   └─ options ── task ── result  what people write and read
//!   └─ dialect ── frame ── fleet, dispatch, event, memory   what the services say to each other
//! ```
//!
//! What must hold: whatever bytes arrive, decoding returns an error and never panics.

mod bounded;
pub mod dialect;
pub mod dispatch;
pub mod event;
pub mod explain;
pub mod fleet;
pub mod frame;
pub mod headers;
pub mod ids;
pub mod memory;
pub mod options;
pub mod resources;
pub mod result;
pub mod span;
pub mod task;

pub use dialect::Dialect;
pub use dispatch::Input;
pub use headers::Headers;
pub use ids::{Delivery, Holding, Kind, Lane, Priority, TaskId, Term, WorkerId};
pub use memory::Memory as LeaderMemory;
pub use options::TaskOptions;
pub use resources::{Cpu, Label, Memory, Resources};
pub use span::{Micros, Span};
pub use task::{Recheck, Rejection, TaskSpec, Unreadable};
