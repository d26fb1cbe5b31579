//! A broker, a client, a consumer and everything that a pipeline reports to.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake_broker::{Broker, Settings, StoredMessage};
use gpu_processor::{Device, Job, Processor};
use pipeline::{
    BatchCompleted, Output, Pipeline, PipelineConfig, PipelineEvents, Processed, ResultSink,
    StopReason, TopicOutput,
};
use pulsar_client::config::BrokerAddress;
use pulsar_client::consumer::{InitialPosition, MessageSink, SubscriptionType};
use pulsar_client::transport::{Connecting, Stream, Transport};
use pulsar_client::wire::compression::Compression;
use pulsar_client::wire::entry::Entry;
use pulsar_client::{event, Client, ClientConfig, Consumer, ConsumerOptions, ProducerOptions};

use crate::devices::TestKernel;

pub(crate) const IN: &str = "in";
pub(crate) const OUT: &str = "out";

struct InMemory(Broker);

impl Transport for InMemory {
    fn connect<'a>(&'a self, _: &'a BrokerAddress) -> Connecting<'a> {
        Box::pin(async { Ok(Stream::split(self.0.connect()?)) })
    }
}

/// The consumer's owner: keeps what it gets and never acks.
#[derive(Default)]
pub(crate) struct Owner(Mutex<Vec<String>>);

impl Owner {
    pub(crate) fn payloads(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut payloads = self.payloads();
        payloads.sort();
        payloads
    }
}

impl MessageSink for Owner {
    fn deliver(&self, entries: Vec<Entry>) -> bool {
        let mut payloads = self.0.lock().unwrap();
        for entry in &entries {
            let ranges = entry.messages.iter().filter_map(|m| m.payload.clone());
            payloads.extend(ranges.map(|range| text(&entry.buffer[range])));
        }
        true
    }
}

/// Whoever watches the pipeline.
#[derive(Default)]
pub(crate) struct Watcher {
    pub(crate) results: Mutex<Vec<Processed>>,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) batches: Mutex<Vec<BatchCompleted>>,
}

impl Watcher {
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Results and errors as text.
    pub(crate) fn data(&self) -> Vec<Result<String, String>> {
        let results = self.results.lock().unwrap();
        let as_text = |p: &Processed| p.data.as_ref().map(|data| text(data)).map_err(Clone::clone);
        results.iter().map(as_text).collect()
    }
}

impl ResultSink for Watcher {
    fn deliver(&self, results: Vec<Processed>) {
        self.results.lock().unwrap().extend(results);
    }
}

impl PipelineEvents for Watcher {
    fn started(&self, device: &str) {
        self.log.lock().unwrap().push(format!("started {device}"));
    }

    fn completed(&self, batch: BatchCompleted) {
        self.batches.lock().unwrap().push(batch);
    }

    fn stopped(&self, reason: StopReason) {
        self.log.lock().unwrap().push(format!("stopped {reason:?}"));
    }
}

pub(crate) struct Rig {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    pub(crate) consumer: Consumer,
    pub(crate) owner: Arc<Owner>,
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) config: PipelineConfig,
}

impl Rig {
    /// A shared consumer of [`IN`] from its beginning.
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), ConsumerOptions::default(), 0).await
    }

    pub(crate) async fn exclusive() -> Self {
        let options = ConsumerOptions {
            subscription_type: SubscriptionType::Exclusive,
            ..ConsumerOptions::default()
        };
        Self::with(Settings::default(), options, 0).await
    }

    pub(crate) async fn with(
        settings: Settings,
        options: ConsumerOptions,
        partitions: u32,
    ) -> Self {
        let broker = Broker::with_settings(settings);
        broker.set_partitions(IN, partitions);
        let config = ClientConfig::new("pulsar://fake-broker:6650").unwrap();
        let client = Client::with_transport(config, Arc::new(InMemory(broker.clone())));
        let options = ConsumerOptions {
            initial_position: InitialPosition::Earliest,
            ..options
        };
        let owner = Arc::new(Owner::default());
        let consumer = client
            .subscribe(
                &[IN.to_owned()],
                "s",
                options,
                owner.clone(),
                Arc::new(event::NoEvents),
            )
            .await
            .unwrap();
        Rig {
            broker,
            client,
            consumer,
            owner,
            watcher: Arc::default(),
            config: PipelineConfig::default(),
        }
    }

    /// An output to [`OUT`], as a pipeline's own producer should be.
    pub(crate) async fn topic_output(&self) -> Arc<dyn Output> {
        let options = ProducerOptions {
            send_timeout: None,
            compression: Compression::None,
            batch_bytes: 900,
            ..ProducerOptions::default()
        };
        let events = Arc::new(event::NoEvents);
        let producer = self.client.create_producer(OUT, options, events).await;
        Arc::new(TopicOutput::new(producer.unwrap()))
    }

    /// A pipeline to [`OUT`].
    pub(crate) async fn start(&self, device: Arc<dyn Device>) -> Pipeline {
        self.start_with(device, self.topic_output().await)
    }

    pub(crate) fn start_with(&self, device: Arc<dyn Device>, output: Arc<dyn Output>) -> Pipeline {
        Pipeline::start(
            self.consumer.clone(),
            self.config.clone(),
            Arc::new(Job::from_kernel(Arc::new(TestKernel))),
            Arc::new(Processor::with_devices(vec![device])),
            output,
            self.watcher.clone(),
            self.watcher.clone(),
        )
    }

    pub(crate) fn publish(&self, payloads: &[String]) {
        self.broker.publish_payloads(IN, payloads);
    }

    pub(crate) fn out(&self) -> Vec<StoredMessage> {
        self.broker.messages(OUT).unwrap()
    }

    /// The payloads of [`OUT`].
    pub(crate) fn out_payloads(&self) -> Vec<String> {
        let payload = |message: &StoredMessage| text(message.payload.as_ref().unwrap());
        self.out().iter().map(payload).collect()
    }

    pub(crate) fn unacked(&self) -> usize {
        self.broker.unacked(IN, "s").unwrap().len()
    }

    /// Waits until everything published is acknowledged.
    pub(crate) async fn all_acked(&self) {
        soon(self.broker.until(|_| self.unacked() == 0)).await;
    }

    /// Lets an hour pass in which anything wrong may happen.
    pub(crate) async fn an_hour(&self) {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

/// Within a day of simulated time.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(86_400), future)
        .await
        .expect("not within a day")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `m000`, `m001`, …
pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("m{n:03}")).collect()
}

pub(crate) fn done(payloads: &[String]) -> Vec<String> {
    payloads.iter().map(|p| format!("done {p}")).collect()
}

pub(crate) fn property<'a>(message: &'a StoredMessage, name: &str) -> Option<&'a str> {
    let mut properties = message.properties.iter();
    let found = properties.find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}
