//! Making the streams and buckets, with the settings that they have on NATS.

use std::collections::BTreeMap;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use serde::de::IgnoredAny;

use crate::api::{ApiError, STREAM_NOT_FOUND};
use crate::connect::Bus;
use crate::streams::{StreamError, StreamName, StreamOptions, lease_bucket, memory_bucket};
use crate::subjects::Subjects;

const NAME_IN_USE: u64 = 10_058;

impl Bus {
    pub(crate) async fn ensure_in_memory(&self, options: StreamOptions) -> Result<(), StreamError> {
        let streams = StreamName::ALL.map(|name| name.config(self.subjects(), options));
        let buckets =
            [lease_bucket, memory_bucket].map(|of| stream_of(of(self.subjects(), options)));
        let mut all: BTreeMap<String, Config> = BTreeMap::new();
        for config in streams.into_iter().chain(buckets) {
            all.insert(config.name.clone(), config);
        }
        for (stream, config) in all {
            // As with a real server each is looked for first, and only its leader answers.
            match self
                .api::<IgnoredAny>(&format!("STREAM.INFO.{stream}"), String::new())
                .await
            {
                Ok(_) => continue,
                Err(ApiError::Refused {
                    code: STREAM_NOT_FOUND,
                    ..
                }) => {}
                Err(error) => {
                    let source = error.into();
                    return Err(StreamError::Read { stream, source });
                }
            }
            let body = serde_json::to_string(&config).expect("settings are plain data");
            let call = format!("STREAM.CREATE.{stream}");
            match self.api::<IgnoredAny>(&call, body).await {
                Ok(_)
                | Err(ApiError::Refused {
                    code: NAME_IN_USE, ..
                }) => {}
                Err(error) => {
                    let source = error.into();
                    return Err(StreamError::Create { stream, source });
                }
            }
        }
        Ok(())
    }
}

/// The stream behind a bucket.
fn stream_of(bucket: kv::Config) -> Config {
    Config {
        name: Subjects::bucket_stream(&bucket.bucket),
        subjects: vec![format!("$KV.{}.>", bucket.bucket)],
        max_messages_per_subject: bucket.history,
        max_age: bucket.max_age,
        num_replicas: bucket.num_replicas,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        ..Config::default()
    }
}
