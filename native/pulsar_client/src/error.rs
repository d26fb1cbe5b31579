//! Every way in which an operation of this client can fail.

pub use pulsar::message::proto::ServerError;

/// Why an operation failed. Cheap to clone: one failure may answer many waiting senders.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The producer, consumer or client was closed, or its owner is gone.
    #[error("closed")]
    Closed,
    /// The producer's pending messages or bytes have reached their bound.
    #[error("the producer's queue is full")]
    QueueFull,
    /// No receipt came within the send timeout: whether the message was stored is unknown.
    #[error("no receipt within the send timeout; whether the message was stored is unknown")]
    SendTimeout,
    /// A request got no answer in time.
    #[error("no answer to {0} in time")]
    Timeout(&'static str),
    /// The broker's deduplication had already seen this sequence id.
    #[error("the broker already has a message of this producer with this sequence id")]
    Duplicate,
    /// The operation makes no sense for this kind of subscription or in this state.
    #[error("not allowed: {0}")]
    NotAllowed(&'static str),
    /// The topic takes no more messages.
    #[error("the topic is terminated")]
    TopicTerminated,
    /// The message, after compression, is larger than the broker takes.
    #[error("a message of {size} bytes is larger than the broker's limit of {limit}")]
    MessageTooLarge {
        /// Size in bytes as it would be sent.
        size: usize,
        /// The broker's `maxMessageSize`.
        limit: usize,
    },
    /// An option's value is outside of what is allowed.
    #[error("{key}: {value} is not allowed; allowed: {allowed}")]
    InvalidOption {
        /// The option's name.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// What would have been accepted.
        allowed: &'static str,
    },
    /// No connection could be made.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Host and port that were tried.
        address: String,
        /// What the operating system, TLS or the broker said.
        reason: String,
    },
    /// The connection was lost while the request was under way.
    #[error("disconnected: {0}")]
    Disconnected(String),
    /// The peer broke the protocol.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The broker refused.
    #[error("the broker answered {code:?}: {text}")]
    Broker {
        /// The broker's error code.
        code: ServerError,
        /// The broker's own words.
        text: String,
    },
    /// The payload could not be compressed.
    #[error("compression: {0}")]
    Compression(String),
}

impl Error {
    pub(crate) fn broker(code: i32, text: impl Into<String>) -> Self {
        let code = ServerError::try_from(code).unwrap_or(ServerError::UnknownError);
        match code {
            ServerError::TopicTerminatedError => Error::TopicTerminated,
            code => Error::Broker {
                code,
                text: text.into(),
            },
        }
    }

    /// Whether a fresh attempt may succeed without anyone changing anything: the rule for a first
    /// creation. An established producer or consumer retries on everything but [`Self::is_final`].
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Timeout(_) | Error::Connect { .. } | Error::Disconnected(_) => true,
            Error::Broker { code, .. } => matches!(
                code,
                ServerError::ServiceNotReady
                    | ServerError::TooManyRequests
                    | ServerError::MetadataError
                    | ServerError::PersistenceError
                    | ServerError::UnknownError
            ),
            _ => false,
        }
    }

    /// Whether an established producer or consumer must give up: nothing it can do will succeed.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Error::Closed
                | Error::TopicTerminated
                | Error::Broker {
                    code: ServerError::ProducerFenced,
                    ..
                }
        )
    }
}
