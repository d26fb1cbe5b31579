//! The table of devices, filled once at start.

use std::sync::Arc;

use crate::config::GpuProcessingConfig;
use crate::device::{Backend, CpuDevice, Device};
use crate::processor::ProcessorError;

/// Starts every device that is really there. A backend enters the table by adding its devices
/// here; the CPU is the one that every host has.
pub(crate) fn start_devices(
    config: &GpuProcessingConfig,
) -> Result<Vec<Arc<dyn Device>>, ProcessorError> {
    let cpu = CpuDevice::start(config).map_err(|source| ProcessorError::DeviceStart {
        backend: Backend::Cpu,
        id: 0,
        source,
    })?;
    Ok(vec![Arc::new(cpu)])
}
