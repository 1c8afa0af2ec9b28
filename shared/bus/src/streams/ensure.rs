//! Creating what is missing and comparing what is there.
//!
//! All are looked for at once: a cluster that has just lost a server takes its time to answer for each. And each
//! is looked for before it is created: the server counts the space of a stream that is there already as wanted
//! once more.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::Config;
use futures_util::future::{join_all, try_join_all};
use rota_wire::Micros;
use tracing::info;

use super::{LEASE_TTL, MIB, StreamError, StreamName, StreamOptions, compare};
use crate::connect::Bus;
use crate::limit::{Cause, asked, limited, within};
use crate::subjects::Subjects;

/// A stream that is there.
struct Existing {
    config: Config,
    last_sequence: u64,
}

impl Bus {
    /// Creates what is missing and compares what is there.
    ///
    /// # Errors
    /// [`StreamError`]; one that differs names the field.
    pub async fn ensure_streams(&self, options: StreamOptions) -> Result<(), StreamError> {
        #[cfg(feature = "memory")]
        if let crate::client::Client::Memory(_) = self.client() {
            return self.ensure_in_memory(options).await;
        }
        // Boxed: they are large, and the future of each service would be.
        let streams = Box::pin(self.ensure_all(options));
        let leases = Box::pin(self.ensure_bucket(lease_bucket(self.subjects(), options)));
        let memory = Box::pin(self.ensure_bucket(memory_bucket(self.subjects(), options)));
        tokio::try_join!(streams, leases, memory)?;
        Ok(())
    }

    async fn ensure_all(&self, options: StreamOptions) -> Result<(), StreamError> {
        let config = |name: StreamName| name.config(self.subjects(), options);
        let wanted = StreamName::ALL.map(config);
        let looking = wanted.iter().map(|wanted| self.existing(&wanted.name));
        let found = try_join_all(looking).await?;
        let is_used = |found: &Existing| found.last_sequence > 0;
        let used = found.iter().flatten().any(is_used);
        let mut creating = Vec::new();
        for ((name, mut wanted), found) in StreamName::ALL.into_iter().zip(wanted).zip(found) {
            match found {
                Some(found) => compare(&found.config, &wanted)?,
                None => {
                    if name == StreamName::Intake && used {
                        wanted.first_sequence = Some(Micros::now().0);
                    }
                    creating.push(self.create(wanted));
                }
            }
        }
        // All are tried, so that the first that fails hinders no other.
        join_all(creating).await.into_iter().collect()
    }

    async fn create(&self, wanted: Config) -> Result<(), StreamError> {
        let stream = wanted.name.clone();
        info!(%stream, "creating a stream that is not there");
        let failed = |source| StreamError::Create {
            stream: stream.clone(),
            source,
        };
        let jetstream = self.jetstream().map_err(failed)?;
        let error = match limited(Box::pin(jetstream.create_stream(wanted.clone()))).await {
            Ok(Ok(found)) => return compare(&found.cached_info().config, &wanted),
            Ok(Err(error)) => error,
            Err(error) => {
                let source = error.into();
                return Err(StreamError::Create { stream, source });
            }
        };
        let is = |code| matches!(error.kind(), CreateStreamErrorKind::JetStream(inner) if inner.error_code() == code);
        // Another service was a moment earlier.
        if is(ErrorCode::STREAM_NAME_EXIST)
            && let Some(found) = self.existing(&stream).await?
        {
            return compare(&found.config, &wanted);
        }
        if is(ErrorCode::STORAGE_RESOURCES_EXCEEDED) {
            let (mib, source) = (wanted.max_bytes / MIB, error.into());
            return Err(StreamError::NoRoom {
                stream,
                mib,
                source,
            });
        }
        let source = error.into();
        Err(StreamError::Create { stream, source })
    }

    async fn existing(&self, stream: &str) -> Result<Option<Existing>, StreamError> {
        let failed = |source| StreamError::Read {
            stream: stream.to_owned(),
            source,
        };
        let jetstream = self.jetstream().map_err(failed)?;
        let stands = |found: &Result<_, GetStreamError>| match found {
            Ok(_) => true,
            Err(error) => !is_passing(error),
        };
        match asked(|| jetstream.get_stream(stream), stands).await {
            Ok(Ok(found)) => {
                let info = found.cached_info();
                Ok(Some(Existing {
                    config: info.config.clone(),
                    last_sequence: info.state.last_sequence,
                }))
            }
            Ok(Err(error)) if is_not_found(&error) => Ok(None),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(error) => Err(failed(error.into())),
        }
    }

    async fn ensure_bucket(&self, wanted: kv::Config) -> Result<(), StreamError> {
        let stream = Subjects::bucket_stream(&wanted.bucket);
        if let Some(found) = self.existing(&stream).await? {
            return compare_bucket(&found.config, &wanted);
        }
        let bucket = wanted.bucket.clone();
        info!(%bucket, "creating a bucket that is not there");
        let creating = async {
            let jetstream = self.jetstream()?;
            Ok::<_, Cause>(jetstream.create_key_value(wanted.clone()).await?)
        };
        let created = within(creating).await;
        match created {
            Ok(_) => Ok(()),
            Err(source) => self.created_by_another(&stream, &wanted, source).await,
        }
    }

    /// Another service may have been a moment earlier, with more or fewer servers than we want.
    async fn created_by_another(
        &self,
        stream: &str,
        wanted: &kv::Config,
        source: Cause,
    ) -> Result<(), StreamError> {
        match self.existing(stream).await? {
            Some(found) => compare_bucket(&found.config, wanted),
            None => Err(StreamError::Bucket {
                bucket: wanted.bucket.clone(),
                source,
            }),
        }
    }
}

pub(crate) fn lease_bucket(subjects: &Subjects, options: StreamOptions) -> kv::Config {
    kv::Config {
        bucket: subjects.lease_bucket(),
        description: "leadership and locks of Rota: a key's revision is its fencing token".into(),
        history: 1,
        max_age: LEASE_TTL,
        num_replicas: options.replicas,
        ..kv::Config::default()
    }
}

pub(crate) fn memory_bucket(subjects: &Subjects, options: StreamOptions) -> kv::Config {
    kv::Config {
        bucket: subjects.memory_bucket(),
        description: "what leaders of Rota leave to their successors; may be deleted".into(),
        history: 1,
        num_replicas: options.replicas,
        ..kv::Config::default()
    }
}

fn compare_bucket(found: &Config, wanted: &kv::Config) -> Result<(), StreamError> {
    let fields = [
        (
            "max_age",
            format!("{:?}", found.max_age),
            format!("{:?}", wanted.max_age),
        ),
        (
            "num_replicas",
            found.num_replicas.to_string(),
            wanted.num_replicas.to_string(),
        ),
    ];
    for (field, found_value, wanted_value) in fields {
        if found_value != wanted_value {
            return Err(StreamError::Differs {
                stream: found.name.clone(),
                field,
                found: found_value,
                wanted: wanted_value,
            });
        }
    }
    Ok(())
}

/// The servers are electing a leader, or the question was lost.
fn is_passing(error: &GetStreamError) -> bool {
    match error.kind() {
        GetStreamErrorKind::Request => true,
        GetStreamErrorKind::JetStream(inner) => {
            inner.error_code() == ErrorCode::CLUSTER_NOT_AVAILABLE
        }
        _ => false,
    }
}

fn is_not_found(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(inner)
        if inner.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
