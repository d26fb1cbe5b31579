//! What to do with each batch, decided once from the configuration.

use serde_json::Value;
use std::fmt;
use std::sync::Arc;

use crate::invalid_option::InvalidOption;
use crate::processing::{self, Kernel};

/// A processing type with its parameters, ready to run on any device.
#[derive(Clone)]
pub struct Job {
    kernel: Arc<dyn Kernel>,
}

/// Why a job cannot be made from a configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JobError {
    /// An option's value is not allowed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The processing type is a known one that this version does not contain.
    #[error("processing_type {processing_type} is not available (available: {available})")]
    NotAvailable {
        /// The type that was asked for.
        processing_type: String,
        /// The types that this version contains.
        available: String,
    },
}

impl Job {
    /// Makes the job that a pipeline's configuration describes.
    ///
    /// `parameters` are those of the processing type (null for none). `output_format` is what the
    /// type can write; `None` means its usual one.
    ///
    /// # Errors
    /// [`JobError`] names the option, the value and what is allowed.
    pub fn from_config(
        processing_type: &str,
        parameters: &Value,
        output_format: Option<&str>,
    ) -> Result<Self, JobError> {
        processing::kernel_for(processing_type, parameters, output_format).map(Self::from_kernel)
    }

    /// Makes a job of a processing type that lives outside this crate.
    #[must_use]
    pub fn from_kernel(kernel: Arc<dyn Kernel>) -> Self {
        Self { kernel }
    }

    /// The name of the processing type.
    #[must_use]
    pub fn processing_type(&self) -> &'static str {
        self.kernel.processing_type()
    }

    /// The work itself, for the device that runs it.
    #[must_use]
    pub fn kernel(&self) -> &dyn Kernel {
        self.kernel.as_ref()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Job")
            .field("processing_type", &self.processing_type())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn compute_operation_takes_json_output_and_no_parameters() {
        for parameters in [Value::Null, json!({})] {
            for format in [None, Some("json")] {
                let job = Job::from_config("compute_operation", &parameters, format).unwrap();
                assert_eq!(job.processing_type(), "compute_operation");
            }
        }
    }

    #[test]
    fn refusals_name_the_option_and_what_is_allowed() {
        let refused = |kind: &str, parameters: Value, format: Option<&str>| {
            Job::from_config(kind, &parameters, format).expect_err("refused")
        };
        let JobError::InvalidOption(error) = refused("sorting", json!({}), None) else {
            panic!("an unknown type is an invalid option");
        };
        assert_eq!(
            (error.key.as_str(), error.value),
            ("processing_type", json!("sorting"))
        );
        assert_eq!(error.allowed, "compute_operation");

        let JobError::InvalidOption(error) =
            refused("compute_operation", json!({"op": "sum"}), None)
        else {
            panic!("parameters are refused");
        };
        assert_eq!(
            (error.key.as_str(), error.value),
            ("parameters", json!({"op": "sum"}))
        );

        let JobError::InvalidOption(error) = refused("compute_operation", json!({}), Some("csv"))
        else {
            panic!("formats other than JSON are refused");
        };
        assert_eq!(
            (error.key.as_str(), error.value),
            ("output_format", json!("csv"))
        );
        assert_eq!(error.allowed, "json");
    }

    #[test]
    fn known_types_that_are_not_built_are_named_so() {
        for kind in [
            "json_transformation",
            "data_aggregation",
            "ml_inference",
            "image_processing",
            "cryptographic_hashing",
        ] {
            let error = Job::from_config(kind, &json!({}), None).expect_err("refused");
            let text =
                format!("processing_type {kind} is not available (available: compute_operation)");
            assert_eq!(error.to_string(), text);
        }
    }
}
