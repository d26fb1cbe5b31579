//! What bounds and paces a pipeline.

use std::time::Duration;

use gpu_processor::Priority;

/// A pipeline's options; the defaults suit most. Counts of 0 are taken as 1.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// Messages at which a batch closes.
    pub batch_size: usize,
    /// Payload bytes at which a batch closes; a larger message is a batch of its own.
    pub batch_bytes: usize,
    /// A batch closes this long after its first message, however small it is.
    pub batch_timeout: Duration,
    /// Batches closed and not yet acknowledged: on a device, waiting for their turn to leave, or being
    /// written.
    pub batches_in_flight: usize,
    /// The batches' priority in the devices' queues.
    pub priority: Priority,
    /// How often a whole batch, and a message that is alone, may fail before the batch is split or the
    /// message is given up.
    pub attempts: u32,
    /// First and longest wait before a device is tried again.
    pub device_backoff: (Duration, Duration),
    /// First and longest wait before a failed write to the output is repeated.
    pub output_backoff: (Duration, Duration),
    /// How long a stop waits for the batches in flight; what is not done by then comes back un-acked.
    pub drain_timeout: Duration,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        PipelineConfig {
            batch_size: 1000,
            batch_bytes: 16 * 1024 * 1024,
            batch_timeout: Duration::from_millis(5),
            batches_in_flight: 8,
            priority: Priority::Normal,
            attempts: 3,
            device_backoff: (Duration::from_millis(10), Duration::from_secs(1)),
            output_backoff: (Duration::from_millis(100), Duration::from_secs(10)),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
