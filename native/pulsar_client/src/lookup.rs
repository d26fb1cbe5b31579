//! Which broker serves a topic, and how many partitions a topic has.

use std::sync::Arc;

use tokio::time::{sleep, timeout_at, Instant};

use pulsar::message::proto::{
    command_lookup_topic_response, command_partitioned_topic_metadata_response, CommandLookupTopic,
    CommandLookupTopicResponse, CommandPartitionedTopicMetadata,
};

use crate::backoff::Backoff;
use crate::config::{BrokerAddress, ServiceUrl};
use crate::connection::pool::{Destination, Pool};
use crate::connection::Connection;
use crate::error::Error;
use crate::wire::command;

/// Redirects followed before a lookup is given up; the Java client's default.
const MAX_REDIRECTS: usize = 20;

/// Number of partitions of a topic; 0 for one that has none.
pub async fn partitions(pool: &Pool, topic: &str) -> Result<u32, Error> {
    let connection = pool.service().await?;
    let answer = connection
        .request("the partition metadata request", |request_id| {
            command::partition_metadata(CommandPartitionedTopicMetadata {
                topic: topic.to_owned(),
                request_id,
                ..Default::default()
            })
        })
        .await?;
    let answer = answer.partition_metadata_response.unwrap_or_default();
    if answer.response() == command_partitioned_topic_metadata_response::LookupType::Failed {
        return Err(Error::broker(
            answer.error.unwrap_or_default(),
            answer.message.unwrap_or_default(),
        ));
    }
    Ok(answer.partitions.unwrap_or_default())
}

/// As [`partitions`], retrying what may pass until `give_up`.
pub async fn partitions_until(pool: &Pool, topic: &str, give_up: Instant) -> Result<u32, Error> {
    let (initial, max) = pool.config().reconnect_backoff;
    let mut backoff = Backoff::new(initial, max);
    loop {
        let asked = timeout_at(give_up, partitions(pool, topic)).await;
        let error = match asked.unwrap_or(Err(Error::Timeout("the partition metadata request"))) {
            Ok(count) => return Ok(count),
            Err(error) => error,
        };
        let delay = backoff.next_delay();
        if !error.is_retryable() || Instant::now() + delay >= give_up {
            return Err(error);
        }
        sleep(delay).await;
    }
}

/// A connection to the broker that serves the topic.
pub async fn broker(pool: &Pool, topic: &str) -> Result<Arc<Connection>, Error> {
    let mut connection = pool.service().await?;
    let service = connection.address().clone();
    let mut authoritative = false;
    for _ in 0..=MAX_REDIRECTS {
        let answer = ask(&connection, pool, topic, authoritative).await?;
        let destination = destination(&answer, &service)?;
        match answer.response() {
            command_lookup_topic_response::LookupType::Connect => {
                return pool.get(&destination).await;
            }
            command_lookup_topic_response::LookupType::Redirect => {
                authoritative = answer.authoritative();
                connection = pool.get(&destination).await?;
            }
            command_lookup_topic_response::LookupType::Failed => {
                return Err(Error::broker(
                    answer.error.unwrap_or_default(),
                    answer.message.unwrap_or_default(),
                ));
            }
        }
    }
    Err(Error::Protocol(format!(
        "the lookup of {topic} was redirected {MAX_REDIRECTS} times"
    )))
}

async fn ask(
    connection: &Connection,
    pool: &Pool,
    topic: &str,
    authoritative: bool,
) -> Result<CommandLookupTopicResponse, Error> {
    let answer = connection
        .request("the lookup", |request_id| {
            command::lookup(CommandLookupTopic {
                topic: topic.to_owned(),
                request_id,
                authoritative: Some(authoritative),
                advertised_listener_name: pool.config().listener_name.clone(),
                ..Default::default()
            })
        })
        .await?;
    let answer = answer.lookup_topic_response.unwrap_or_default();
    if answer.response.is_none() {
        return Err(Error::Protocol(
            "a lookup answer without a response type".to_owned(),
        ));
    }
    Ok(answer)
}

fn destination(
    answer: &CommandLookupTopicResponse,
    service: &BrokerAddress,
) -> Result<Destination, Error> {
    if answer.response() == command_lookup_topic_response::LookupType::Failed {
        return Ok(Destination {
            address: service.clone(),
            proxied: None,
        });
    }
    let url = if service.tls {
        &answer.broker_service_url_tls
    } else {
        &answer.broker_service_url
    };
    let url = url.as_deref().filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| Error::Protocol("a lookup answer without a broker".to_owned()))?;
    let broker = ServiceUrl::parse(url)
        .ok()
        .and_then(|url| url.addresses.into_iter().next())
        .ok_or_else(|| Error::Protocol(format!("a lookup answer with the broker {url:?}")))?;
    if answer.proxy_through_service_url() {
        return Ok(Destination {
            address: service.clone(),
            proxied: Some(broker),
        });
    }
    Ok(Destination {
        address: broker,
        proxied: None,
    })
}
