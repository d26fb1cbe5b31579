//! A consumer's tie to the broker that serves its topic.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pulsar::message::proto::{
    CommandCloseConsumer, CommandSubscribe, KeySharedMeta, KeySharedMode, KeyValue,
};
use tokio::sync::mpsc;

use super::options::{ConsumerOptions, SubscriptionType};
use crate::connection::pool::Pool;
use crate::connection::{Connection, ConsumerSignal};
use crate::error::Error;
use crate::lookup;
use crate::wire::command;

/// Signals besides messages that may wait: confirmations of acks, changes of the active consumer.
const SIGNAL_SLACK: usize = 4096;

/// What it takes to subscribe.
pub(super) struct Request {
    pub(super) pool: Arc<Pool>,
    pub(super) topic: Arc<str>,
    pub(super) subscription: Arc<str>,
    pub(super) consumer_id: u64,
    pub(super) epoch: u64,
    pub(super) options: Arc<ConsumerOptions>,
}

/// A consumer that the broker knows.
pub(super) struct Established {
    pub(super) connection: Arc<Connection>,
    pub(super) signals: mpsc::Receiver<ConsumerSignal>,
}

type Establishing = Pin<Box<dyn Future<Output = Result<Established, Error>> + Send>>;

/// Connected, or on the way there.
pub(super) enum Link {
    Connecting(Establishing),
    Up {
        connection: Arc<Connection>,
        signals: mpsc::Receiver<ConsumerSignal>,
    },
}

/// What a link reports.
pub(super) enum LinkEvent {
    Established(Result<Established, Error>),
    /// Signals were put into the inbox.
    Signals,
    Lost(String),
}

impl Link {
    /// Starts to connect after a delay.
    pub(super) fn connect(request: Request, delay: Duration) -> Self {
        Link::Connecting(Box::pin(async move {
            tokio::time::sleep(delay).await;
            establish(request).await
        }))
    }

    /// The next thing that happens; signals go into `inbox`, at most `limit` at a time. Safe to cancel.
    pub(super) async fn next(
        &mut self,
        inbox: &mut Vec<ConsumerSignal>,
        limit: usize,
    ) -> LinkEvent {
        match self {
            Link::Connecting(future) => LinkEvent::Established(future.await),
            Link::Up {
                connection,
                signals,
            } => match signals.recv_many(inbox, limit).await {
                0 => LinkEvent::Lost(connection.close_reason()),
                _ => LinkEvent::Signals,
            },
        }
    }

    /// The live connection.
    pub(super) fn connection(&self) -> Option<&Arc<Connection>> {
        match self {
            Link::Up { connection, .. } => Some(connection),
            Link::Connecting(_) => None,
        }
    }
}

async fn establish(request: Request) -> Result<Established, Error> {
    let connection = lookup::broker(&request.pool, &request.topic).await?;
    let options = &request.options;
    let consumer_id = request.consumer_id;
    let (sender, signals) = mpsc::channel(options.receiver_queue_size + SIGNAL_SLACK);
    connection.add_consumer(consumer_id, sender)?;
    let undo = Undo {
        connection: Some(&connection),
        consumer_id,
    };
    let key_shared = options.subscription_type == SubscriptionType::KeyShared;
    let pairs = options.properties.iter().cloned();
    let subscribed = connection
        .request("the subscription", |request_id| {
            command::subscribe(CommandSubscribe {
                topic: request.topic.to_string(),
                subscription: request.subscription.to_string(),
                sub_type: options.subscription_type.to_proto() as i32,
                consumer_id,
                request_id,
                consumer_name: options.name.clone(),
                durable: Some(true),
                metadata: pairs.map(|(key, value)| KeyValue { key, value }).collect(),
                initial_position: Some(options.initial_position.to_proto() as i32),
                key_shared_meta: key_shared.then(|| KeySharedMeta {
                    key_shared_mode: KeySharedMode::AutoSplit as i32,
                    ..Default::default()
                }),
                consumer_epoch: Some(request.epoch),
                ..Default::default()
            })
        })
        .await;
    subscribed?;
    undo.disarm();
    Ok(Established {
        connection,
        signals,
    })
}

/// Takes back a subscription that failed, or whose answer nobody waits for any more: the broker may have
/// made it, and would keep it for as long as the connection lives.
struct Undo<'a> {
    connection: Option<&'a Connection>,
    consumer_id: u64,
}

impl Undo<'_> {
    fn disarm(mut self) {
        self.connection = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            connection.remove_consumer(self.consumer_id);
            close(connection, self.consumer_id);
        }
    }
}

/// Tells the broker to forget a consumer, without waiting for its answer.
pub(super) fn close(connection: &Connection, consumer_id: u64) {
    connection.command(&command::close_consumer(CommandCloseConsumer {
        consumer_id,
        request_id: connection.request_id(),
    }));
}
