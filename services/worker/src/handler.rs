//! Handlers written in Rust: the public face of the worker library.
//!
//! A handler is an async function from a [`Task`] to bytes or a [`Failure`]:
//!
//! ```
//! use rota_worker::{Entry, Failure, Registry, Task};
//!
//! let mut registry = Registry::new();
//! registry.insert("shout", Entry::function(|task: Task| async move {
//!     let text = std::str::from_utf8(task.input())
//!         .map_err(|_| Failure::fatal("the input must be UTF-8"))?; // for good: never retried
//!     if text == "try again" {
//!         Err(std::io::Error::other("not now"))?; // any error: retried
//!     }
//!     Ok(text.to_uppercase())
//! }))?;
//! # Ok::<(), rota_worker::RegistryError>(())
//! ```

pub(crate) mod failure;
pub(crate) mod function;
mod pausable;
pub(crate) mod registry;
pub(crate) mod task;

use std::pin::Pin;

use bytes::Bytes;

use failure::Failure;
use task::Task;

/// The future of one attempt.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>>;

/// Handles the tasks of one kind.
///
/// Async closures and functions that take a [`Task`] and return `Result<impl Into<Bytes>, Failure>`
/// are handlers. Implement it by hand for a handler that carries much state of its own.
///
/// What is promised: each attempt runs on a tokio task of its own, so a panic is a failed attempt
/// and nothing more. What is asked: a handler that computes for long without an await blocks its
/// thread, and can neither be suspended nor stopped meanwhile; use `spawn_blocking` for that. What
/// a handler spawns itself is not ended with it.
pub trait Handler: Send + Sync + 'static {
    /// Starts one attempt.
    fn handle(&self, task: Task) -> HandlerFuture;
}

impl<F, Running, Output> Handler for F
where
    F: Fn(Task) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<Output, Failure>> + Send + 'static,
    Output: Into<Bytes>,
{
    fn handle(&self, task: Task) -> HandlerFuture {
        let running = self(task);
        Box::pin(async move { running.await.map(Into::into) })
    }
}
