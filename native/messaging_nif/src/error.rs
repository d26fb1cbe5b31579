//! How a failure looks in Elixir; `AMDGPUFramework.Messaging.Error` lists them for users.

use pulsar_client::error::ServerError;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::terms::describe::describe;

/// A failure of this library's own, beside those of the client.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Client(#[from] pulsar_client::Error),
    #[error("{key}: {value}; allowed: {allowed}")]
    InvalidOption {
        key: String,
        value: String,
        allowed: String,
    },
    #[error("processing type {0} is not available")]
    UnsupportedProcessingType(String),
    #[error("GPU processing is not enabled")]
    GpuProcessingNotEnabled,
    #[error("{0}")]
    DeviceStart(String),
}

impl From<gpu_processor::InvalidOption> for Failure {
    fn from(invalid: gpu_processor::InvalidOption) -> Self {
        Failure::InvalidOption {
            key: invalid.key,
            value: shortened(invalid.value.to_string()),
            allowed: invalid.allowed,
        }
    }
}

impl Failure {
    pub(crate) fn invalid(key: &str, value: Term<'_>, allowed: &str) -> Self {
        Failure::InvalidOption {
            key: key.to_owned(),
            value: describe(value),
            allowed: allowed.to_owned(),
        }
    }

    /// `{:error, reason}`.
    pub(crate) fn to_term<'a>(&self, env: Env<'a>) -> Term<'a> {
        (atoms::error(), self.reason(env)).encode(env)
    }

    pub(crate) fn reason<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Failure::Client(error) => client_reason(error, env),
            Failure::InvalidOption {
                key,
                value,
                allowed,
            } => invalid_option(env, key, value, allowed),
            Failure::UnsupportedProcessingType(name) => {
                (atoms::unsupported_processing_type(), name).encode(env)
            }
            Failure::DeviceStart(text) => (atoms::device(), text).encode(env),
            Failure::GpuProcessingNotEnabled => atoms::gpu_processing_not_enabled().encode(env),
        }
    }
}

/// The reason for a failure of the client.
pub(crate) fn client_reason<'a>(error: &pulsar_client::Error, env: Env<'a>) -> Term<'a> {
    use pulsar_client::Error;
    match error {
        Error::Closed => atoms::closed().encode(env),
        Error::QueueFull => atoms::queue_full().encode(env),
        Error::SendTimeout => atoms::send_timeout().encode(env),
        Error::Timeout(_) => atoms::timeout().encode(env),
        Error::Duplicate => atoms::duplicate().encode(env),
        Error::NotAllowed(_) => atoms::not_allowed().encode(env),
        Error::TopicTerminated => atoms::topic_terminated().encode(env),
        Error::MessageTooLarge { .. } => atoms::message_too_large().encode(env),
        Error::InvalidOption {
            key,
            value,
            allowed,
        } => invalid_option(env, key, value, allowed),
        Error::Connect { .. } => (atoms::connect(), error.to_string()).encode(env),
        Error::Disconnected(text) => (atoms::disconnected(), text).encode(env),
        Error::Protocol(text) => (atoms::protocol(), text).encode(env),
        Error::Compression(text) => (atoms::compression(), text).encode(env),
        Error::Broker { code, text } => (atoms::broker(), broker_code(*code), text).encode(env),
    }
}

fn invalid_option<'a>(env: Env<'a>, key: &str, value: &str, allowed: &str) -> Term<'a> {
    // The names of options are atoms already; other keys are a user's own, and must not become any.
    let known = Atom::existing_from_bytes(env, key.as_bytes()).ok();
    let key = known.map_or_else(|| key.encode(env), |atom| atom.encode(env));
    (atoms::invalid_option(), key, value, allowed).encode(env)
}

fn shortened(mut text: String) -> String {
    const LIMIT: usize = 200;
    if let Some((at, _)) = text.char_indices().nth(LIMIT) {
        text.truncate(at);
        text.push('…');
    }
    text
}

fn broker_code(code: ServerError) -> Atom {
    match code {
        ServerError::UnknownError => atoms::unknown_error(),
        ServerError::MetadataError => atoms::metadata_error(),
        ServerError::PersistenceError => atoms::persistence_error(),
        ServerError::AuthenticationError => atoms::authentication_error(),
        ServerError::AuthorizationError => atoms::authorization_error(),
        ServerError::ConsumerBusy => atoms::consumer_busy(),
        ServerError::ServiceNotReady => atoms::service_not_ready(),
        ServerError::ProducerBlockedQuotaExceededError => {
            atoms::producer_blocked_quota_exceeded_error()
        }
        ServerError::ProducerBlockedQuotaExceededException => {
            atoms::producer_blocked_quota_exceeded_exception()
        }
        ServerError::ChecksumError => atoms::checksum_error(),
        ServerError::UnsupportedVersionError => atoms::unsupported_version_error(),
        ServerError::TopicNotFound => atoms::topic_not_found(),
        ServerError::SubscriptionNotFound => atoms::subscription_not_found(),
        ServerError::ConsumerNotFound => atoms::consumer_not_found(),
        ServerError::TooManyRequests => atoms::too_many_requests(),
        ServerError::TopicTerminatedError => atoms::topic_terminated_error(),
        ServerError::ProducerBusy => atoms::producer_busy(),
        ServerError::InvalidTopicName => atoms::invalid_topic_name(),
        ServerError::IncompatibleSchema => atoms::incompatible_schema(),
        ServerError::ConsumerAssignError => atoms::consumer_assign_error(),
        ServerError::TransactionCoordinatorNotFound => atoms::transaction_coordinator_not_found(),
        ServerError::InvalidTxnStatus => atoms::invalid_txn_status(),
        ServerError::NotAllowedError => atoms::not_allowed_error(),
        ServerError::TransactionConflict => atoms::transaction_conflict(),
        ServerError::TransactionNotFound => atoms::transaction_not_found(),
        ServerError::ProducerFenced => atoms::producer_fenced(),
    }
}
