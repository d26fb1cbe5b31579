//! All that the broker knows, behind one lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pulsar::message::proto::BaseCommand;
use tokio::sync::{mpsc, watch};

use crate::fault::Faults;
use crate::frame::Frame;
use crate::log::Log;
use crate::settings::{LookupAnswer, Settings};
use crate::topic::Topic;

/// The state, and the signal that it changed.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) running: bool,
    pub(crate) topics: BTreeMap<String, Topic>,
    /// The number of partitions of each partitioned topic.
    pub(crate) partitions: BTreeMap<String, u32>,
    pub(crate) lookups: HashMap<String, VecDeque<LookupAnswer>>,
    pub(crate) connections: BTreeMap<u64, Peer>,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    /// The ledger that entries go to; a restart opens the next one.
    pub(crate) ledger: u64,
    connections_seen: u64,
    names_given: u64,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) outbox: mpsc::UnboundedSender<Frame>,
    pub(crate) control: watch::Sender<Control>,
    /// Whether the handshake is done.
    pub(crate) connected: bool,
    /// Topic and name of each producer.
    pub(crate) producers: BTreeMap<u64, (String, String)>,
    /// Topic and subscription of each consumer.
    pub(crate) consumers: BTreeMap<u64, (String, String)>,
}

/// What a connection is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Run,
    /// Neither read nor write.
    Stall,
    Cut,
}

/// The connection's ends of a [`Peer`].
pub(crate) struct Ends {
    pub(crate) id: u64,
    pub(crate) outgoing: mpsc::UnboundedReceiver<Frame>,
    pub(crate) control: watch::Receiver<Control>,
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        let state = State {
            settings,
            running: true,
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            lookups: HashMap::new(),
            connections: BTreeMap::new(),
            faults: Faults::default(),
            log: Log::default(),
            ledger: 1,
            connections_seen: 0,
            names_given: 0,
        };
        Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere should fail for its own reason.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes those who wait for a change.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl State {
    pub(crate) fn register(&mut self) -> Ends {
        self.connections_seen += 1;
        let id = self.connections_seen;
        let (outbox, outgoing) = mpsc::unbounded_channel();
        let (control, listener) = watch::channel(Control::Run);
        let peer = Peer {
            outbox,
            control,
            connected: false,
            producers: BTreeMap::new(),
            consumers: BTreeMap::new(),
        };
        self.connections.insert(id, peer);
        Ends {
            id,
            outgoing,
            control: listener,
        }
    }

    /// Ends a connection: its producers leave and its consumers' entries go back.
    pub(crate) fn unregister(&mut self, id: u64) {
        let Some(peer) = self.connections.remove(&id) else {
            return;
        };
        for (topic, name) in peer.producers.values() {
            self.producer_left(topic, name, id);
        }
        for (consumer, (topic, subscription)) in &peer.consumers {
            self.consumer_left(topic, subscription, (id, *consumer));
        }
    }

    pub(crate) fn send(&self, connection: u64, command: BaseCommand) {
        if let Some(peer) = self.connections.get(&connection) {
            // The connection may be closing; its client finds out soon enough.
            let _ = peer.outbox.send(Frame::simple(command));
        }
    }

    pub(crate) fn topic(&mut self, name: &str) -> &mut Topic {
        self.topics
            .entry(name.to_owned())
            .or_insert_with(|| Topic::new(name))
    }

    pub(crate) fn generated_name(&mut self) -> String {
        self.names_given += 1;
        format!("fake-broker-{}", self.names_given)
    }

    pub(crate) fn control_all(&self, control: Control) {
        for peer in self.connections.values() {
            peer.control.send_replace(control);
        }
    }
}

/// The complete form of a topic name.
pub(crate) fn full_name(topic: &str) -> String {
    if topic.contains("://") {
        topic.to_owned()
    } else if topic.contains('/') {
        format!("persistent://{topic}")
    } else {
        format!("persistent://public/default/{topic}")
    }
}
