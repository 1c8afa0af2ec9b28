//! The calls of JetStream's interface about streams' subjects and consumers, in one request each.
//!
//! Not the client's own handles: those cannot be had for a server in memory, and these few calls are all that
//! lanes need.

use std::collections::BTreeMap;

use async_nats::jetstream::consumer::{Config, Info, IntoConsumerConfig, pull};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::api::ApiError;
use crate::connect::Bus;

/// The server's code for a consumer that is not there.
const CONSUMER_NOT_FOUND: u64 = 10_014;
/// Pages of a list that are read at most.
const PAGES_MAX: usize = 1_000;

#[derive(Serialize)]
struct MakeConsumer<'a> {
    stream_name: &'a str,
    config: Config,
}

#[derive(Deserialize)]
struct Names {
    total: usize,
    #[serde(default)]
    consumers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Subjects {
    state: SubjectsState,
}

#[derive(Deserialize)]
struct Counted {
    state: CountedState,
}

#[derive(Deserialize)]
struct CountedState {
    messages: u64,
    #[serde(default)]
    num_subjects: u64,
}

#[derive(Deserialize)]
struct SubjectsState {
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

impl Bus {
    /// Makes a consumer, or changes the one of that name.
    pub(crate) async fn make_consumer(
        &self,
        stream: &str,
        config: pull::Config,
    ) -> Result<(), ApiError> {
        let config = config.into_consumer_config();
        let name = config.durable_name.clone().unwrap_or_default();
        let call = format!("CONSUMER.CREATE.{stream}.{name}.{}", config.filter_subject);
        let request = MakeConsumer {
            stream_name: stream,
            config,
        };
        let body =
            serde_json::to_string(&request).map_err(|error| ApiError::Failed(error.into()))?;
        self.api::<IgnoredAny>(&call, body).await?;
        Ok(())
    }

    /// A consumer's settings and how far it has come; nothing when it is not there.
    pub(crate) async fn consumer_info(
        &self,
        stream: &str,
        name: &str,
    ) -> Result<Option<Info>, ApiError> {
        let call = format!("CONSUMER.INFO.{stream}.{name}");
        unless_gone(self.api(&call, String::new()).await)
    }

    /// What is not acked comes again, as if for the first time.
    pub(crate) async fn reset_consumer_of(&self, stream: &str, name: &str) -> Result<(), ApiError> {
        let call = format!("CONSUMER.RESET.{stream}.{name}");
        self.api::<IgnoredAny>(&call, String::new()).await?;
        Ok(())
    }

    /// Deletes a consumer; one that is not there is as good as deleted.
    pub(crate) async fn delete_consumer_of(
        &self,
        stream: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let call = format!("CONSUMER.DELETE.{stream}.{name}");
        unless_gone(self.api::<IgnoredAny>(&call, String::new()).await)?;
        Ok(())
    }

    /// The names of a stream's consumers.
    pub(crate) async fn consumer_names(&self, stream: &str) -> Result<Vec<String>, ApiError> {
        let mut names = Vec::new();
        for _ in 0..PAGES_MAX {
            let body = format!(r#"{{"offset":{}}}"#, names.len());
            let page: Names = self.api(&format!("CONSUMER.NAMES.{stream}"), body).await?;
            let consumers = page.consumers.unwrap_or_default();
            let is_last = consumers.is_empty() || names.len() + consumers.len() >= page.total;
            names.extend(consumers);
            if is_last {
                break;
            }
        }
        Ok(names)
    }

    /// How many subjects have messages in a stream.
    pub(crate) async fn subject_count_of(&self, stream: &str) -> Result<u64, ApiError> {
        Ok(self.counts_of(stream).await?.num_subjects)
    }

    /// How many messages are in a stream.
    pub(crate) async fn message_count_of(&self, stream: &str) -> Result<u64, ApiError> {
        Ok(self.counts_of(stream).await?.messages)
    }

    async fn counts_of(&self, stream: &str) -> Result<CountedState, ApiError> {
        let call = format!("STREAM.INFO.{stream}");
        let info: Counted = self.api(&call, String::new()).await?;
        Ok(info.state)
    }

    /// The subjects under a pattern that have messages in a stream, with their number, in order.
    pub(crate) async fn subjects_of(
        &self,
        stream: &str,
        pattern: &str,
    ) -> Result<BTreeMap<String, u64>, ApiError> {
        let mut found = BTreeMap::new();
        for _ in 0..PAGES_MAX {
            let offset = found.len();
            let body = format!(r#"{{"subjects_filter":"{pattern}","offset":{offset}}}"#);
            let page: Subjects = self.api(&format!("STREAM.INFO.{stream}"), body).await?;
            let subjects = page.state.subjects.unwrap_or_default();
            if subjects.is_empty() {
                break;
            }
            found.extend(subjects);
            // Pages of another order would never come to an end.
            if found.len() == offset {
                break;
            }
        }
        Ok(found)
    }
}

fn unless_gone<A>(answer: Result<A, ApiError>) -> Result<Option<A>, ApiError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ApiError::Refused { code, .. }) if code == CONSUMER_NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}
