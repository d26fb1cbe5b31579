//! The broker as tests hold it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use pulsar::message::proto::base_command::Type;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::command;
use crate::connection;
use crate::fault::Fault;
use crate::log::Received;
use crate::settings::{LookupAnswer, Settings};
use crate::state::{full_name, Control, Shared};

/// The buffer of an in-memory connection in each direction.
const DUPLEX_BUFFER: usize = 64 * 1024;

/// A broker in memory. Clones are the same broker.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

/// A TCP port that leads to a broker, until it is dropped.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    task: AbortHandle,
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

impl Broker {
    /// A running broker with the default [`Settings`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_settings(Settings::default())
    }

    /// A running broker.
    #[must_use]
    pub fn with_settings(settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared::new(settings)),
        }
    }

    /// Changes the settings from now on.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        self.shared.change(|state| change(&mut state.settings));
    }

    /// Serves a client's connection on a task of its own; the number is the connection's id.
    ///
    /// # Errors
    /// `ConnectionRefused` while the broker is stopped.
    pub fn accept<S>(&self, stream: S) -> io::Result<u64>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ends = self
            .shared
            .change(|state| state.running.then(|| state.register()));
        let ends = ends.ok_or(io::ErrorKind::ConnectionRefused)?;
        let id = ends.id;
        tokio::spawn(connection::serve(Arc::clone(&self.shared), ends, stream));
        Ok(id)
    }

    /// The client's end of a new in-memory connection.
    ///
    /// # Errors
    /// `ConnectionRefused` while the broker is stopped.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        let (client, server) = tokio::io::duplex(DUPLEX_BUFFER);
        self.accept(server)?;
        Ok(client)
    }

    /// Listens on a TCP address, such as `127.0.0.1:0`. While the broker is stopped, connections
    /// are closed as soon as they are made.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(&self, address: &str) -> io::Result<Listening> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let broker = self.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Small frames must not wait for the client's delayed acknowledgment.
                let _ = stream.set_nodelay(true);
                let _ = broker.accept(stream);
            }
        });
        Ok(Listening {
            address,
            task: task.abort_handle(),
        })
    }

    /// An outage begins: every connection is cut, and new ones are refused. Topics, subscriptions
    /// and acknowledgments stay, as on disk.
    pub fn stop(&self) {
        self.shared.change(|state| {
            state.running = false;
            state.control_all(Control::Cut);
            // Not when their tasks get to it: a client that comes right back must find no rival.
            let connections: Vec<u64> = state.connections.keys().copied().collect();
            connections.into_iter().for_each(|id| state.unregister(id));
        });
    }

    /// An outage ends. Entries go to a new ledger from here on.
    pub fn start(&self) {
        self.shared.change(|state| {
            state.running = true;
            state.ledger += 1;
        });
    }

    /// Cuts every connection; new ones are welcome.
    pub fn cut_all(&self) {
        self.shared.change(|state| state.control_all(Control::Cut));
    }

    /// Makes every present connection half-open: neither read nor written, but not closed.
    pub fn stall_all(&self) {
        self.shared
            .change(|state| state.control_all(Control::Stall));
    }

    /// Scripts a misfortune.
    pub fn fault(&self, fault: Fault) {
        self.shared.change(|state| state.faults.add(fault));
    }

    /// Forgets all faults that are scripted.
    pub fn clear_faults(&self) {
        self.shared.change(|state| state.faults.clear());
    }

    /// Answers the next lookups of a topic with these, in order.
    pub fn script_lookups(&self, topic: &str, answers: impl IntoIterator<Item = LookupAnswer>) {
        self.shared.change(|state| {
            state
                .lookups
                .entry(full_name(topic))
                .or_default()
                .extend(answers);
        });
    }

    /// Makes a topic partitioned, or gives it more partitions.
    pub fn set_partitions(&self, topic: &str, partitions: u32) {
        self.shared
            .change(|state| state.partitions.insert(full_name(topic), partitions));
    }

    /// Closes a topic's producers and consumers from the broker's side, as when it moves to
    /// another broker.
    pub fn unload(&self, topic: &str) {
        self.shared.change(|state| {
            let name = full_name(topic);
            let Some(topic) = state.topics.get_mut(&name) else {
                return;
            };
            let producers = std::mem::take(&mut topic.producers);
            let subscriptions = topic.subscriptions.values();
            let consumers: Vec<_> = subscriptions
                .flat_map(|s| s.consumers.iter().map(|c| c.key))
                .collect();
            for producer in producers.into_values() {
                if let Some(peer) = state.connections.get_mut(&producer.connection) {
                    peer.producers.remove(&producer.id);
                }
                state.send(producer.connection, command::close_producer(producer.id));
            }
            for key in consumers {
                state.send(key.0, command::close_consumer(key.1));
                state.detach(key);
            }
        });
    }

    /// Sends a ping on every connection.
    pub fn ping_all(&self) {
        self.send_all(|_| command::ping());
    }

    /// Asks every connection to authenticate again.
    pub fn challenge_all(&self) {
        self.send_all(command::auth_challenge);
    }

    fn send_all(&self, command: impl Fn(i32) -> pulsar::message::proto::BaseCommand) {
        self.shared.change(|state| {
            for id in state.connections.keys() {
                state.send(*id, command(state.settings.protocol_version));
            }
        });
    }

    /// The connections open now, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<u64> {
        self.shared.lock().connections.keys().copied().collect()
    }

    /// The commands received, oldest first; of very many only the last.
    #[must_use]
    pub fn log(&self) -> Vec<Received> {
        self.shared.lock().log.iter().cloned().collect()
    }

    /// The commands received of one kind, oldest first.
    #[must_use]
    pub fn received(&self, kind: Type) -> Vec<Received> {
        let state = self.shared.lock();
        state
            .log
            .iter()
            .filter(|received| received.kind() == Some(kind))
            .cloned()
            .collect()
    }

    /// How many commands of one kind have been received since the log was cleared.
    #[must_use]
    pub fn count(&self, kind: Type) -> usize {
        self.shared.lock().log.count(kind)
    }

    /// Forgets the commands received so far.
    pub fn clear_log(&self) {
        self.shared.change(|state| state.log.clear());
    }

    /// Waits until something is so; it is looked at after every change of the broker. Give it a
    /// timeout where it may never be.
    pub async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.changes();
        loop {
            changes.borrow_and_update();
            if holds(self) {
                return;
            }
            // The sender lives as long as this broker.
            let _ = changes.changed().await;
        }
    }
}

impl Listening {
    /// The address, with the port that was free.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}
