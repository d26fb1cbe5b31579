//! Processing types: one module each.

pub mod compute_operation;

use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

use crate::device::DeviceInfo;
use crate::invalid_option::InvalidOption;
use crate::job::JobError;
use crate::message_error::MessageError;

const AVAILABLE: &str = compute_operation::PROCESSING_TYPE;

/// The work of one processing type with its parameters. It gains a method for each backend that it
/// runs on; the CPU's is the reference for the others.
pub trait Kernel: Send + Sync {
    /// The name of the processing type, as configurations write it.
    fn processing_type(&self) -> &'static str;

    /// Processes a part of a batch on the calling thread and returns exactly one output for each
    /// input, in their order. Parts of one batch run on several threads at the same time.
    ///
    /// Nothing in an input may make it panic; should it, the whole batch fails with
    /// [`DeviceError::KernelPanicked`](crate::DeviceError::KernelPanicked).
    fn run_on_cpu(&self, device: &DeviceInfo, inputs: &[Bytes])
        -> Vec<Result<Bytes, MessageError>>;
}

/// Finds the processing type and lets it check its parameters.
pub(crate) fn kernel_for(
    processing_type: &str,
    parameters: &Value,
    output_format: Option<&str>,
) -> Result<Arc<dyn Kernel>, JobError> {
    match processing_type {
        compute_operation::PROCESSING_TYPE => {
            let kernel =
                compute_operation::ComputeOperation::from_config(parameters, output_format)?;
            Ok(Arc::new(kernel))
        }
        "json_transformation"
        | "data_aggregation"
        | "ml_inference"
        | "image_processing"
        | "cryptographic_hashing" => Err(JobError::NotAvailable {
            processing_type: processing_type.to_owned(),
            available: AVAILABLE.to_owned(),
        }),
        unknown => Err(InvalidOption::new("processing_type", unknown, AVAILABLE).into()),
    }
}
