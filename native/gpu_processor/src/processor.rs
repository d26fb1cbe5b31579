//! The device table and the way in.

use serde::Serialize;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::config::GpuProcessingConfig;
use crate::device::{Backend, Device, DeviceInfo, DeviceLoad, SubmitError};
use crate::invalid_option::InvalidOption;
use crate::task::Task;
use crate::{registry, scheduler};

/// Why a processor does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// The configuration says `enabled: false`.
    #[error("GPU processing is not enabled (gpu_processing.enabled is false)")]
    GpuProcessingNotEnabled,
    /// An option's value is not allowed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// A device that is there could not be started.
    #[error("device {backend}:{id} does not start: {source}")]
    DeviceStart {
        /// The device's backend.
        backend: Backend,
        /// Its index within the backend.
        id: u32,
        /// The system's reason.
        source: io::Error,
    },
}

/// A device and how much it has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// What the device is.
    pub info: DeviceInfo,
    /// How much work it has at the moment.
    pub load: DeviceLoad,
}

/// Owns the devices; dropping it closes them.
pub struct Processor {
    devices: Vec<Arc<dyn Device>>,
}

impl Processor {
    /// Starts the devices of this host.
    ///
    /// # Errors
    /// [`ProcessorError`] says what refused: the switch, an option or a device.
    pub fn start(config: &GpuProcessingConfig) -> Result<Self, ProcessorError> {
        config.validate()?;
        if !config.enabled {
            return Err(ProcessorError::GpuProcessingNotEnabled);
        }
        registry::start_devices(config).map(Self::with_devices)
    }

    /// Makes a processor over devices that were started elsewhere.
    #[must_use]
    pub fn with_devices(devices: Vec<Arc<dyn Device>>) -> Self {
        Self { devices }
    }

    /// The devices with their load, in the order of the table.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceStatus> {
        self.devices
            .iter()
            .map(|device| DeviceStatus {
                info: device.info().as_ref().clone(),
                load: device.load(),
            })
            .collect()
    }

    /// Gives the task to the least loaded device, without waiting.
    ///
    /// # Errors
    /// [`SubmitError`] gives the task back when every device refused it.
    pub fn submit(&self, task: Task) -> Result<(), SubmitError> {
        scheduler::submit(&self.devices, task)
    }

    /// Refuses further tasks, finishes the accepted ones and ends the devices' threads. Blocks
    /// until that is done, so an asynchronous caller uses a thread that may block.
    pub fn close(&self) {
        for device in &self.devices {
            device.close();
        }
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Processor")
            .field("devices", &self.devices())
            .finish()
    }
}
