//! Starting and stopping.

use std::future::Future;
use std::sync::Arc;

use gpu_processor::{Job, Processor};
use pulsar_client::consumer::MessageSink;
use pulsar_client::Consumer;
use tokio::sync::{mpsc, watch, Semaphore};
use tokio::task::JoinHandle;

use crate::batcher::Batcher;
use crate::commit::Committer;
use crate::compute::Compute;
use crate::config::PipelineConfig;
use crate::events::{PipelineEvents, StopReason};
use crate::inbox::Inbox;
use crate::intake::{stop_signal, InFlight, Intake};
use crate::output::Output;
use crate::results::ResultSink;
use crate::stats::{Counters, PipelineStats};

/// A consumer's messages on their way through the devices. Owns the consumer's deliveries from start to
/// stop. Dropping it stops it without waiting.
pub struct Pipeline {
    stop: watch::Sender<bool>,
    /// Closed when the consumer is its owner's again.
    ended: watch::Receiver<()>,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
}

impl Pipeline {
    /// Takes a consumer over, with the messages that its owner holds un-acked, and processes what it
    /// delivers. Needs a tokio runtime around it.
    ///
    /// Acks by the consumer's owner while the pipeline runs acknowledge before the effect; keeping them
    /// away is up to whoever holds both. With [`Flow::Manual`](pulsar_client::consumer::Flow::Manual)
    /// it is the owner's requests that let messages through.
    #[must_use]
    pub fn start(
        consumer: Consumer,
        config: PipelineConfig,
        job: Arc<Job>,
        processor: Arc<Processor>,
        output: Arc<dyn Output>,
        results: Arc<dyn ResultSink>,
        events: Arc<dyn PipelineEvents>,
    ) -> Pipeline {
        let topics = consumer.stats().topics.into_iter();
        let inbox = Arc::new(Inbox::new(
            topics
                .filter_map(|topic| consumer.topic_index(&topic).map(|index| (topic, index)))
                .collect(),
        ));
        let counters = Arc::new(Counters::default());
        let (stop, stopping) = watch::channel(false);
        let (running, ended) = watch::channel(());
        let (started, in_flight) = mpsc::channel(config.batches_in_flight.max(1));
        let devices = device_names(&processor);
        let intake = Intake {
            inbox: inbox.clone(),
            batcher: Batcher::new(config.batch_size, config.batch_bytes, config.batch_timeout),
            compute: Arc::new(Compute {
                processor,
                job,
                priority: config.priority,
                attempts: config.attempts,
                backoff: config.device_backoff,
                counters: counters.clone(),
            }),
            places: Arc::new(Semaphore::new(config.batches_in_flight.max(1))),
            started,
        };
        let committer = Committer {
            consumer: consumer.clone(),
            inbox: inbox.clone(),
            output,
            results,
            events: events.clone(),
            counters: counters.clone(),
            backoff: config.output_backoff,
            stopping: stopping.clone(),
        };
        events.started(&devices);
        let owner = consumer.replace_sink(inbox.clone());
        // What the owner holds goes through the pipeline too, and so does what was on its way to it.
        consumer.redeliver_unacked();
        let work = tokio::spawn(run(intake, committer, in_flight, stopping.clone()));
        let lease = Lease {
            consumer,
            owner,
            inbox: inbox.clone(),
            events,
            _running: running,
        };
        tokio::spawn(lease.keep(work, stopping, config.drain_timeout));
        Pipeline {
            stop,
            ended,
            inbox,
            counters,
        }
    }

    /// Stops: no batch is started any more, those in flight are finished (within the drain timeout), and
    /// the consumer goes back to its owner with all that is un-acked. Begins at once; the future resolves
    /// when it is done. A second call waits for the same end.
    pub fn stop(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stop.send_replace(true);
        self.ended()
    }

    /// Resolves when the pipeline has ended, asked to or not.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        async move { while ended.changed().await.is_ok() {} }
    }

    /// Whether the pipeline has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// What the pipeline has done and holds.
    #[must_use]
    pub fn stats(&self) -> PipelineStats {
        self.counters
            .snapshot(self.inbox.messages(), self.inbox.duplicates())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// A consumer on loan, and how it goes back.
struct Lease {
    consumer: Consumer,
    owner: Arc<dyn MessageSink>,
    inbox: Arc<Inbox>,
    events: Arc<dyn PipelineEvents>,
    /// Dropped last, which is what the pipeline's end is known by.
    _running: watch::Sender<()>,
}

impl Lease {
    /// Waits for the work's end, or brings it about, and gives the consumer back whatever happened.
    async fn keep(
        self,
        mut work: JoinHandle<StopReason>,
        stopping: watch::Receiver<bool>,
        drain_timeout: std::time::Duration,
    ) {
        let ended = tokio::select! {
            ended = &mut work => Some(ended),
            () = stop_signal(stopping) => {
                tokio::time::timeout(drain_timeout, &mut work).await.ok()
            }
        };
        let reason = match ended {
            Some(ended) => ended.unwrap_or(StopReason::InternalError),
            None => {
                // Awaited, so that no ack of it follows the redelivery.
                work.abort();
                let _ = work.await;
                StopReason::Asked
            }
        };
        self.events.returning();
        self.inbox.close();
        self.consumer.replace_sink(self.owner.clone());
        self.consumer.redeliver_unacked();
        self.events.stopped(reason);
    }
}

async fn run(
    intake: Intake,
    committer: Committer,
    in_flight: mpsc::Receiver<InFlight>,
    stopping: watch::Receiver<bool>,
) -> StopReason {
    let forming = async {
        // Its end closes the channel, which is how the committer learns that no batch follows.
        intake.run(stopping).await;
        std::future::pending::<StopReason>().await
    };
    tokio::select! {
        reason = committer.run(in_flight) => reason,
        reason = forming => reason,
    }
}

fn device_names(processor: &Processor) -> String {
    let names: Vec<String> = processor
        .devices()
        .iter()
        .map(|device| format!("{}:{}", device.info.backend, device.info.id))
        .collect();
    names.join(", ")
}
