//! A batch's way through the devices: again when it fails, in halves when it keeps failing.
//!
//! A batch fails as a whole when its kernel panics or its device dies, and one message may be the cause.
//! After some attempts the batch is split, and its halves again, until that message is alone; it is
//! reported and its neighbours have their results. A batch of n costs about 2·log2(n) runs more.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gpu_processor::{BatchResult, DeviceError, Job, Priority, Processor, Task};
use pulsar_client::backoff::Backoff;
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::record::{Record, Run};
use crate::stats::{add, Counters};

/// First and longest wait when every device is full: a queue moves in milliseconds.
const REFUSED: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// What batches are computed with.
pub(crate) struct Compute {
    pub(crate) processor: Arc<Processor>,
    pub(crate) job: Arc<Job>,
    pub(crate) priority: Priority,
    pub(crate) attempts: u32,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) counters: Arc<Counters>,
}

type Outcome = (Result<Bytes, Failure>, Arc<Run>);

impl Compute {
    /// Computes a batch: a record for each message, in order. Ends with every message done or failed,
    /// and waits as long as there is no device to take it.
    pub(crate) async fn batch(&self, batch: &Batch) -> Vec<Record> {
        let outcomes = self.outcomes(&batch.payloads()).await;
        batch
            .iter()
            .zip(outcomes)
            .map(|((entry, at), (result, run))| Record::new(entry.clone(), at, result, run))
            .collect()
    }

    async fn outcomes(&self, payloads: &[Bytes]) -> Vec<Outcome> {
        let kind = self.job.processing_type();
        let mut outcomes = Vec::with_capacity(payloads.len());
        // The leftmost part is on top: outcomes come in order.
        let mut parts: Vec<Range<usize>> = Vec::new();
        parts.push(0..payloads.len());
        while let Some(part) = parts.pop() {
            let inputs = payloads.get(part.clone()).unwrap_or_default();
            match self.run(inputs, self.attempts(&part, payloads.len())).await {
                Ok(result) => {
                    let run = Arc::new(Run::of(&result, kind));
                    let each = result.outputs.into_iter();
                    outcomes.extend(each.map(|out| (out.map_err(Failure::from), run.clone())));
                }
                Err(error) if part.len() <= 1 => {
                    let run = Arc::new(Run::without_device(part.len(), kind));
                    outcomes.push((Err(error.into()), run));
                }
                Err(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
            }
        }
        outcomes
    }

    /// A device's hiccup must not condemn a message, so a whole batch and a message that is alone get
    /// several attempts; the parts in between are already suspect.
    fn attempts(&self, part: &Range<usize>, whole: usize) -> u32 {
        if part.len() == whole || part.len() == 1 {
            self.attempts.max(1)
        } else {
            1
        }
    }

    async fn run(&self, inputs: &[Bytes], attempts: u32) -> Result<BatchResult, DeviceError> {
        let mut backoff = Backoff::new(self.backoff.0, self.backoff.1);
        let mut attempt = 1;
        loop {
            let error = match self.run_once(inputs).await {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            if attempt >= attempts {
                return Err(error);
            }
            attempt += 1;
            add(&self.counters.retries, 1);
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn run_once(&self, inputs: &[Bytes]) -> Result<BatchResult, DeviceError> {
        let (answer, answered) = oneshot::channel();
        let done = move |result| {
            let _ = answer.send(result);
        };
        let mut task = Task::new(self.job.clone(), inputs.to_vec(), self.priority, done);
        let mut backoff = Backoff::new(REFUSED.0, REFUSED.1);
        // Neither a full nor a closed device says anything about the messages.
        while let Err(refused) = self.processor.submit(task) {
            add(&self.counters.refusals, 1);
            task = refused.into_task();
            tokio::time::sleep(backoff.next_delay()).await;
        }
        let result = answered.await.unwrap_or(Err(DeviceError::Lost))?;
        if result.outputs.len() != inputs.len() {
            return Err(DeviceError::OutputCount {
                expected: inputs.len(),
                got: result.outputs.len(),
            });
        }
        Ok(result)
    }
}
