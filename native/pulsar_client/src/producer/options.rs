//! How a producer batches, routes and bounds what it sends.

use std::time::Duration;

use crate::error::Error;
use crate::wire::compression::Compression;

/// Which partition a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Routing {
    /// Keyed messages by Java's `String.hashCode` of the key, the Java client's default; messages without
    /// key in turn, a batch's worth to each partition.
    #[default]
    JavaStringHash,
    /// As above, by murmur3.
    Murmur3,
    /// Everything to one partition.
    Partition(u32),
}

/// A producer's options; the defaults suit most.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// The producer's name for the broker; it makes one up where there is none.
    pub name: Option<String>,
    /// Messages after which a batch leaves. 1 sends every message alone.
    pub batch_size: usize,
    /// Bytes, before compression, after which a batch leaves.
    pub batch_bytes: usize,
    /// How long a batch may wait for company while others are in flight.
    pub batch_delay: Duration,
    /// How batches are compressed.
    pub compression: Compression,
    /// Most messages sent and not yet confirmed.
    pub max_pending_messages: usize,
    /// Most payload bytes sent and not yet confirmed.
    pub max_pending_bytes: usize,
    /// After this time without a receipt a send fails; `None` waits for ever.
    pub send_timeout: Option<Duration>,
    /// Which partition a message goes to.
    pub routing: Routing,
    /// Shown in the topic's statistics.
    pub properties: Vec<(String, String)>,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        ProducerOptions {
            name: None,
            batch_size: 1000,
            batch_bytes: 128 * 1024,
            batch_delay: Duration::from_millis(1),
            compression: Compression::Lz4,
            max_pending_messages: 10_000,
            max_pending_bytes: 64 * 1024 * 1024,
            send_timeout: Some(Duration::from_secs(30)),
            routing: Routing::default(),
            properties: Vec::new(),
        }
    }
}

impl ProducerOptions {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let positive = [
            ("batch_size", self.batch_size),
            ("batch_bytes", self.batch_bytes),
            ("max_pending_messages", self.max_pending_messages),
            ("max_pending_bytes", self.max_pending_bytes),
        ];
        for (key, value) in positive {
            if value == 0 {
                let allowed = "a positive number";
                return Err(Error::InvalidOption {
                    key,
                    value: "0".to_owned(),
                    allowed,
                });
            }
        }
        Ok(())
    }
}
