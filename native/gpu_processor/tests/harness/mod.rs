//! What the test files share: messages, tasks and replies.
// Each test file uses its own part, and a failed unwrap is a failed test.
#![allow(dead_code, clippy::unwrap_used)]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use bytes::Bytes;
use gpu_processor::{
    BatchResult, Device, DeviceError, Job, MessageError, Priority, SubmitError, Task,
};
use serde_json::{json, Value};
use std::sync::mpsc::{self, Receiver};
use std::sync::Arc;

pub(crate) type Outcome = Result<BatchResult, DeviceError>;

pub(crate) fn compute_job() -> Arc<Job> {
    Arc::new(Job::from_config("compute_operation", &Value::Null, None).unwrap())
}

pub(crate) fn message(operation: &str, data: &[u8], parameters: Value) -> Bytes {
    let message = json!({
        "message_id": "message-1", "timestamp": 1_700_000_000, "operation_type": operation,
        "gpu_device_id": "amd_rdna3_0", "input_data": STANDARD.encode(data),
        "parameters": parameters, "user_id": "user_123", "correlation_id": "c-1",
        "source": "amdgpu_framework", "version": "1.0"
    });
    Bytes::from(message.to_string())
}

/// A task whose outcomes arrive at the receiver: one, or the guarantee is broken.
pub(crate) fn task(job: &Arc<Job>, inputs: Vec<Bytes>) -> (Task, Receiver<Outcome>) {
    let (reply, outcomes) = mpsc::channel();
    let done = move |outcome| {
        let _ = reply.send(outcome);
    };
    (
        Task::new(Arc::clone(job), inputs, Priority::Normal, done),
        outcomes,
    )
}

pub(crate) fn submit(
    device: &dyn Device,
    job: &Arc<Job>,
    inputs: Vec<Bytes>,
) -> Result<Receiver<Outcome>, SubmitError> {
    let (task, outcomes) = task(job, inputs);
    device.submit(task).map(|()| outcomes)
}

/// Waits for the one outcome of a task.
pub(crate) fn outcome(outcomes: &Receiver<Outcome>) -> Outcome {
    let all: Vec<Outcome> = outcomes.iter().collect();
    assert_eq!(all.len(), 1, "the callback is called exactly once");
    all.into_iter().next().unwrap()
}

pub(crate) fn reply(output: &Result<Bytes, MessageError>) -> Value {
    serde_json::from_slice(output.as_ref().unwrap()).unwrap()
}

pub(crate) fn data(reply: &Value) -> Vec<u8> {
    STANDARD
        .decode(reply["result"]["data"].as_str().unwrap())
        .unwrap()
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub(crate) fn f64_bytes(values: &[f64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub(crate) fn f32_values(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()))
        .collect()
}

pub(crate) fn f64_values(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(8)
        .map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap()))
        .collect()
}
