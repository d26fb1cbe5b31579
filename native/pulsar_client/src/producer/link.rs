//! A producer's tie to the broker that serves its topic.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pulsar::message::proto::{
    CommandCloseProducer, CommandProducer, CommandProducerSuccess, KeyValue,
};
use tokio::sync::mpsc;

use crate::connection::pool::Pool;
use crate::connection::{Connection, ProducerSignal};
use crate::error::Error;
use crate::lookup;
use crate::wire::command;

/// What it takes to create a producer on a broker.
pub(super) struct Request {
    pub(super) pool: Arc<Pool>,
    pub(super) topic: Arc<str>,
    pub(super) producer_id: u64,
    pub(super) name: Option<String>,
    pub(super) user_named: bool,
    pub(super) epoch: u64,
    pub(super) properties: Vec<(String, String)>,
}

/// A producer that the broker knows.
pub(super) struct Established {
    pub(super) connection: Arc<Connection>,
    pub(super) signals: mpsc::UnboundedReceiver<ProducerSignal>,
    pub(super) success: CommandProducerSuccess,
}

type Establishing = Pin<Box<dyn Future<Output = Result<Established, Error>> + Send>>;

/// Connected, or on the way there.
pub(super) enum Link {
    Connecting(Establishing),
    Up {
        connection: Arc<Connection>,
        signals: mpsc::UnboundedReceiver<ProducerSignal>,
    },
}

/// What a link reports.
pub(super) enum LinkEvent {
    Established(Result<Established, Error>),
    Signal(ProducerSignal),
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

    /// Leaves a broker that is still there, and connects again after a delay. Frames in flight keep their
    /// producer's number, so it must be free before it is used again: what still comes for the old
    /// producer would pass for the new one's.
    pub(super) fn leave(left: Arc<Connection>, request: Request, delay: Duration) -> Self {
        Link::Connecting(Box::pin(async move {
            let producer_id = request.producer_id;
            left.remove_producer(producer_id);
            let closed = left.request("the closing of a producer", |request_id| {
                command::close_producer(CommandCloseProducer {
                    producer_id,
                    request_id,
                })
            });
            if let Err(Error::Timeout(what)) = closed.await {
                left.close(what);
            }
            drop(left);
            tokio::time::sleep(delay).await;
            establish(request).await
        }))
    }

    /// The next thing that happens. Safe to cancel.
    pub(super) async fn next(&mut self) -> LinkEvent {
        match self {
            Link::Connecting(future) => LinkEvent::Established(future.await),
            Link::Up {
                connection,
                signals,
            } => match signals.recv().await {
                Some(ProducerSignal::Closed) => LinkEvent::Lost("closed by the broker".to_owned()),
                Some(signal) => LinkEvent::Signal(signal),
                None => LinkEvent::Lost(connection.close_reason()),
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
    let (sender, signals) = mpsc::unbounded_channel();
    let producer_id = request.producer_id;
    connection.add_producer(producer_id, sender)?;
    let undo = Undo {
        connection: Some(&connection),
        producer_id,
    };
    let answer = connection
        .request("the creation of a producer", |request_id| {
            command::producer(CommandProducer {
                topic: request.topic.to_string(),
                producer_id,
                request_id,
                producer_name: request.name,
                user_provided_producer_name: Some(request.user_named),
                epoch: Some(request.epoch),
                metadata: request
                    .properties
                    .into_iter()
                    .map(|(key, value)| KeyValue { key, value })
                    .collect(),
                ..Default::default()
            })
        })
        .await;
    let missing = || Error::Protocol("no PRODUCER_SUCCESS in the answer".to_owned());
    let success = answer?.producer_success.ok_or_else(missing)?;
    undo.disarm();
    Ok(Established {
        connection,
        signals,
        success,
    })
}

/// Takes back a creation that failed, or whose answer nobody waits for any more: the broker may have
/// made the producer, and would keep it for as long as the connection lives.
struct Undo<'a> {
    connection: Option<&'a Connection>,
    producer_id: u64,
}

impl Undo<'_> {
    fn disarm(mut self) {
        self.connection = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            connection.remove_producer(self.producer_id);
            close(connection, self.producer_id);
        }
    }
}

/// Tells the broker to forget a producer, without waiting for its answer.
pub(super) fn close(connection: &Connection, producer_id: u64) {
    connection.command(&command::close_producer(CommandCloseProducer {
        producer_id,
        request_id: connection.request_id(),
    }));
}
