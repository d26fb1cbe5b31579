//! Batches of raw messages, processed on compute devices.
//!
//! A caller describes *what* to do once, as a [`Job`], and then submits [`Task`]s: a batch of raw
//! message payloads with a callback. The [`Processor`] picks a [`Device`], the device's own thread
//! runs the batch, and the callback receives a [`BatchResult`] with exactly one output or one
//! [`MessageError`] for each input, in the order of the inputs.
//!
//! ```
//! use bytes::Bytes;
//! use gpu_processor::{GpuProcessingConfig, Job, Priority, Processor, Task};
//! use std::sync::{mpsc, Arc};
//!
//! let processor = Processor::start(&GpuProcessingConfig::default())?;
//! let job = Job::from_config("compute_operation", &serde_json::Value::Null, None)?;
//! let message = br#"{"message_id": "m1", "operation_type": "sha256", "gpu_device_id": "any",
//!                    "input_data": "YWJj", "user_id": "u1"}"#;
//! let (reply, result) = mpsc::channel();
//! let task = Task::new(
//!     Arc::new(job),
//!     vec![Bytes::from_static(message)],
//!     Priority::Normal,
//!     move |outcome| { let _ = reply.send(outcome); },
//! );
//! processor.submit(task)?;
//! let batch = result.recv()??;
//! assert_eq!(batch.device.backend.as_str(), "cpu");
//! assert!(batch.outputs[0].is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Three kinds of failure are kept apart. A [`MessageError`] concerns one message and leaves its
//! neighbours alone; a [`DeviceError`] concerns a whole batch, which may succeed when it is retried
//! or split; a [`SubmitError`] hands the untouched task back.

mod config;
mod device;
mod invalid_option;
mod job;
mod message_error;
mod processing;
mod processor;
mod registry;
mod scheduler;
mod task;

pub use config::GpuProcessingConfig;
pub use device::{
    Backend, CpuDevice, Device, DeviceError, DeviceInfo, DeviceLoad, SubmitError, QUEUE_CAPACITY,
};
pub use invalid_option::InvalidOption;
pub use job::{Job, JobError};
pub use message_error::{MessageError, MessageErrorKind};
pub use processing::compute_operation;
pub use processing::Kernel;
pub use processor::{DeviceStatus, Processor, ProcessorError};
pub use task::{BatchResult, Priority, Task};
