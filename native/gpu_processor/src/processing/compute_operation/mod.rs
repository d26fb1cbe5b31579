//! `compute_operation`: one computation a message, described by the message itself.
//!
//! # Input
//! A JSON object with `message_id`, `operation_type`, `gpu_device_id`, `input_data` and `user_id`,
//! and optionally `parameters` and `correlation_id`; other keys are ignored. `input_data` is a
//! base64 string (padded or not) or an array of byte values. Numbers in it are little-endian and
//! matrices are row-major. `parameters.precision` (or its synonym `data_type`) is `float32` (the
//! default) or `float64`.
//!
//! | `operation_type` | `input_data` | `parameters` | result shape |
//! |---|---|---|---|
//! | `matrix_multiply` | A then B | `matrix_size`, or `m`, `k`, `n` for (m×k)·(k×n) | `[m, n]` |
//! | `vector_add` | a then b, of one length | | `[n]` |
//! | `vector_scale` | a | `scalar` | `[n]` |
//! | `vector_dot` | a then b, of one length | | `[]` |
//! | `reduce` | a | `op`: `sum`, `min`, `max`, `mean`, `product` | `[]` |
//! | `transpose` | A | `matrix_size`, or `rows` and `cols` | `[cols, rows]` |
//! | `sha256` | any bytes | | `[32]`, type `bytes` |
//!
//! # Output
//! A JSON object: `message_id`, `correlation_id` (if there was one), `operation_type`, `status`
//! `"ok"`, `gpu_device_id` as requested, `device` (`id`, `backend`, `name` of the one that really
//! did the work), `result` (`type` `float32`, `float64` or `bytes`, `shape`, `data` in base64) and
//! `processing_time_us`.
//!
//! # Float rules
//! - `matrix_multiply` computes in the element type. The order of the sums, and whether products
//!   are fused into them, depends on the processor; the error has the usual bound k·ε·(|A|·|B|).
//!   Results are exact, and the same everywhere, when every partial sum is representable, as with
//!   small integers.
//! - `vector_dot` and `reduce` with `sum`, `mean`, `product` accumulate in float64 from the first
//!   element to the last without fusing, and round once to the element type at the end: the same
//!   bits everywhere.
//! - `min` and `max` give NaN when any element is NaN; of equal elements (-0 and 0) the first.
//! - `vector_add` and `vector_scale` round once an element, in the element type, to which the
//!   scalar is rounded first.
//! - The sum of nothing is 0 and its product 1; `min`, `max` and `mean` of nothing are errors.
//!
//! # Bounds
//! Decoded input and result are at most [`MAX_DATA_BYTES`] each; beyond that a message fails with
//! `too_large`. A message is the unit of parallelism: one large matrix runs on one thread.

mod element;
mod matrix;
mod message;
mod operation;
mod parameters;
mod reduce;
mod reply;
mod shape;
mod vector;

use bytes::Bytes;
use serde_json::Value;
use std::time::Instant;

use self::message::ComputeMessage;
use self::operation::Operation;
use self::reply::Reply;
use super::Kernel;
use crate::device::DeviceInfo;
use crate::invalid_option::InvalidOption;
use crate::message_error::MessageError;

pub use self::shape::MAX_DATA_BYTES;

/// The name of this processing type.
pub const PROCESSING_TYPE: &str = "compute_operation";

/// The kernel of this processing type.
#[derive(Debug, Clone, Copy)]
pub struct ComputeOperation;

/// Buffers that the messages of one chunk share, so that each message allocates little.
#[derive(Debug, Default)]
struct Scratch {
    input: Vec<u8>,
    result: Vec<u8>,
    base64: String,
}

impl ComputeOperation {
    /// Checks the pipeline's options: each message carries its own parameters, results are JSON.
    ///
    /// # Errors
    /// [`InvalidOption`] for parameters or for another output format.
    pub fn from_config(
        parameters: &Value,
        output_format: Option<&str>,
    ) -> Result<Self, InvalidOption> {
        let empty = match parameters {
            Value::Null => true,
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if !empty {
            let allowed = "none: each compute message carries its own parameters";
            return Err(InvalidOption::new(
                "parameters",
                parameters.clone(),
                allowed,
            ));
        }
        match output_format {
            None | Some("json") => Ok(Self),
            Some(other) => Err(InvalidOption::new("output_format", other, "json")),
        }
    }
}

impl Kernel for ComputeOperation {
    fn processing_type(&self) -> &'static str {
        PROCESSING_TYPE
    }

    fn run_on_cpu(
        &self,
        device: &DeviceInfo,
        inputs: &[Bytes],
    ) -> Vec<Result<Bytes, MessageError>> {
        let mut scratch = Scratch::default();
        inputs
            .iter()
            .map(|payload| compute(device, payload, &mut scratch))
            .collect()
    }
}

fn compute(
    device: &DeviceInfo,
    payload: &[u8],
    scratch: &mut Scratch,
) -> Result<Bytes, MessageError> {
    let started = Instant::now();
    let message = ComputeMessage::parse(payload)?;
    let operation = Operation::parse(&message.operation_type)?;
    message.input_data.decode_into(&mut scratch.input)?;
    scratch.result.clear();
    let (element_type, shape) =
        operation.execute(&message.parameters, &scratch.input, &mut scratch.result)?;
    Ok(Reply {
        message: &message,
        device,
        element_type,
        shape,
        started,
    }
    .to_json(&scratch.result, &mut scratch.base64))
}
