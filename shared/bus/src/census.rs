//! How many kinds wait, and whether one does: what the submitter asks before it lets in a kind that it does
//! not know. Cheap: the server counts subjects anyway, and looks up those of one kind in its index.

use futures_util::TryStreamExt;
use rota_wire::Kind;

use crate::connect::{Bus, NETWORK_LIMIT};
use crate::inspect::InspectError;
use crate::streams::StreamName;

impl Bus {
    /// How many lanes have tasks in them, whether they wait or are held by somebody.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn count_lanes(&self) -> Result<u64, InspectError> {
        let counting = async {
            let stream = self.subjects().stream(StreamName::Ready.part());
            let stream = self.jetstream.get_stream_no_info(stream).await?;
            Ok(stream.get_info().await?.state.subjects_count)
        };
        self.counted(counting).await
    }

    /// Whether any task of a kind is in its lanes.
    ///
    /// # Errors
    /// [`InspectError`] when the server does not tell.
    pub async fn is_kind_waiting(&self, kind: &Kind) -> Result<bool, InspectError> {
        let looking = async {
            let stream = self.subjects().stream(StreamName::Ready.part());
            let stream = self.jetstream.get_stream_no_info(stream).await?;
            let lanes = self.subjects().ready_of(kind).to_string();
            let mut subjects = stream.info_with_subjects(lanes).await?;
            Ok(subjects.try_next().await?.is_some())
        };
        self.counted(looking).await
    }

    async fn counted<T>(
        &self,
        reading: impl Future<Output = Result<T, async_nats::Error>>,
    ) -> Result<T, InspectError> {
        let what = self.subjects().stream(StreamName::Ready.part());
        let failed = |source| InspectError {
            what: what.clone(),
            source,
        };
        match tokio::time::timeout(NETWORK_LIMIT, reading).await {
            Ok(read) => read.map_err(failed),
            Err(elapsed) => Err(failed(elapsed.into())),
        }
    }
}
