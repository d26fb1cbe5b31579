//! Handing entries out to consumers.

use std::collections::{HashMap, HashSet};

use pulsar::message::proto::command_subscribe::SubType;
use pulsar::message::proto::{CommandMessage, MessageIdData};

use crate::command;
use crate::entry::StoredEntry;
use crate::frame::Frame;
use crate::subscription::{ConsumerKey, Pending, Subscription};

/// How many entries of blocked keys a key_shared subscription steps over.
const LOOK_AHEAD: usize = 1000;

impl Subscription {
    /// Hands out entries while consumers have permits.
    pub(crate) fn dispatch(&mut self, entries: &[StoredEntry], partition: i32) {
        match self.kind {
            SubType::Exclusive | SubType::Failover => self.dispatch_active(entries, partition),
            SubType::Shared => self.dispatch_in_turn(entries, partition),
            SubType::KeyShared => self.dispatch_by_key(entries, partition),
        }
    }

    fn dispatch_active(&mut self, entries: &[StoredEntry], partition: i32) {
        let position = |key| {
            self.consumers
                .iter()
                .position(|consumer| consumer.key == key)
        };
        let Some(active) = self.active.and_then(position) else {
            return;
        };
        while self.consumers[active].permits > 0 {
            let Some(index) = self.cursor.read(entries.len()) else {
                return;
            };
            self.hand_out(active, index, &entries[index], partition);
        }
    }

    fn dispatch_in_turn(&mut self, entries: &[StoredEntry], partition: i32) {
        let count = self.consumers.len();
        loop {
            let ready = (0..count)
                .map(|step| (self.turn + step) % count)
                .find(|turn| self.consumers[*turn].permits > 0);
            let Some(turn) = ready else { return };
            let next = self
                .replay
                .pop_first()
                .or_else(|| self.cursor.read(entries.len()));
            let Some(index) = next else { return };
            self.turn = (turn + 1) % count;
            self.hand_out(turn, index, &entries[index], partition);
        }
    }

    /// A key goes to one consumer, and to another only after the first holds no entry of it.
    fn dispatch_by_key(&mut self, entries: &[StoredEntry], partition: i32) {
        let count = self.consumers.len();
        if count == 0 {
            return;
        }
        let mut holders: HashMap<u32, ConsumerKey> = self
            .pending
            .values()
            .map(|held| (held.sticky_hash, held.consumer))
            .collect();
        let mut blocked = HashSet::new();
        let mut stepped_over = Vec::new();
        while self.consumers.iter().any(|consumer| consumer.permits > 0) {
            let next = self
                .replay
                .pop_first()
                .or_else(|| self.cursor.read(entries.len()));
            let Some(index) = next else { break };
            let hash = entries[index].sticky_hash();
            let turn = hash as usize % count;
            let consumer = &self.consumers[turn];
            let elsewhere = holders.get(&hash).is_some_and(|key| *key != consumer.key);
            if elsewhere || consumer.permits <= 0 || blocked.contains(&hash) {
                blocked.insert(hash);
                stepped_over.push(index);
                if stepped_over.len() >= LOOK_AHEAD {
                    break;
                }
                continue;
            }
            holders.insert(hash, consumer.key);
            self.hand_out(turn, index, &entries[index], partition);
        }
        self.replay.extend(stepped_over);
    }

    fn hand_out(&mut self, turn: usize, index: usize, entry: &StoredEntry, partition: i32) {
        let unacked = self.cursor.unacked(index, entry.num_messages);
        let redeliveries = self.redeliveries.get(&index).copied();
        let is_shared = self.is_shared();
        let ack_set = if self.cursor.is_partial(index) {
            unacked.wire()
        } else {
            Vec::new()
        };
        let consumer = &mut self.consumers[turn];
        consumer.permits -= unacked.count() as i64;
        let pending = Pending {
            consumer: consumer.key,
            sticky_hash: entry.sticky_hash(),
        };
        self.pending.insert(index, pending);
        let message = CommandMessage {
            consumer_id: consumer.key.1,
            message_id: MessageIdData {
                ledger_id: entry.ledger_id,
                entry_id: entry.entry_id,
                partition: Some(partition),
                ..MessageIdData::default()
            },
            redelivery_count: redeliveries,
            ack_set,
            consumer_epoch: consumer.epoch.filter(|_| !is_shared),
        };
        let frame = Frame::with_payload(
            command::message(message),
            entry.metadata_bytes.clone(),
            entry.body.clone(),
        );
        // A consumer whose connection is gone is about to leave, and its entries with it.
        let _ = consumer.outbox.send(frame);
    }
}
