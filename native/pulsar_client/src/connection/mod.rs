//! One connection to one broker, shared by every producer and consumer whose topic it serves.
//!
//! A reader task and a writer task own the two halves of the stream and never wait for each other.
//! The [`Connection`] handle queues frames and keeps the table of who waits for what. When the
//! connection dies its table is emptied: every waiter sees its channel close, and asks
//! [`Connection::close_reason`] why.

mod handshake;
pub mod pool;
mod reader;
mod routes;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use pulsar::message::proto::{self, BaseCommand};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::config::{BrokerAddress, ClientConfig};
use crate::error::Error;
use crate::transport::Transport;
use crate::wire::command;
use crate::wire::frame::{self, Outbound};

pub(crate) use routes::Routes;

/// What a connection tells a producer.
#[derive(Debug)]
pub enum ProducerSignal {
    /// A batch was stored.
    Receipt(proto::CommandSendReceipt),
    /// A batch was refused.
    SendError(proto::CommandSendError),
    /// The broker no longer serves the topic here: look it up again.
    Closed,
}

/// What a connection tells a consumer.
#[derive(Debug)]
pub enum ConsumerSignal {
    /// An entry.
    Message {
        /// The command.
        command: proto::CommandMessage,
        /// Everything after the command, unchecked.
        payload: Bytes,
    },
    /// The broker no longer serves the topic here: look it up again.
    Closed,
    /// The topic is terminated and has been read to its end.
    EndOfTopic,
    /// Whether this is the subscription's active consumer (failover).
    Active(bool),
    /// The broker has taken the acks of the command with this request id.
    AckConfirmed(u64),
}

/// A live connection. Dropping the last handle closes the socket.
pub struct Connection {
    address: BrokerAddress,
    outbound: mpsc::UnboundedSender<Outbound>,
    routes: Arc<Routes>,
    next_request: AtomicU64,
    max_message_size: usize,
    protocol_version: i32,
    operation_timeout: Duration,
    closed: watch::Receiver<bool>,
    reason: Arc<OnceLock<String>>,
    reader: AbortHandle,
}

impl Connection {
    /// Connects, shakes hands and starts both tasks. `proxied` names the broker that the proxy at
    /// `address` is to pass everything to.
    pub async fn open(
        transport: &dyn Transport,
        config: &ClientConfig,
        address: &BrokerAddress,
        proxied: Option<&BrokerAddress>,
    ) -> Result<Arc<Self>, Error> {
        let connect = |reason: String| Error::Connect {
            address: address.to_string(),
            reason,
        };
        let opened = tokio::time::timeout(config.connection_timeout, async {
            let stream = transport
                .connect(address)
                .await
                .map_err(|e| connect(e.to_string()))?;
            handshake::perform(stream, config, proxied)
                .await
                .map_err(|error| match error {
                    Error::Disconnected(reason) => connect(reason),
                    error => error,
                })
        });
        let ready = opened
            .await
            .map_err(|_| connect("timed out".to_owned()))??;

        // Unbounded by type, bounded by content: a producer's frames by its pending bound, acks and
        // flows by the consumer's window, requests by their callers. A stuck socket dies by keepalive.
        let (outbound, frames) = mpsc::unbounded_channel();
        let (closing, closed) = watch::channel(false);
        let routes = Arc::new(Routes::default());
        let reason = Arc::new(OnceLock::new());
        let writer = tokio::spawn(writer::run(ready.stream.write, frames));
        let reader = tokio::spawn(reader::run(reader::Reader {
            read: ready.stream.read,
            buffer: ready.buffer,
            frame_limit: ready.max_message_size + frame::FRAME_SLACK,
            keep_alive: config.keep_alive,
            authentication: config.authentication.clone(),
            routes: routes.clone(),
            outbound: outbound.clone(),
            writer,
            reason: reason.clone(),
            closing,
        }));
        Ok(Arc::new(Connection {
            address: address.clone(),
            outbound,
            routes,
            next_request: AtomicU64::new(1),
            max_message_size: ready.max_message_size,
            protocol_version: ready.protocol_version,
            operation_timeout: config.operation_timeout,
            closed,
            reason,
            reader: reader.abort_handle(),
        }))
    }

    /// Where this connection leads.
    pub fn address(&self) -> &BrokerAddress {
        &self.address
    }

    /// The broker's `maxMessageSize` in bytes.
    pub fn max_message_size(&self) -> usize {
        self.max_message_size
    }

    /// Whether the broker confirms acks that carry a request id.
    pub fn confirms_acks(&self) -> bool {
        self.protocol_version >= proto::ProtocolVersion::V17 as i32
    }

    /// Whether the connection has died.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Why the connection died, in words.
    pub fn close_reason(&self) -> String {
        self.reason
            .get()
            .cloned()
            .unwrap_or_else(|| "closed by this client".to_owned())
    }

    /// Closes the connection because its peer can no longer be trusted or is not needed.
    pub fn close(&self, reason: &str) {
        let _ = self.reason.set(reason.to_owned());
        self.reader.abort();
    }

    /// Queues a frame. After the connection died it is dropped: its sender learns of that by its route.
    pub fn send(&self, frame: Outbound) {
        let _ = self.outbound.send(frame);
    }

    /// Queues a command that has no answer.
    pub fn command(&self, command: &BaseCommand) {
        self.send(frame::encode_command(command));
    }

    /// A new request id, unique on this connection.
    pub fn request_id(&self) -> u64 {
        self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request and waits for its answer; an error answer is an error.
    pub async fn request(
        &self,
        what: &'static str,
        build: impl FnOnce(u64) -> BaseCommand,
    ) -> Result<Box<BaseCommand>, Error> {
        let id = self.request_id();
        let pending = self.start_request(id, &build(id))?;
        match tokio::time::timeout(self.operation_timeout, pending).await {
            Err(_) => {
                self.routes.forget_request(id);
                Err(Error::Timeout(what))
            }
            Ok(Err(_)) => Err(Error::Disconnected(self.close_reason())),
            Ok(Ok(answer)) => checked(answer),
        }
    }

    /// Sends a request whose answer is awaited elsewhere.
    pub(crate) fn start_request(
        &self,
        id: u64,
        command: &BaseCommand,
    ) -> Result<oneshot::Receiver<Box<BaseCommand>>, Error> {
        let (answer, pending) = oneshot::channel();
        if !self.routes.add_request(id, answer) {
            return Err(Error::Disconnected(self.close_reason()));
        }
        self.command(command);
        Ok(pending)
    }

    /// Directs a producer's signals to `sender`.
    pub fn add_producer(
        &self,
        id: u64,
        sender: mpsc::UnboundedSender<ProducerSignal>,
    ) -> Result<(), Error> {
        self.added(self.routes.add_producer(id, sender))
    }

    /// Directs a consumer's signals to `sender`, whose capacity is the most entries the broker may have
    /// under way: one that sends more has broken the protocol.
    pub fn add_consumer(&self, id: u64, sender: mpsc::Sender<ConsumerSignal>) -> Result<(), Error> {
        self.added(self.routes.add_consumer(id, sender))
    }

    /// Forgets a producer.
    pub fn remove_producer(&self, id: u64) {
        self.routes.remove_producer(id);
    }

    /// Forgets a consumer.
    pub fn remove_consumer(&self, id: u64) {
        self.routes.remove_consumer(id);
    }

    fn added(&self, added: bool) -> Result<(), Error> {
        if added {
            Ok(())
        } else {
            Err(Error::Disconnected(self.close_reason()))
        }
    }

    /// Asks the broker for a sign of life.
    pub fn ping(&self) {
        self.command(&command::ping(proto::CommandPing {}));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn checked(answer: Box<BaseCommand>) -> Result<Box<BaseCommand>, Error> {
    if let Some(error) = &answer.error {
        return Err(Error::broker(error.error, error.message.clone()));
    }
    Ok(answer)
}
