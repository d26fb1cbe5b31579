//! The devices of the VM: one set for each configuration of them, alive until the VM stops.

use std::sync::{Arc, Mutex, PoisonError};

use gpu_processor::{DeviceStatus, GpuProcessingConfig, Processor, ProcessorError};
use once_cell::sync::Lazy;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::error::Failure;
use crate::events::map;
use crate::processor::backend;

/// Devices, and the configuration that they were started with.
type Started = (GpuProcessingConfig, Arc<Processor>);

/// Few: a VM has one configuration for each manager at most.
static PROCESSORS: Lazy<Mutex<Vec<Started>>> = Lazy::new(Mutex::default);

/// The devices for a configuration, started when first asked for.
pub(crate) fn processor(config: &GpuProcessingConfig) -> Result<Arc<Processor>, Failure> {
    let mut processors = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = processors.iter().find(|(known, _)| known == config) {
        return Ok(known.clone());
    }
    let started = Processor::start(config).map_err(|error| match error {
        ProcessorError::GpuProcessingNotEnabled => Failure::GpuProcessingNotEnabled,
        ProcessorError::InvalidOption(invalid) => invalid.into(),
        failed @ ProcessorError::DeviceStart { .. } => Failure::DeviceStart(failed.to_string()),
    })?;
    let started = Arc::new(started);
    processors.push((config.clone(), started.clone()));
    Ok(started)
}

/// The devices in use; before any are, those that the defaults would use.
#[rustler::nif(schedule = "DirtyIo")]
fn gpu_devices(env: Env<'_>) -> Term<'_> {
    let used = {
        let processors = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
        processors
            .iter()
            .map(|(_, processor)| processor.clone())
            .collect::<Vec<_>>()
    };
    let used = if used.is_empty() {
        processor(&GpuProcessingConfig::default())
            .into_iter()
            .collect()
    } else {
        used
    };
    let statuses = used.iter().flat_map(|processor| processor.devices());
    statuses
        .map(|status| device(env, &status))
        .collect::<Vec<_>>()
        .encode(env)
}

fn device<'a>(env: Env<'a>, DeviceStatus { info, load }: &DeviceStatus) -> Term<'a> {
    let load = map(
        env,
        &[
            (atoms::queued(), load.queued_tasks.encode(env)),
            (atoms::queued_bytes(), load.queued_bytes.encode(env)),
            (atoms::completed(), load.completed.encode(env)),
            (atoms::busy(), load.busy.encode(env)),
        ],
    );
    map(
        env,
        &[
            (
                atoms::id(),
                format!("{}:{}", info.backend, info.id).encode(env),
            ),
            (atoms::backend(), backend(info.backend).encode(env)),
            (atoms::name(), info.name.encode(env)),
            (atoms::architecture(), info.architecture.encode(env)),
            (
                atoms::memory_total_mb(),
                info.memory_total.map(|bytes| bytes >> 20).encode(env),
            ),
            (atoms::health(), atoms::ok().encode(env)),
            (atoms::load(), load),
        ],
    )
}
