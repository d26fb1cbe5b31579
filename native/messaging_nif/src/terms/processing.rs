//! What `processor_start` is asked for.

use std::time::Duration;

use gpu_processor::{GpuProcessingConfig, Job, JobError, Priority};
use pipeline::PipelineConfig;
use rustler::{Atom, Binary, Term};

use super::list;
use super::options::Options;
use crate::atoms;
use crate::error::Failure;
use crate::producer::ProducerResource;
use crate::slot::Handle;

/// Devices that a configuration may name: their numbers are decoded on a scheduler.
const DEVICES: usize = 4096;

/// Where results go.
pub(crate) enum Destination {
    Nowhere,
    Producer(Handle<ProducerResource>),
    Topic(String),
}

/// What `processor_start` was asked for.
pub(crate) struct Request {
    pub(crate) pipeline: PipelineConfig,
    pub(crate) job: Job,
    pub(crate) destination: Destination,
    pub(crate) gpu: GpuProcessingConfig,
}

/// Reads what Elixir has validated; what still does not fit is named here too.
pub(crate) fn request(config: Term<'_>) -> Result<Request, Failure> {
    let options = Options::new(config)?;
    let mut pipeline = PipelineConfig::default();
    let number = "a positive number";
    if let Some(size) = options.get(atoms::batch_size(), "batch_size", number)? {
        pipeline.batch_size = size;
    }
    let timeout = options.get(atoms::batch_timeout_ms(), "batch_timeout_ms", number)?;
    if let Some(timeout) = timeout {
        pipeline.batch_timeout = Duration::from_millis(timeout);
    }
    let priorities = [
        (atoms::low(), Priority::Low),
        (atoms::normal(), Priority::Normal),
        (atoms::high(), Priority::High),
        (atoms::critical(), Priority::High),
    ];
    let allowed = ":low, :normal, :high or :critical";
    let priority = options.choice(atoms::priority(), "priority", &priorities, allowed)?;
    pipeline.priority = priority.unwrap_or_default();
    let gpu = options
        .term(atoms::gpu())
        .map_or_else(|| Ok(GpuProcessingConfig::default()), gpu)?;
    Ok(Request {
        pipeline,
        job: job(&options)?,
        destination: destination(&options)?,
        gpu,
    })
}

fn job(options: &Options<'_>) -> Result<Job, Failure> {
    let name: Option<String> = options.get(atoms::processing_type(), "processing_type", "text")?;
    let name = name.unwrap_or_default();
    let formats = [(atoms::json(), "json"), (atoms::raw(), "raw")];
    let format = options.choice(
        atoms::output_format(),
        "output_format",
        &formats,
        ":json or :raw",
    )?;
    let parameters: Option<Binary<'_>> = options.get(atoms::parameters(), "parameters", "a map")?;
    let parameters = parameters
        .map(|text| serde_json::from_slice(&text))
        .transpose()
        .map_err(|error| Failure::InvalidOption {
            key: "parameters".to_owned(),
            value: error.to_string(),
            allowed: "a map".to_owned(),
        })?;
    Job::from_config(&name, &parameters.unwrap_or_default(), format).map_err(|error| match error {
        JobError::InvalidOption(invalid) => Failure::from(invalid),
        JobError::NotAvailable {
            processing_type, ..
        } => Failure::UnsupportedProcessingType(processing_type),
    })
}

fn destination(options: &Options<'_>) -> Result<Destination, Failure> {
    let Some(output) = options.term(atoms::output()) else {
        return Ok(Destination::Nowhere);
    };
    if output
        .decode::<Atom>()
        .is_ok_and(|atom| atom == atoms::none())
    {
        return Ok(Destination::Nowhere);
    }
    let allowed = ":none or {:forward_to_topic, topic}";
    let (_, topic) = output
        .decode::<(Atom, String)>()
        .ok()
        .filter(|(tag, _)| *tag == atoms::forward_to_topic())
        .ok_or_else(|| Failure::invalid("output_strategy", output, allowed))?;
    let producer = options.get(atoms::output_producer(), "producer_id", "a producer")?;
    Ok(producer.map_or(Destination::Topic(topic), Destination::Producer))
}

fn gpu(settings: Term<'_>) -> Result<GpuProcessingConfig, Failure> {
    let options = Options::new(settings)?;
    let default = GpuProcessingConfig::default();
    let flag = "true or false";
    let number = "a number";
    let enabled = options.get(atoms::enabled(), "enabled", flag)?;
    let ids = options.term(atoms::gpu_device_ids()).map(|ids| {
        let invalid = || Failure::invalid("gpu_device_ids", ids, "a list of at most 4096 numbers");
        list::decode(ids, DEVICES, invalid)
    });
    let batch_size = options.get(atoms::batch_size(), "batch_size", number)?;
    let threads = options.get(atoms::processing_threads(), "processing_threads", number)?;
    let pool = options.get(atoms::memory_pool_size_mb(), "memory_pool_size_mb", number)?;
    let optimization = options.get(atoms::kernel_optimization(), "kernel_optimization", flag)?;
    let config = GpuProcessingConfig {
        enabled: enabled.unwrap_or(default.enabled),
        gpu_device_ids: ids.transpose()?.unwrap_or(default.gpu_device_ids),
        batch_size: batch_size.unwrap_or(default.batch_size),
        processing_threads: threads.unwrap_or(default.processing_threads),
        memory_pool_size_mb: pool.unwrap_or(default.memory_pool_size_mb),
        kernel_optimization: optimization.unwrap_or(default.kernel_optimization),
    };
    config.validate()?;
    Ok(config)
}
