//! How many lanes have tasks, and how many messages wait in the schedule: what the submitter asks before it lets
//! in a kind that it does not know, and whether it lets in anything. Cheap, as the server counts them anyway.

use crate::connect::Bus;
use crate::inspect::InspectError;
use crate::limit::within;
use crate::streams::StreamName;

impl Bus {
    /// How many lanes have tasks in them, whether they wait or are held by somebody.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn count_lanes(&self) -> Result<u64, InspectError> {
        let what = self.subjects().stream(StreamName::Ready.part());
        let counted = within(self.subject_count_of(&what)).await;
        counted.map_err(|source| InspectError { what, source })
    }

    /// How many messages are in the schedule: those that wait for their time, and what has fallen due and was not
    /// passed on yet.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn count_scheduled(&self) -> Result<u64, InspectError> {
        let what = self.subjects().stream(StreamName::Schedule.part());
        let counted = within(self.message_count_of(&what)).await;
        counted.map_err(|source| InspectError { what, source })
    }
}
