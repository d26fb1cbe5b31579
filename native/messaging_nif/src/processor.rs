//! GPU processing as resources: a pipeline between a consumer and an output.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

use gpu_processor::Backend;
use pipeline::{
    BatchCompleted, NoOutput, Output, Pipeline, PipelineEvents, Processed, ResultSink, StopReason,
    TopicOutput,
};
use pulsar_client::event::NoEvents;
use pulsar_client::ProducerOptions;
use rustler::{Atom, Encoder, Env, LocalPid, Monitor, Reference, Resource, Term};

use crate::client::ClientResource;
use crate::consumer::{ConsumerResource, ConsumerState};
use crate::deliver::binary;
use crate::devices;
use crate::error::Failure;
use crate::events::map;
use crate::reply::{self, Reply};
use crate::slot::{Handle, Slot};
use crate::terms::message_id;
use crate::terms::processing::{self, Destination, Request};
use crate::{atoms, runtime};

/// Results under way to a process at most; what comes beyond is dropped and counted.
const UNDELIVERED: usize = 10_000;

/// Results in one Erlang message.
const DELIVERY: usize = 1000;

/// A running pipeline.
pub(crate) struct ProcessorResource {
    pipeline: Arc<Pipeline>,
    results: Arc<ProcessResults>,
}

impl Resource for Slot<ProcessorResource> {
    const IMPLEMENTS_DOWN: bool = true;

    /// The process that takes the results is gone.
    fn down<'a>(&'a self, _env: Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        drop(self.pipeline.stop());
    }
}

/// Sends results to a process that returns credits for them.
struct ProcessResults {
    pid: LocalPid,
    consumer_id: String,
    undelivered: AtomicUsize,
    dropped: AtomicU64,
}

impl ResultSink for ProcessResults {
    fn deliver(&self, mut results: Vec<Processed>) {
        while results.len() > DELIVERY {
            let rest = results.split_off(DELIVERY);
            self.send(std::mem::replace(&mut results, rest));
        }
        self.send(results);
    }
}

impl ProcessResults {
    fn send(&self, results: Vec<Processed>) {
        let count = results.len();
        let room = |under_way: usize| Some(under_way + count).filter(|sum| *sum <= UNDELIVERED);
        let admitted = self
            .undelivered
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room);
        if admitted.is_err() {
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            return;
        }
        let id = self.consumer_id.clone();
        reply::send(self.pid, move |env| {
            let results: Vec<_> = results
                .iter()
                .map(|result| processed(env, result))
                .collect();
            (atoms::gpu_processed_messages(), id, results).encode(env)
        });
    }
}

fn processed<'a>(env: Env<'a>, result: &Processed) -> Term<'a> {
    let (data, error) = match &result.data {
        Ok(data) => (binary(env, data), None),
        Err(error) => (atoms::nil().encode(env), Some(error)),
    };
    let run = &result.run;
    let metadata = map(
        env,
        &[
            (atoms::gpu_device_id(), run.device.encode(env)),
            (atoms::backend(), run.backend.map(backend).encode(env)),
            (
                atoms::processing_time_ms(),
                (run.processing_time.as_secs_f64() * 1e3).encode(env),
            ),
            (
                atoms::memory_used_mb(),
                (run.memory_used as f64 / f64::from(1 << 20)).encode(env),
            ),
            (atoms::batch_size(), run.batch_size.encode(env)),
        ],
    );
    let id = message_id::encode(env, &result.topic, &result.message_id);
    map(
        env,
        &[
            (
                atoms::struct_(),
                atoms::processed_message_struct().encode(env),
            ),
            (atoms::original_message_id(), id),
            (atoms::processed_data(), data),
            (atoms::error(), error.encode(env)),
            (atoms::metadata(), metadata),
        ],
    )
}

/// The atom for a backend.
pub(crate) fn backend(backend: Backend) -> Atom {
    match backend {
        Backend::Cpu => atoms::cpu(),
        Backend::Hip => atoms::hip(),
        Backend::Cuda => atoms::cuda(),
    }
}

/// A pipeline's events, under its consumer's name.
struct ConsumerEvents(Arc<ConsumerState>);

impl PipelineEvents for ConsumerEvents {
    fn started(&self, device: &str) {
        self.0.taken_over.store(true, Ordering::Release);
        let device = device.to_owned();
        self.0
            .events
            .emit(["gpu_processing_started"; 2], move |env| {
                vec![(atoms::device(), device.encode(env))]
            });
    }

    fn completed(&self, batch: BatchCompleted) {
        self.0
            .events
            .emit(["gpu_processing_completed"; 2], move |env| {
                let time = u64::try_from(batch.processing_time.as_micros()).unwrap_or(u64::MAX);
                vec![
                    (atoms::device(), batch.device.encode(env)),
                    (atoms::count(), batch.count.encode(env)),
                    (atoms::failed(), batch.failed.encode(env)),
                    (atoms::processing_time_us(), time.encode(env)),
                ]
            });
    }

    fn output_failed(&self, reason: &str) {
        let reason = reason.to_owned();
        self.0
            .events
            .emit(["gpu_processing_output_failed"; 2], move |env| {
                vec![(atoms::reason(), reason.encode(env))]
            });
    }

    fn returning(&self) {
        self.0.taken_over.store(false, Ordering::Release);
    }

    fn stopped(&self, reason: StopReason) {
        let reason = match reason {
            StopReason::Asked => "stopped",
            StopReason::ConsumerClosed => "the consumer is closed",
            StopReason::InternalError => "internal error",
        };
        self.0
            .events
            .emit(["gpu_processing_stopped"; 2], move |env| {
                vec![(atoms::reason(), reason.encode(env))]
            });
    }
}

/// Takes a consumer over and starts to process what it delivers.
#[rustler::nif]
fn processor_start<'a>(
    env: Env<'a>,
    consumer: Handle<ConsumerResource>,
    client: Handle<ClientResource>,
    reference: Reference<'a>,
    config: Term<'a>,
    results_to: LocalPid,
) -> Term<'a> {
    let request = match processing::request(config) {
        Ok(request) => request,
        Err(failure) => return failure.to_term(env),
    };
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        let started = start(&consumer, &client, request, results_to).await;
        reply.send(move |env| match started {
            Err(failure) => failure.to_term(env),
            Ok(processor) => (atoms::ok(), processor).encode(env),
        });
    });
    atoms::ok().encode(env)
}

async fn start(
    consumer: &ConsumerResource,
    client: &ClientResource,
    request: Request,
    results_to: LocalPid,
) -> Result<Handle<ProcessorResource>, Failure> {
    let processor = devices::processor(&request.gpu)?;
    let output: Arc<dyn Output> = match request.destination {
        Destination::Nowhere => Arc::new(NoOutput),
        Destination::Producer(producer) => {
            Arc::new(TopicOutput::new(producer.state.producer.clone()))
        }
        Destination::Topic(topic) => {
            // The pipeline repeats what fails, so a time limit would only make some results come twice.
            let options = ProducerOptions {
                send_timeout: None,
                ..ProducerOptions::default()
            };
            let producer = client
                .client
                .create_producer(&topic, options, Arc::new(NoEvents))
                .await?;
            Arc::new(TopicOutput::new(producer))
        }
    };
    let results = Arc::new(ProcessResults {
        pid: results_to,
        consumer_id: consumer.state.events.id.clone(),
        undelivered: AtomicUsize::new(0),
        dropped: AtomicU64::new(0),
    });
    let pipeline = Arc::new(Pipeline::start(
        consumer.state.consumer.clone(),
        request.pipeline,
        Arc::new(request.job),
        processor,
        output,
        results.clone(),
        Arc::new(ConsumerEvents(consumer.state.clone())),
    ));
    client.add_pipeline(&pipeline);
    let resource = Slot::handle(ProcessorResource { pipeline, results });
    if resource.monitor(None, &results_to).is_none() {
        resource.pipeline.stop().await;
        return Err(pulsar_client::Error::Closed.into());
    }
    Ok(resource)
}

/// Returns credits for results that were taken.
#[rustler::nif]
fn processor_delivered(processor: Handle<ProcessorResource>, count: usize) -> Atom {
    let less = |under_way: usize| Some(under_way.saturating_sub(count));
    // Always succeeds: `less` never refuses.
    let _ = processor
        .results
        .undelivered
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    atoms::ok()
}

/// Stops processing; the consumer's deliveries go to its owner again.
#[rustler::nif]
fn processor_stop<'a>(
    env: Env<'a>,
    processor: Handle<ProcessorResource>,
    reference: Reference<'a>,
) -> Term<'a> {
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        processor.pipeline.stop().await;
        reply.send(|env| atoms::ok().encode(env));
    });
    atoms::ok().encode(env)
}

/// What the pipeline has done and holds.
#[rustler::nif]
fn processor_stats(env: Env<'_>, processor: Handle<ProcessorResource>) -> Term<'_> {
    let stats = processor.pipeline.stats();
    let dropped = processor.results.dropped.load(Ordering::Relaxed);
    map(
        env,
        &[
            (atoms::messages(), stats.messages.encode(env)),
            (atoms::batches(), stats.batches.encode(env)),
            (atoms::failed(), stats.failed.encode(env)),
            (atoms::in_flight(), stats.in_flight.encode(env)),
            (atoms::retries(), stats.retries.encode(env)),
            (atoms::refusals(), stats.refusals.encode(env)),
            (atoms::output_failures(), stats.output_failures.encode(env)),
            (atoms::duplicates(), stats.duplicates.encode(env)),
            (atoms::dropped(), dropped.encode(env)),
        ],
    )
}
