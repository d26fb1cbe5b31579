//! What a test may choose about the broker.

use pulsar::message::proto::ServerError;

/// How the broker behaves; change it at any time with [`crate::Broker::configure`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The protocol version it announces.
    pub protocol_version: i32,
    /// The largest message it announces and takes, in bytes; `None` announces nothing.
    pub max_message_size: Option<i32>,
    /// The URL that lookups name unless a script says otherwise.
    pub service_url: String,
    /// Whether lookups tell the client to stay on the service URL.
    pub proxy_through_service_url: bool,
    /// Whether it drops messages whose sequence id it has seen from the same producer.
    pub deduplication: bool,
    /// Whether it acts on `ack_set`; `false` is a broker without the feature.
    pub batch_index_acknowledgment: bool,
    /// Whether it answers pings; `false` with open sockets is a half-open connection.
    pub answers_pings: bool,
    /// Whether a seek closes the subscription's consumers first, as a real broker does.
    pub seek_closes_consumers: bool,
    /// The token that a client must present.
    pub token: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocol_version: 19,
            max_message_size: Some(5 * 1024 * 1024),
            service_url: "pulsar://fake-broker:6650".to_owned(),
            proxy_through_service_url: false,
            deduplication: false,
            batch_index_acknowledgment: true,
            answers_pings: true,
            seek_closes_consumers: true,
            token: None,
        }
    }
}

/// One answer to a lookup.
#[derive(Clone, Debug)]
pub enum LookupAnswer {
    /// The broker at this URL serves the topic.
    Connect {
        /// Its URL.
        url: String,
        /// Whether to reach it through the service URL.
        proxy: bool,
    },
    /// Ask the broker at this URL.
    Redirect {
        /// Its URL.
        url: String,
        /// The flag to pass on to it.
        authoritative: bool,
    },
    /// The lookup fails.
    Fail(ServerError),
}
