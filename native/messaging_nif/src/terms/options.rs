//! Option maps. Elixir has validated and documented them; what still does not fit is named here too.

use std::time::Duration;

use pulsar_client::consumer::{Flow, InitialPosition, SubscriptionType};
use pulsar_client::producer::Routing;
use pulsar_client::wire::compression::Compression;
use pulsar_client::{config, ClientConfig, ConsumerOptions, ProducerOptions};
use rustler::{Atom, Decoder, MapIterator, Term};

use crate::atoms;
use crate::error::Failure;

/// A map of options.
pub(crate) struct Options<'a> {
    map: Term<'a>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(map: Term<'a>) -> Result<Self, Failure> {
        if map.is_map() {
            Ok(Options { map })
        } else {
            Err(Failure::invalid("options", map, "a map"))
        }
    }

    /// The value of a key, unless it is missing or nil.
    pub(crate) fn term(&self, key: Atom) -> Option<Term<'a>> {
        let value = self.map.map_get(key.to_term(self.map.get_env())).ok()?;
        (value != atoms::nil().to_term(self.map.get_env())).then_some(value)
    }

    /// The value of a key, decoded; `None` if it is missing or nil.
    pub(crate) fn get<T: Decoder<'a>>(
        &self,
        key: Atom,
        name: &str,
        allowed: &str,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.term(key) else {
            return Ok(None);
        };
        match value.decode() {
            Ok(decoded) => Ok(Some(decoded)),
            Err(_) => Err(Failure::invalid(name, value, allowed)),
        }
    }

    /// The value of a key among named choices.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: Atom,
        name: &str,
        choices: &[(Atom, T)],
        allowed: &str,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.term(key) else {
            return Ok(None);
        };
        let given = value.decode::<Atom>().ok();
        let found = choices.iter().find(|(atom, _)| given == Some(*atom));
        match found {
            Some((_, choice)) => Ok(Some(*choice)),
            None => Err(Failure::invalid(name, value, allowed)),
        }
    }

    fn count(&self, key: Atom, name: &str) -> Result<Option<usize>, Failure> {
        self.get(key, name, "a number, at least 0")
    }

    fn millis(&self, key: Atom, name: &str) -> Result<Option<Duration>, Failure> {
        let millis: Option<u64> = self.get(key, name, "milliseconds, at least 0")?;
        Ok(millis.map(Duration::from_millis))
    }

    fn text(&self, key: Atom, name: &str) -> Result<Option<String>, Failure> {
        self.get(key, name, "text")
    }

    fn properties(&self) -> Result<Vec<(String, String)>, Failure> {
        match self.term(atoms::properties()) {
            None => Ok(Vec::new()),
            Some(map) => properties(map),
        }
    }
}

/// What a producer, a consumer or a message may carry: they are decoded on a scheduler.
const PROPERTIES: usize = 1000;

/// A map of text to text.
pub(crate) fn properties(map: Term<'_>) -> Result<Vec<(String, String)>, Failure> {
    let allowed = "a map of text to text, with at most 1000 entries";
    let invalid = || Failure::invalid("properties", map, allowed);
    if map.map_size().map_err(|_| invalid())? > PROPERTIES {
        return Err(invalid());
    }
    let pairs = map.decode::<MapIterator<'_>>().map_err(|_| invalid())?;
    let decode = |(key, value): (Term<'_>, Term<'_>)| {
        Some((key.decode::<String>().ok()?, value.decode::<String>().ok()?))
    };
    pairs
        .map(decode)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(invalid)
}

/// A client's configuration.
pub(crate) fn client(map: Term<'_>) -> Result<ClientConfig, Failure> {
    let options = Options::new(map)?;
    let url = options.text(atoms::service_url(), "broker_service_url")?;
    let mut config = ClientConfig::new(url.as_deref().unwrap_or("pulsar://localhost:6650"))?;
    let allowed = "{:token, text}";
    let auth: Option<(Atom, String)> = options.get(atoms::auth(), "authentication", allowed)?;
    config.authentication = auth.map(|(_, token)| config::Token::shared(token));
    if let Some(timeout) = options.millis(atoms::connection_timeout_ms(), "connection_timeout")? {
        config.connection_timeout = timeout;
    }
    if let Some(timeout) = options.millis(atoms::operation_timeout_ms(), "operation_timeout")? {
        config.operation_timeout = timeout;
    }
    if let Some(interval) = options.millis(atoms::keep_alive_ms(), "keep_alive")? {
        config.keep_alive = interval.max(Duration::from_millis(1));
    }
    config.listener_name = options.text(atoms::listener_name(), "listener_name")?;
    if let Some(tenant) = options.text(atoms::tenant(), "tenant")? {
        config.default_namespace.0 = tenant;
    }
    if let Some(namespace) = options.text(atoms::namespace(), "namespace")? {
        config.default_namespace.1 = namespace;
    }
    if let Some(tls) = options.term(atoms::tls()) {
        let tls = Options::new(tls)?;
        config.tls.ca_file = tls.text(atoms::ca_file(), "ca_file")?.map(Into::into);
        let (key, name) = (atoms::hostname_verification(), "hostname_verification");
        if let Some(verify) = tls.get(key, name, "true or false")? {
            config.tls.hostname_verification = verify;
        }
    }
    Ok(config)
}

/// A producer's options.
pub(crate) fn producer(map: Term<'_>) -> Result<ProducerOptions, Failure> {
    let options = Options::new(map)?;
    let default = ProducerOptions::default();
    let compressions = [
        (atoms::none(), Compression::None),
        (atoms::lz4(), Compression::Lz4),
        (atoms::zlib(), Compression::Zlib),
        (atoms::zstd(), Compression::Zstd),
        (atoms::snappy(), Compression::Snappy),
    ];
    let allowed = ":none, :lz4, :zlib, :zstd or :snappy";
    let compression =
        options.choice(atoms::compression(), "compression", &compressions, allowed)?;
    let send_timeout = options.millis(atoms::send_timeout_ms(), "send_timeout")?;
    let count = |key, name, default| Ok::<_, Failure>(options.count(key, name)?.unwrap_or(default));
    Ok(ProducerOptions {
        name: options.text(atoms::name(), "name")?,
        batch_size: count(atoms::batch_size(), "batch_size", default.batch_size)?,
        batch_bytes: count(atoms::batch_bytes(), "batch_bytes", default.batch_bytes)?,
        batch_delay: options
            .millis(atoms::batch_delay(), "batch_delay")?
            .unwrap_or(default.batch_delay),
        compression: compression.unwrap_or(default.compression),
        max_pending_messages: count(
            atoms::max_pending_messages(),
            "max_pending_messages",
            default.max_pending_messages,
        )?,
        max_pending_bytes: count(
            atoms::max_pending_bytes(),
            "max_pending_bytes",
            default.max_pending_bytes,
        )?,
        send_timeout: match send_timeout {
            None => default.send_timeout,
            Some(timeout) => Some(timeout).filter(|timeout| !timeout.is_zero()),
        },
        routing: routing(&options)?,
        properties: options.properties()?,
    })
}

fn routing(options: &Options<'_>) -> Result<Routing, Failure> {
    let Some(value) = options.term(atoms::routing()) else {
        return Ok(Routing::default());
    };
    if let Ok((tag, partition)) = value.decode::<(Atom, u32)>() {
        if tag == atoms::partition() {
            return Ok(Routing::Partition(partition));
        }
    }
    let choices = [
        (atoms::java_hash(), Routing::JavaStringHash),
        (atoms::murmur3(), Routing::Murmur3),
    ];
    let allowed = ":java_hash, :murmur3 or {:partition, number}";
    let choice = options.choice(atoms::routing(), "routing", &choices, allowed)?;
    Ok(choice.unwrap_or_default())
}

/// A consumer's options.
pub(crate) fn consumer(map: Term<'_>) -> Result<ConsumerOptions, Failure> {
    let options = Options::new(map)?;
    let default = ConsumerOptions::default();
    let types = [
        (atoms::exclusive(), SubscriptionType::Exclusive),
        (atoms::shared(), SubscriptionType::Shared),
        (atoms::failover(), SubscriptionType::Failover),
        (atoms::key_shared(), SubscriptionType::KeyShared),
    ];
    let positions = [
        (atoms::latest(), InitialPosition::Latest),
        (atoms::earliest(), InitialPosition::Earliest),
    ];
    let flows = [(atoms::ack(), Flow::Ack), (atoms::manual(), Flow::Manual)];
    let allowed = ":exclusive, :shared, :failover or :key_shared";
    let subscription_type = options.choice(atoms::sub_type(), "sub_type", &types, allowed)?;
    let allowed = ":latest or :earliest";
    let position = options.choice(
        atoms::initial_position(),
        "initial_position",
        &positions,
        allowed,
    )?;
    let flow = options.choice(atoms::flow(), "flow", &flows, ":ack or :manual")?;
    let paused = options.get(atoms::paused(), "paused", "true or false")?;
    Ok(ConsumerOptions {
        name: options.text(atoms::name(), "name")?,
        subscription_type: subscription_type.unwrap_or_default(),
        initial_position: position.unwrap_or_default(),
        receiver_queue_size: options
            .count(atoms::receiver_queue_size(), "receiver_queue_size")?
            .unwrap_or(default.receiver_queue_size),
        max_bytes: options
            .count(atoms::max_bytes(), "max_bytes")?
            .unwrap_or(default.max_bytes),
        flow: flow.unwrap_or_default(),
        paused: paused.unwrap_or(default.paused),
        nack_delay: options
            .millis(atoms::nack_delay(), "nack_delay")?
            .unwrap_or(default.nack_delay),
        ack_group_time: options
            .millis(atoms::ack_group_time(), "ack_group_time")?
            .unwrap_or(default.ack_group_time),
        properties: options.properties()?,
    })
}
