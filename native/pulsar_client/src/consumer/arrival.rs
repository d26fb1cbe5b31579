//! From an entry's arrival to its delivery.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use pulsar::message::proto::CommandMessage;

use super::bits::Bits;
use super::options::Flow;
use super::partition::{ranges, Partition, Queued};
use super::tracker::Released;
use crate::event::Event;
use crate::message_id::MessageId;
use crate::wire::entry::{self, Entry, EntryError};

/// Messages handed over at a time: enough to make one Erlang message worth its cost.
const DELIVERY: usize = 1000;

impl Partition {
    pub(super) fn on_message(&mut self, command: &CommandMessage, payload: Bytes) {
        // Shares its bytes; read again only where the entry is bad.
        let copy = payload.clone();
        match entry::decode(&self.origin, command, payload) {
            Ok(mut entry) => {
                if let Some(count) = &mut self.unstored {
                    *count += 1;
                    entry.entry_id = *count;
                }
                self.on_entry(command, entry);
            }
            Err(error) => self.on_undecodable(command, &copy, &error),
        }
    }

    fn on_entry(&mut self, command: &CommandMessage, mut entry: Entry) {
        self.window.used(entry.permits);
        let key = (entry.ledger_id, entry.entry_id);
        if self.is_outdated(command) || self.acks.is_stale(key) {
            return;
        }
        self.skip_sought(&mut entry);
        if entry.messages.is_empty() {
            return;
        }
        let size = entry.batch_size.max(1) as usize;
        let mut arrived = Bits::empty(size);
        for message in &entry.messages {
            arrived.insert(message.batch_index.max(0) as usize);
        }
        if entry.redelivery_count > 0 {
            let count = entry.messages.len() as u64;
            self.shared
                .counters
                .redelivered
                .fetch_add(count, Ordering::Relaxed);
        }
        // The whole buffer is charged even if only one of its messages is left: it pins all of it.
        let bytes = entry.buffer.len();
        self.acks.delivered(key);
        let released = self.tracker.deliver(key, &mut arrived, bytes);
        self.released(released);
        entry
            .messages
            .retain(|message| arrived.contains(message.batch_index.max(0) as usize));
        let count = entry.messages.len();
        if count == 0 {
            return;
        }
        let bytes_each = bytes / count;
        self.window.hold(count, bytes_each * count);
        let counters = &self.shared.counters;
        counters.unacked.fetch_add(count as u64, Ordering::Relaxed);
        counters.messages.fetch_add(count as u64, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        counters.queued.fetch_add(count as u64, Ordering::Relaxed);
        self.queue.push_back(Queued { entry, bytes_each });
        if self.queue.len() >= 16 {
            self.deliver_queued();
        }
    }

    /// Acknowledges what lies at or before the position of a seek: else it would come again with every
    /// reconnect, and hold the subscription back for ever.
    fn skip_sought(&mut self, entry: &mut Entry) {
        let Some(skip) = self.skip else { return };
        if skip.is_behind(entry) {
            self.skip = None;
            return;
        }
        let passed = skip.trim(entry);
        self.ack(passed);
    }

    fn on_undecodable(&mut self, command: &CommandMessage, payload: &Bytes, error: &EntryError) {
        let permits = entry::permits_of_undecodable(command, payload.clone());
        self.window.used(permits);
        if self.is_outdated(command) {
            return;
        }
        self.shared
            .counters
            .undecodable
            .fetch_add(1, Ordering::Relaxed);
        let (ledger_id, entry_id) = (command.message_id.ledger_id, command.message_id.entry_id);
        self.shared.events.emit(Event::Undecodable {
            topic: self.origin.topic.clone(),
            message_id: MessageId {
                ledger_id,
                entry_id,
                partition: self.origin.partition,
                batch_index: -1,
                batch_size: 0,
            },
            reason: error.to_string(),
        });
        // Another consumer, or a later version of this one, may be able to read it. Where a nack would
        // rewind the whole subscription it just stays un-acked.
        if self.shared.options.subscription_type.redelivers_singly() {
            self.nacks.add((ledger_id, entry_id));
        }
    }

    /// Delivers what may be delivered now.
    pub(super) fn deliver_queued(&mut self) {
        while !self.shared.is_abandoned() && !self.queue.is_empty() && !self.shared.is_paused() {
            let batch = match self.shared.options.flow {
                Flow::Ack => self.take_batch(),
                Flow::Manual => self.take_requested(),
            };
            if batch.is_empty() {
                return;
            }
            let count: usize = batch.iter().map(|entry| entry.messages.len()).sum();
            self.shared
                .counters
                .queued
                .fetch_sub(count as u64, Ordering::Relaxed);
            if !self.shared.sink().deliver(batch) {
                self.shared.abandoned.send_replace(true);
            }
        }
    }

    fn take_batch(&mut self) -> Vec<Entry> {
        let mut batch = Vec::with_capacity(self.queue.len());
        let mut messages = 0;
        while let Some(next) = self.queue.front() {
            messages += next.entry.messages.len();
            if messages > DELIVERY && !batch.is_empty() {
                break;
            }
            batch.extend(self.queue.pop_front().map(|queued| queued.entry));
        }
        batch
    }

    /// Takes at most as many messages as the owner has requested; their place in the window is free.
    fn take_requested(&mut self) -> Vec<Entry> {
        let mut batch = Vec::new();
        while let Some(Queued { entry, bytes_each }) = self.queue.front_mut() {
            let granted = self.shared.take_credits(entry.messages.len());
            if granted == 0 {
                break;
            }
            let released = Released {
                messages: granted,
                bytes: *bytes_each * granted,
            };
            let taken = if granted == entry.messages.len() {
                self.queue.pop_front().map(|queued| queued.entry)
            } else {
                let mut part = entry.clone();
                part.messages.truncate(granted);
                entry.messages.drain(..granted);
                Some(part)
            };
            self.window.release(released);
            batch.extend(taken);
        }
        batch
    }

    /// The broker no longer counts this consumer's deliveries: forget what was queued.
    pub(super) fn forget_deliveries(&mut self) {
        for Queued { entry, bytes_each } in std::mem::take(&mut self.queue) {
            let count = entry.messages.len() as u64;
            self.shared
                .counters
                .queued
                .fetch_sub(count, Ordering::Relaxed);
            if self.shared.options.flow == Flow::Manual {
                let messages = entry.messages.len();
                self.window.release(Released {
                    messages,
                    bytes: bytes_each * messages,
                });
            }
            for range in ranges(&entry) {
                let released = self.tracker.nack(range);
                self.released(released);
            }
        }
    }
}
