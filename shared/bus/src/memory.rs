//! What a leader leaves to its successors: read once a term, written rarely. Losing it costs quality, never a
//! task, so whatever cannot be read is as good as nothing.

use rota_wire::frame;
use rota_wire::memory::Memory;
use tracing::warn;

use crate::connect::Bus;
use crate::kv::{Key, KeyError, Value};
use crate::limit::Cause;

/// The leader of the schedulers.
const KEY: &str = "scheduler";

/// Why the memory is not read or written.
#[derive(Debug, thiserror::Error)]
#[error("the leader's memory: {attempted}")]
pub struct MemoryError {
    /// What was tried.
    pub attempted: &'static str,
    /// Why.
    pub source: Cause,
}

impl Bus {
    /// What the last leader left, if anything can be made of it.
    ///
    /// # Errors
    /// [`MemoryError`] when the server does not answer.
    pub async fn load_memory(&self) -> Result<Option<Memory>, MemoryError> {
        let bucket = self.subjects().memory_bucket();
        let (bucket, key) = (bucket.as_str(), KEY);
        let found = match self.read_key(Key { bucket, key }).await {
            Ok(found) => found,
            Err(KeyError::NoBucket) => None,
            Err(error) => return Err(failed("reading", error)),
        };
        let read = found.map(|found| frame::decode(&found.body)).transpose();
        Ok(read.unwrap_or_else(|error| {
            warn!(%error, "what the last leader left cannot be read: beginning without it");
            None
        }))
    }

    /// Leaves it to the next leader.
    ///
    /// # Errors
    /// [`MemoryError`] when it is not known to be stored.
    pub async fn store_memory(&self, memory: &Memory) -> Result<(), MemoryError> {
        let bytes = frame::encode(memory);
        if bytes.len() > self.body_bytes_max() {
            let source = format!("{} bytes are over the server's limit", bytes.len());
            let (attempted, source) = ("writing", source.into());
            return Err(MemoryError { attempted, source });
        }
        let bucket = self.subjects().memory_bucket();
        let (bucket, key) = (bucket.as_str(), KEY);
        let written = self.write_key(Key { bucket, key }, Value::Put(bytes), None);
        written.await.map_err(|error| failed("writing", error))?;
        Ok(())
    }
}

fn failed(attempted: &'static str, error: KeyError) -> MemoryError {
    let source = error.into();
    MemoryError { attempted, source }
}
