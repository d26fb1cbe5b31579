//! The threads that share the messages of one batch.
//!
//! The batch is cut into chunks, and every thread claims the next chunk until none is left: a few
//! expensive messages delay only the thread that has them. The caller's own thread works too, and
//! a batch of one chunk wakes nobody.

use bytes::Bytes;
use crossbeam_channel::{bounded, Receiver, Sender};
use std::any::Any;
use std::io;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::{DeviceError, DeviceInfo};
use crate::job::Job;
use crate::message_error::MessageError;

type Outputs = Vec<Result<Bytes, MessageError>>;

/// A chunk ends at this many messages or bytes, whichever comes first: large enough that waking a
/// thread pays, small enough that the threads finish together.
const CHUNK_MESSAGES: usize = 64;
const CHUNK_BYTES: usize = 64 * 1024;

/// Owns its helper threads, which end when the pool is dropped.
#[derive(Debug)]
pub(super) struct WorkerPool {
    wake: Option<Sender<Arc<Batch>>>,
    helpers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Batch {
    job: Arc<Job>,
    device: Arc<DeviceInfo>,
    inputs: Vec<Bytes>,
    chunks: Vec<Range<usize>>,
    next: AtomicUsize,
    finished: Sender<(usize, Result<Outputs, DeviceError>)>,
}

impl WorkerPool {
    /// Starts a pool of `threads`, of which the caller of [`Self::run`] is one.
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let helper_count = threads.saturating_sub(1);
        let (wake, batches) = bounded(helper_count.max(1));
        let mut pool = Self {
            wake: Some(wake),
            helpers: Vec::with_capacity(helper_count),
        };
        for index in 1..=helper_count {
            let batches = batches.clone();
            let helper = thread::Builder::new()
                .name(format!("{name}-w{index}"))
                .spawn(move || help(&batches))?;
            pool.helpers.push(helper);
        }
        Ok(pool)
    }

    /// Runs the job over all inputs and returns the outputs in their order.
    pub(super) fn run(
        &self,
        job: &Arc<Job>,
        device: &Arc<DeviceInfo>,
        inputs: Vec<Bytes>,
    ) -> Result<Outputs, DeviceError> {
        let chunks = chunks(&inputs);
        if chunks.len() <= 1 || self.helpers.is_empty() {
            return run_chunk(job, device, &inputs);
        }
        let (finished, outcomes) = bounded(chunks.len());
        let batch = Arc::new(Batch {
            job: Arc::clone(job),
            device: Arc::clone(device),
            inputs,
            chunks,
            next: AtomicUsize::new(0),
            finished,
        });
        self.wake_helpers(&batch);
        batch.work();
        batch.gather(&outcomes)
    }

    fn wake_helpers(&self, batch: &Arc<Batch>) {
        let wanted = self.helpers.len().min(batch.chunks.len() - 1);
        if let Some(wake) = &self.wake {
            for _ in 0..wanted {
                // Helpers only ever wait for this channel, so the send is short; without a helper
                // the caller's thread does all the chunks.
                let _ = wake.send(Arc::clone(batch));
            }
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.wake = None;
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

impl Batch {
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(range) = self.chunks.get(index) else {
                return;
            };
            let outcome = run_chunk(&self.job, &self.device, &self.inputs[range.clone()]);
            // The channel holds as many outcomes as there are chunks: this never blocks.
            let _ = self.finished.send((index, outcome));
        }
    }

    fn gather(
        &self,
        outcomes: &Receiver<(usize, Result<Outputs, DeviceError>)>,
    ) -> Result<Outputs, DeviceError> {
        let mut parts: Vec<Outputs> = Vec::new();
        parts.resize_with(self.chunks.len(), Vec::new);
        let mut failure = None;
        for (index, outcome) in outcomes.iter().take(self.chunks.len()) {
            match outcome {
                Ok(outputs) => parts[index] = outputs,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(parts.into_iter().flatten().collect()),
        }
    }
}

fn help(batches: &Receiver<Arc<Batch>>) {
    for batch in batches {
        batch.work();
    }
}

fn run_chunk(job: &Job, device: &DeviceInfo, inputs: &[Bytes]) -> Result<Outputs, DeviceError> {
    let outputs = catch_unwind(AssertUnwindSafe(|| job.kernel().run_on_cpu(device, inputs)))
        .map_err(|panic| DeviceError::KernelPanicked {
            processing_type: job.processing_type(),
            message: panic_message(panic.as_ref()),
        })?;
    if outputs.len() == inputs.len() {
        Ok(outputs)
    } else {
        Err(DeviceError::OutputCount {
            expected: inputs.len(),
            got: outputs.len(),
        })
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "(no message)".to_owned()
    }
}

fn chunks(inputs: &[Bytes]) -> Vec<Range<usize>> {
    let mut chunks = Vec::with_capacity(inputs.len() / CHUNK_MESSAGES + 1);
    let mut start = 0;
    let mut bytes = 0;
    for (index, input) in inputs.iter().enumerate() {
        bytes += input.len();
        if bytes >= CHUNK_BYTES || index + 1 - start >= CHUNK_MESSAGES {
            chunks.push(start..index + 1);
            start = index + 1;
            bytes = 0;
        }
    }
    if start < inputs.len() {
        chunks.push(start..inputs.len());
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_cover_every_message_once(
            sizes in prop::collection::vec(0_usize..100_000, 0..300)
        ) {
            let whole = Bytes::from(vec![0; 100_000]);
            let inputs: Vec<Bytes> = sizes.iter().map(|&size| whole.slice(..size)).collect();
            let chunks = chunks(&inputs);
            let covered: Vec<usize> = chunks.iter().cloned().flatten().collect();
            prop_assert_eq!(covered, (0..inputs.len()).collect::<Vec<_>>());
            for chunk in chunks {
                prop_assert!(chunk.len() <= CHUNK_MESSAGES);
                let before_last: usize = sizes[chunk.start..chunk.end - 1].iter().sum();
                prop_assert!(before_last < CHUNK_BYTES);
            }
        }
    }
}
