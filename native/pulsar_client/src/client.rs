//! What an application holds: one client a cluster.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::config::ClientConfig;
use crate::connection::pool::Pool;
use crate::consumer::{self, Consumer, ConsumerOptions, MessageSink};
use crate::error::Error;
use crate::event::EventSink;
use crate::producer::{self, Producer, ProducerOptions};
use crate::topic::TopicName;
use crate::transport::{Network, Transport};

/// Numbers of producers and consumers, unique within a client.
#[derive(Default)]
pub(crate) struct Ids {
    last: AtomicU64,
}

impl Ids {
    pub(crate) fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A client: the connections to one cluster. Clones share them. Needs a tokio runtime around its calls.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Arc<Pool>,
    ids: Arc<Ids>,
}

impl Client {
    /// A client on the network. Connects when first needed.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let network = Network::new(&config.tls).map_err(|error| Error::InvalidOption {
            key: "tls",
            value: error.to_string(),
            allowed: "ca_file: the path of a PEM file with certificates",
        })?;
        Ok(Self::with_transport(config, Arc::new(network)))
    }

    /// A client on any transport.
    pub fn with_transport(config: ClientConfig, transport: Arc<dyn Transport>) -> Self {
        let pool = Arc::new(Pool::new(Arc::new(config), transport));
        let inner = Inner {
            pool,
            ids: Arc::default(),
        };
        Client {
            inner: Arc::new(inner),
        }
    }

    /// Creates a producer. Short topic names get the configured tenant and namespace.
    pub async fn create_producer(
        &self,
        topic: &str,
        options: ProducerOptions,
        events: Arc<dyn EventSink>,
    ) -> Result<Producer, Error> {
        let Inner { pool, ids, .. } = &*self.inner;
        let topic = self.topic(topic)?;
        let context = producer::Context {
            pool: pool.clone(),
            ids: ids.clone(),
            events,
        };
        Producer::create(context, topic, options).await
    }

    /// Subscribes to one or many topics.
    pub async fn subscribe(
        &self,
        topics: &[String],
        subscription: &str,
        options: ConsumerOptions,
        sink: Arc<dyn MessageSink>,
        events: Arc<dyn EventSink>,
    ) -> Result<Consumer, Error> {
        let Inner { pool, ids, .. } = &*self.inner;
        let topics = topics
            .iter()
            .map(|topic| self.topic(topic))
            .collect::<Result<Vec<_>, _>>()?;
        let context = consumer::Context {
            pool: pool.clone(),
            ids: ids.clone(),
            events,
            sink,
        };
        Consumer::subscribe(context, topics, subscription, options).await
    }

    fn topic(&self, name: &str) -> Result<TopicName, Error> {
        let (tenant, namespace) = &self.inner.pool.config().default_namespace;
        TopicName::parse(name, (tenant, namespace)).map_err(|_| Error::InvalidOption {
            key: "topic",
            value: name.to_owned(),
            allowed: "name, tenant/namespace/name or persistent://tenant/namespace/name",
        })
    }

    /// Asks the cluster for a sign of life.
    pub async fn check(&self) -> Result<(), Error> {
        let (tenant, namespace) = &self.inner.pool.config().default_namespace;
        let topic = format!("persistent://{tenant}/{namespace}/health-check");
        crate::lookup::partitions(&self.inner.pool, &topic)
            .await
            .map(drop)
    }

    /// What the client connects with.
    pub fn config(&self) -> &ClientConfig {
        self.inner.pool.config()
    }

    /// How many connections are alive.
    pub fn open_connections(&self) -> usize {
        self.inner.pool.open_connections()
    }

    /// Closes every connection. Close producers and consumers first: those still open see an outage.
    pub fn disconnect(&self) {
        self.inner.pool.close();
    }
}
