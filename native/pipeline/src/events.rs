//! What a pipeline tells about itself.

use std::time::Duration;

/// A batch that is done: written, told and acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCompleted {
    /// The device, such as `cpu:0`; `None` where every attempt failed. Of a batch that was split, the
    /// device of its first part.
    pub device: Option<String>,
    /// Messages in the batch.
    pub count: usize,
    /// Those without a result.
    pub failed: usize,
    /// Time on the devices, over all parts.
    pub processing_time: Duration,
}

/// Why a pipeline stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It was told to, or dropped.
    Asked,
    /// Its consumer is closed.
    ConsumerClosed,
    /// A task of it panicked.
    InternalError,
}

/// Receives a pipeline's events. Called on its tasks: must not block. Every method may be left out.
pub trait PipelineEvents: Send + Sync + 'static {
    /// The pipeline has taken the consumer over; `device` names the processor's devices.
    fn started(&self, device: &str) {
        let _ = device;
    }

    /// A batch is done.
    fn completed(&self, batch: BatchCompleted) {
        let _ = batch;
    }

    /// The output refused; the write is repeated, and inputs wait. Called at every attempt.
    fn output_failed(&self, reason: &str) {
        let _ = reason;
    }

    /// Nothing is in flight any more: from here on what the consumer's owner acks is its own.
    fn returning(&self) {}

    /// The consumer's deliveries go to its owner again.
    fn stopped(&self, reason: StopReason) {
        let _ = reason;
    }
}

/// Drops every event.
pub struct NoEvents;

impl PipelineEvents for NoEvents {}
