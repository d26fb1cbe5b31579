//! What a pipeline has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a pipeline has done and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PipelineStats {
    /// Messages done: written, told and acknowledged.
    pub messages: u64,
    /// Batches done.
    pub batches: u64,
    /// Messages of those without a result.
    pub failed: u64,
    /// Messages that arrived and are not done.
    pub in_flight: usize,
    /// Batches, or parts of them, that a device had to be given again.
    pub retries: u64,
    /// Times that a full or closed device refused a batch.
    pub refusals: u64,
    /// Writes that the output did not confirm in full.
    pub output_failures: u64,
    /// Deliveries dropped because the message was still in flight.
    pub duplicates: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) messages: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) output_failures: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn snapshot(&self, in_flight: usize, duplicates: u64) -> PipelineStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PipelineStats {
            messages: read(&self.messages),
            batches: read(&self.batches),
            failed: read(&self.failed),
            in_flight,
            retries: read(&self.retries),
            refusals: read(&self.refusals),
            output_failures: read(&self.output_failures),
            duplicates,
        }
    }
}
