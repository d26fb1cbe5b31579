//! What a pipeline tells about single messages.

use std::sync::Arc;

use bytes::Bytes;
use pulsar_client::MessageId;

use crate::record::{Record, Run};

/// A processed message, as its consumer's owner sees it.
#[derive(Debug, Clone)]
pub struct Processed {
    /// Full name of the input's topic or partition.
    pub topic: Arc<str>,
    /// The input's id.
    pub message_id: MessageId,
    /// The result, or `code: text` of what went wrong.
    pub data: Result<Bytes, String>,
    /// How it was processed: one for all messages that were computed together.
    pub run: Arc<Run>,
}

impl From<&Record> for Processed {
    fn from(record: &Record) -> Self {
        Processed {
            topic: record.entry().topic.clone(),
            message_id: record.message_id(),
            data: record.result.clone().map_err(|failure| failure.to_string()),
            run: record.run.clone(),
        }
    }
}

/// Takes results for whoever watches, once the output has confirmed them. At most once, unlike the
/// output: dropping them loses nothing that was promised. Called on the pipeline's task: must not block.
pub trait ResultSink: Send + Sync + 'static {
    /// Takes the results of a batch, in the order of its inputs.
    fn deliver(&self, results: Vec<Processed>);
}

/// Drops every result.
pub struct NoResults;

impl ResultSink for NoResults {
    fn deliver(&self, _results: Vec<Processed>) {}
}
