//! A processed message on its way out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gpu_processor::{Backend, BatchResult};
use pulsar_client::wire::entry::{Entry, MessageView};
use pulsar_client::MessageId;

use crate::batch;
use crate::failure::Failure;

/// How messages were processed; what was computed together shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The device, such as `cpu:0`; `None` where every attempt failed.
    pub device: Option<String>,
    /// How the device is driven.
    pub backend: Option<Backend>,
    /// The job's processing type.
    pub processing_type: &'static str,
    /// Time on the device, from the batch's start to its last result.
    pub processing_time: Duration,
    /// Bytes of inputs and results that the device held.
    pub memory_used: u64,
    /// Messages computed together.
    pub batch_size: usize,
}

impl Run {
    pub(crate) fn of(result: &BatchResult, processing_type: &'static str) -> Self {
        let device = &result.device;
        Run {
            device: Some(format!("{}:{}", device.backend, device.id)),
            backend: Some(device.backend),
            processing_type,
            processing_time: result.processing_time,
            memory_used: result.memory_used,
            batch_size: result.outputs.len(),
        }
    }

    pub(crate) fn without_device(batch_size: usize, processing_type: &'static str) -> Self {
        Run {
            device: None,
            backend: None,
            processing_type,
            processing_time: Duration::ZERO,
            memory_used: 0,
            batch_size,
        }
    }
}

/// An input with its result. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct Record {
    entry: Arc<Entry>,
    position: usize,
    /// The result, or why there is none.
    pub result: Result<Bytes, Failure>,
    /// How it was processed.
    pub run: Arc<Run>,
}

impl Record {
    pub(crate) fn new(
        entry: Arc<Entry>,
        position: usize,
        result: Result<Bytes, Failure>,
        run: Arc<Run>,
    ) -> Self {
        Record {
            entry,
            position,
            result,
            run,
        }
    }

    /// The input's entry.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The input itself: key, properties, event time.
    #[must_use]
    pub fn message(&self) -> &MessageView {
        &self.entry.messages[self.position]
    }

    /// The input's payload, without a copy; empty for a tombstone.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        batch::payload(&self.entry, self.message())
    }

    /// The input's id.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        MessageId {
            ledger_id: self.entry.ledger_id,
            entry_id: self.entry.entry_id,
            partition: self.entry.partition,
            batch_index: self.message().batch_index,
            batch_size: self.entry.batch_size,
        }
    }
}
