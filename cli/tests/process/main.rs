//! `rota` as a person uses it: real processes, a real nats-server on a free port, a temporary store.

// Clippy allows it in test functions, but does not see that their helpers are tests too.
#![allow(clippy::unwrap_used)]

mod client;
mod help;
mod installation;
mod up;
