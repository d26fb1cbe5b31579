//! A subscription: its consumers, what they hold, and what they have acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pulsar::message::proto::command_subscribe::SubType;
use pulsar::message::proto::{MessageIdData, ServerError};
use tokio::sync::mpsc::UnboundedSender;

use crate::command;
use crate::cursor::Cursor;
use crate::frame::Frame;
use crate::topic::Topic;

/// A consumer is known by its connection and its id there.
pub(crate) type ConsumerKey = (u64, u64);

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) key: ConsumerKey,
    pub(crate) name: String,
    pub(crate) priority: i32,
    /// May fall below zero: a batch is handed out whole.
    pub(crate) permits: i64,
    pub(crate) epoch: Option<u64>,
    pub(crate) outbox: UnboundedSender<Frame>,
}

/// An entry that a consumer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) consumer: ConsumerKey,
    pub(crate) sticky_hash: u32,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) kind: SubType,
    pub(crate) durable: bool,
    pub(crate) cursor: Cursor,
    pub(crate) consumers: Vec<Consumer>,
    /// The consumer that gets the messages of an exclusive or failover subscription.
    pub(crate) active: Option<ConsumerKey>,
    pub(crate) pending: BTreeMap<usize, Pending>,
    /// Entries to hand out again, of shared and key_shared subscriptions.
    pub(crate) replay: BTreeSet<usize>,
    pub(crate) redeliveries: HashMap<usize, u32>,
    /// Whose turn it is, of shared subscriptions.
    pub(crate) turn: usize,
}

impl Subscription {
    pub(crate) fn new(kind: SubType, durable: bool, start: usize) -> Self {
        Self {
            kind,
            durable,
            cursor: Cursor::at(start),
            consumers: Vec::new(),
            active: None,
            pending: BTreeMap::new(),
            replay: BTreeSet::new(),
            redeliveries: HashMap::new(),
            turn: 0,
        }
    }

    /// Whether messages are spread over the consumers.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.kind, SubType::Shared | SubType::KeyShared)
    }

    pub(crate) fn consumer(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.consumers
            .iter_mut()
            .find(|consumer| consumer.key == key)
    }

    /// Takes a consumer in.
    pub(crate) fn join(
        &mut self,
        kind: SubType,
        consumer: Consumer,
        partition: i32,
    ) -> Result<(), ServerError> {
        if self.consumers.is_empty() {
            self.kind = kind;
        }
        let taken = kind == SubType::Exclusive && !self.consumers.is_empty();
        if self.kind != kind || taken {
            return Err(ServerError::ConsumerBusy);
        }
        self.consumers.push(consumer);
        self.elect(partition);
        Ok(())
    }

    /// Lets a consumer go; what it held is handed out again.
    pub(crate) fn leave(&mut self, key: ConsumerKey, partition: i32) {
        self.consumers.retain(|consumer| consumer.key != key);
        if self.consumers.is_empty() {
            self.active = None;
            self.rewind();
        } else if self.is_shared() {
            self.take_back(key, |_| true);
        } else {
            self.elect(partition);
        }
    }

    /// Finds the active consumer of an exclusive or failover subscription, by priority and name.
    fn elect(&mut self, partition: i32) {
        if self.is_shared() {
            return;
        }
        let Some(best) = self
            .consumers
            .iter()
            .map(|consumer| consumer.priority)
            .min()
        else {
            return;
        };
        let mut candidates: Vec<_> = self
            .consumers
            .iter()
            .filter(|consumer| consumer.priority == best)
            .collect();
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        let turn = usize::try_from(partition).unwrap_or(0) % candidates.len();
        let elected = candidates[turn].key;
        let changed = self.active != Some(elected);
        self.active = Some(elected);
        if changed {
            self.rewind();
        }
        if self.kind == SubType::Failover {
            for consumer in &self.consumers {
                let active = consumer.key == elected;
                let change = command::active_consumer_change(consumer.key.1, active);
                // A consumer whose connection is gone is about to leave.
                let _ = consumer.outbox.send(Frame::simple(change));
            }
        }
    }

    /// Starts over at the first entry that is not acknowledged.
    pub(crate) fn rewind(&mut self) {
        self.pending.clear();
        self.replay.clear();
        self.redeliveries.clear();
        self.cursor.rewind();
    }

    /// Moves the subscription to an entry, forgetting all acknowledgments.
    pub(crate) fn reset(&mut self, index: usize) {
        self.cursor = Cursor::at(index);
        self.rewind();
    }

    /// Takes back the entries that a consumer holds and `which` names.
    pub(crate) fn take_back(&mut self, key: ConsumerKey, which: impl Fn(usize) -> bool) {
        let held: Vec<usize> = self
            .pending
            .iter()
            .filter(|(index, pending)| pending.consumer == key && which(**index))
            .map(|(index, _)| *index)
            .collect();
        for index in held {
            self.pending.remove(&index);
            self.replay.insert(index);
            *self.redeliveries.entry(index).or_default() += 1;
        }
    }

    /// Acknowledges an entry, or the messages of it whose bits are clear in `ack_set`.
    pub(crate) fn ack(&mut self, index: usize, size: usize, ack_set: &[i64]) {
        let done = if ack_set.is_empty() {
            self.cursor.ack(index);
            true
        } else {
            self.cursor.ack_partial(index, size, ack_set)
        };
        if done {
            self.pending.remove(&index);
            self.replay.remove(&index);
            self.redeliveries.remove(&index);
        }
    }

    /// Acknowledges all entries before one.
    pub(crate) fn ack_before(&mut self, index: usize) {
        self.cursor.ack_before(index);
        self.pending = self.pending.split_off(&index);
    }
}

/// The subscription start that a position in a command names.
pub(crate) fn start_at(topic: &Topic, id: &MessageIdData) -> usize {
    topic.first_at(id.ledger_id, id.entry_id)
}
