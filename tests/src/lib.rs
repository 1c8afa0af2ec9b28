//! The harness of the end-to-end tests: whole installations of Rota made of the real binaries and a real
//! nats-server.
//!
//! ```text
//! Installation ── its own nats-server, on a free port with a temporary store
//!   ├── start(Service, flags) ──► Process: kill, pause, resume, terminate, exited, log
//!   ├── submit, submit_many, result, until_settled
//!   └── handlers, lines, write: commands for the workers, and the files that they leave
//! RawClient ── the lines of the NATS protocol, for what the typed bus would never send
//! wait_for  ── the only way to wait: a state, a limit, and what was seen last
//! ```
//!
//! What must hold: nothing outlives the test that started it, a worker's orphaned commands included; each
//! wait ends and says what it waited for; and a test that fails shows what its processes said.

mod binaries;
mod handler;
mod installation;
mod leftovers;
mod process;
mod raw;
mod wait;

pub use binaries::{Service, build_packages};
pub use handler::Handler;
pub use installation::Installation;
pub use leftovers::processes_with;
pub use process::Process;
pub use raw::{RawClient, Reply};
pub use wait::{LIMIT, wait_for};
