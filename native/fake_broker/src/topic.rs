//! A topic: its entries, the producers connected to it and its subscriptions.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::entry::StoredEntry;
use crate::subscription::Subscription;

#[derive(Debug, Default)]
pub(crate) struct Topic {
    /// The partition in the topic's name, or -1.
    pub(crate) partition: i32,
    pub(crate) entries: Vec<StoredEntry>,
    /// Producers connected now, by name.
    pub(crate) producers: BTreeMap<String, Producer>,
    /// The highest sequence id stored of each producer name, kept for deduplication.
    pub(crate) highest: BTreeMap<String, u64>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
}

/// A producer connected to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) connection: u64,
    pub(crate) id: u64,
    pub(crate) epoch: u64,
    pub(crate) named_by_user: bool,
}

impl Topic {
    pub(crate) fn new(name: &str) -> Self {
        let partition = name
            .rsplit_once("-partition-")
            .and_then(|(_, index)| index.parse().ok())
            .unwrap_or(-1);
        Self {
            partition,
            ..Self::default()
        }
    }

    /// Stores an entry in `ledger` and hands it to the subscriptions.
    pub(crate) fn store(&mut self, ledger: u64, metadata: Bytes, body: Bytes) -> u64 {
        let entry_id = match self.entries.last() {
            Some(last) if last.ledger_id == ledger => last.entry_id + 1,
            _ => 0,
        };
        self.entries
            .push(StoredEntry::new(ledger, entry_id, metadata, body));
        self.dispatch();
        entry_id
    }

    /// Hands out what consumers have permits for.
    pub(crate) fn dispatch(&mut self) {
        for subscription in self.subscriptions.values_mut() {
            subscription.dispatch(&self.entries, self.partition);
        }
    }

    /// The place of an entry.
    pub(crate) fn find(&self, ledger_id: u64, entry_id: u64) -> Option<usize> {
        let position = (ledger_id as i64, entry_id as i64);
        self.entries
            .binary_search_by_key(&position, StoredEntry::position)
            .ok()
    }

    /// The place of the first entry at or after a position.
    pub(crate) fn first_at(&self, ledger_id: u64, entry_id: u64) -> usize {
        let position = (ledger_id as i64, entry_id as i64);
        self.entries
            .partition_point(|entry| entry.position() < position)
    }

    /// The place of the first entry published at or after a time.
    pub(crate) fn first_since(&self, publish_time: u64) -> usize {
        let later = |entry: &StoredEntry| entry.metadata.publish_time >= publish_time;
        self.entries
            .iter()
            .position(later)
            .unwrap_or(self.entries.len())
    }
}
