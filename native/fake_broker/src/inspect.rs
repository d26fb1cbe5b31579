//! What tests may see of topics and subscriptions.

use crate::broker::Broker;
use crate::entry::{EntryError, StoredEntry, StoredMessage};
use crate::state::full_name;
use crate::subscription::Subscription;
use crate::topic::Topic;

/// A subscription at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionView {
    /// Its consumers, in the order in which they came.
    pub consumers: Vec<ConsumerView>,
    /// The entries not acknowledged, or not in full, in order.
    pub unacked: Vec<UnackedEntry>,
    /// How many of those a consumer holds.
    pub pending: usize,
}

/// A consumer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerView {
    /// Its connection.
    pub connection: u64,
    /// Its id on that connection.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The messages it may still be sent.
    pub permits: i64,
}

/// An entry with messages that are not acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct UnackedEntry {
    /// The ledger.
    pub ledger_id: u64,
    /// The entry in its ledger.
    pub entry_id: u64,
    /// The places in the entry of the messages not acknowledged.
    pub indexes: Vec<usize>,
}

impl Broker {
    /// The entries of a topic, oldest first.
    #[must_use]
    pub fn entries(&self, topic: &str) -> Vec<StoredEntry> {
        let state = self.shared.lock();
        state
            .topics
            .get(&full_name(topic))
            .map_or_else(Vec::new, |topic| topic.entries.clone())
    }

    /// The messages of a topic, oldest first.
    ///
    /// # Errors
    /// When an entry is not what its metadata says.
    pub fn messages(&self, topic: &str) -> Result<Vec<StoredMessage>, EntryError> {
        let batches: Result<Vec<_>, _> = self
            .entries(topic)
            .iter()
            .map(StoredEntry::messages)
            .collect();
        Ok(batches?.concat())
    }

    /// A subscription, if there is one of that name.
    #[must_use]
    pub fn subscription(&self, topic: &str, name: &str) -> Option<SubscriptionView> {
        let state = self.shared.lock();
        let topic = state.topics.get(&full_name(topic))?;
        Some(view(topic, topic.subscriptions.get(name)?))
    }

    /// The messages that a subscription has yet to acknowledge, held by a consumer or not.
    ///
    /// # Errors
    /// When an entry is not what its metadata says.
    pub fn unacked(&self, topic: &str, name: &str) -> Result<Vec<StoredMessage>, EntryError> {
        let mut messages = Vec::new();
        for unacked in self
            .subscription(topic, name)
            .map_or_else(Vec::new, |view| view.unacked)
        {
            let state = self.shared.lock();
            let Some(topic) = state.topics.get(&full_name(topic)) else {
                continue;
            };
            let Some(index) = topic.find(unacked.ledger_id, unacked.entry_id) else {
                continue;
            };
            let entry = topic.entries[index].messages()?;
            let kept = entry.into_iter().enumerate();
            messages.extend(
                kept.filter(|(index, _)| unacked.indexes.contains(index))
                    .map(|(_, kept)| kept),
            );
        }
        Ok(messages)
    }

    /// The names of the producers connected to a topic.
    #[must_use]
    pub fn producers(&self, topic: &str) -> Vec<String> {
        let state = self.shared.lock();
        let topic = state.topics.get(&full_name(topic));
        topic.map_or_else(Vec::new, |topic| topic.producers.keys().cloned().collect())
    }
}

fn view(topic: &Topic, subscription: &Subscription) -> SubscriptionView {
    let consumers = subscription.consumers.iter().map(|consumer| ConsumerView {
        connection: consumer.key.0,
        id: consumer.key.1,
        name: consumer.name.clone(),
        permits: consumer.permits,
    });
    let first = subscription.cursor.mark_delete().min(topic.entries.len());
    let unacked = topic.entries[first..]
        .iter()
        .enumerate()
        .map(|(offset, entry)| UnackedEntry {
            ledger_id: entry.ledger_id,
            entry_id: entry.entry_id,
            indexes: subscription
                .cursor
                .unacked(first + offset, entry.num_messages)
                .indexes(),
        });
    SubscriptionView {
        consumers: consumers.collect(),
        unacked: unacked.filter(|entry| !entry.indexes.is_empty()).collect(),
        pending: subscription.pending.len(),
    }
}
