//! A batch on its way to a device, and what comes back.

use bytes::Bytes;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::device::{DeviceError, DeviceInfo};
use crate::job::Job;
use crate::message_error::MessageError;

type Done = Box<dyn FnOnce(Result<BatchResult, DeviceError>) + Send>;

/// Which of a device's waiting batches goes first. Lower ones wait longer but never for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Served more often than the others.
    High,
    /// The default.
    #[default]
    Normal,
    /// Served least often.
    Low,
}

impl Priority {
    /// Reads the name that configurations use: `high`, `normal` or `low`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "high" => Some(Self::High),
            "normal" => Some(Self::Normal),
            "low" => Some(Self::Low),
            _ => None,
        }
    }
}

/// What a device made of one batch.
#[derive(Debug)]
pub struct BatchResult {
    /// The device that did the work.
    pub device: Arc<DeviceInfo>,
    /// One entry for each input, in the order of the inputs.
    pub outputs: Vec<Result<Bytes, MessageError>>,
    /// Time from the start of the batch on the device until its last output; waiting is not in it.
    pub processing_time: Duration,
    /// Bytes of inputs and outputs that the device held for this batch.
    pub memory_used: u64,
}

/// A batch of raw message payloads with the callback that receives the result.
///
/// The callback is called exactly once, on a thread of the device or on the thread that drops the
/// task: a task dropped without a result reports [`DeviceError::Lost`]. It must not block; a panic
/// in it is contained.
pub struct Task {
    job: Arc<Job>,
    inputs: Vec<Bytes>,
    input_bytes: u64,
    priority: Priority,
    done: Option<Done>,
}

impl Task {
    /// Makes a task of `inputs`, whose order is the order of the outputs.
    pub fn new(
        job: Arc<Job>,
        inputs: Vec<Bytes>,
        priority: Priority,
        done: impl FnOnce(Result<BatchResult, DeviceError>) + Send + 'static,
    ) -> Self {
        let input_bytes = inputs.iter().map(|input| input.len() as u64).sum();
        Self {
            job,
            inputs,
            input_bytes,
            priority,
            done: Some(Box::new(done)),
        }
    }

    /// What is to be done.
    #[must_use]
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// The payloads; empty once [`Self::take_inputs`] was called.
    #[must_use]
    pub fn inputs(&self) -> &[Bytes] {
        &self.inputs
    }

    /// The size of all payloads together, also after [`Self::take_inputs`].
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.input_bytes
    }

    /// The batch's priority in the device's queue.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Moves the payloads out, for the device that runs the task.
    #[must_use]
    pub fn take_inputs(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.inputs)
    }

    /// Ends the task with its result.
    pub fn complete(mut self, result: Result<BatchResult, DeviceError>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<BatchResult, DeviceError>) {
        if let Some(done) = self.done.take() {
            // The callback belongs to the caller; its panic must not end the device's thread.
            let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.finish(Err(DeviceError::Lost));
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Task")
            .field("job", &self.job)
            .field("inputs", &self.inputs.len())
            .field("input_bytes", &self.input_bytes)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::sync::mpsc;

    fn job() -> Arc<Job> {
        Arc::new(Job::from_config("compute_operation", &Value::Null, None).unwrap())
    }

    #[test]
    fn a_dropped_task_reports_lost_once() {
        let (reply, results) = mpsc::channel();
        let task = Task::new(job(), vec![], Priority::Low, move |result| {
            reply.send(result.map(|_| ())).unwrap();
        });
        drop(task);
        assert_eq!(
            results.iter().collect::<Vec<_>>(),
            vec![Err(DeviceError::Lost)]
        );
    }

    #[test]
    fn a_completed_task_reports_once() {
        let (reply, results) = mpsc::channel();
        let task = Task::new(job(), vec![], Priority::High, move |result| {
            reply.send(result.map(|_| ())).unwrap();
        });
        let error = DeviceError::OutputCount {
            expected: 2,
            got: 1,
        };
        task.complete(Err(error.clone()));
        assert_eq!(results.iter().collect::<Vec<_>>(), vec![Err(error)]);
    }

    #[test]
    fn a_panic_in_the_callback_is_contained() {
        drop(Task::new(job(), vec![], Priority::Normal, |_| {
            panic!("the callback's own fault")
        }));
    }

    #[test]
    fn priorities_have_names() {
        assert_eq!(Priority::parse("high"), Some(Priority::High));
        assert_eq!(Priority::parse("normal"), Some(Priority::default()));
        assert_eq!(Priority::parse("low"), Some(Priority::Low));
        assert_eq!(Priority::parse("urgent"), None);
    }
}
