//! Which delivered messages are not acked yet, entry by entry. Pure: no task, no clock, no wire.
//!
//! The broker acknowledges entries; users acknowledge messages. The tracker turns the second into the
//! first without ever giving up a batch's sibling, and counts what the owner holds.

use std::collections::{BTreeMap, VecDeque};

use super::bits::Bits;

/// An entry's place: ledger and entry id.
pub type EntryKey = (u64, u64);

/// Neighbouring messages of one entry, as the owner names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckRange {
    /// Ledger and entry.
    pub key: EntryKey,
    /// Messages in the batch; 0 outside of one, [`UNKNOWN_SIZE`] where the id does not tell.
    pub batch_size: u32,
    /// First message; 0 outside of a batch.
    pub first: u32,
    /// Last message, inclusive.
    pub last: u32,
}

/// The size of a batch that an id does not tell: some clients write ids without it.
pub const UNKNOWN_SIZE: u32 = u32::MAX;

/// What to tell the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WireAck {
    /// The entry is done.
    Entry(EntryKey),
    /// Of the entry, only these messages remain un-acked.
    Partial(EntryKey, Vec<i64>),
    /// Everything up to and including the entry is done.
    Cumulative(EntryKey),
}

/// Credits that came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Released {
    /// Messages the owner no longer holds.
    pub(super) messages: usize,
    /// Their bytes.
    pub(super) bytes: usize,
}

impl std::ops::AddAssign for Released {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

#[derive(Debug)]
struct Tracked {
    /// Not acked, as far as this consumer knows.
    unacked: Bits,
    /// Delivered to the owner and neither acked nor nacked since.
    held: Bits,
    /// Share of the entry's bytes that each message accounts for.
    bytes_each: usize,
}

impl Tracked {
    fn release(&mut self, first: usize, last: usize) -> Released {
        let messages = self.held.remove(first..=last);
        Released {
            messages,
            bytes: messages * self.bytes_each,
        }
    }
}

/// Entries delivered and not fully acked.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    entries: BTreeMap<EntryKey, Tracked>,
    /// Entries that only an ack of an unknown batch brought in, oldest first: bounded, because ids can
    /// be made up.
    foreign: VecDeque<EntryKey>,
    held: usize,
}

const MAX_FOREIGN: usize = 10_000;
const MAX_FOREIGN_BATCH: u32 = 8_192;
const ALL: usize = usize::MAX;

impl Tracker {
    /// Messages that the owner holds.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes in an entry that is about to be delivered. `arrived` are the positions that the broker
    /// sent as un-acked; what is left in it afterwards is to be delivered. Credits of an earlier
    /// delivery of the same entry come back.
    pub(super) fn deliver(&mut self, key: EntryKey, arrived: &mut Bits, bytes: usize) -> Released {
        let mut released = Released::default();
        if let Some(known) = self.entries.get_mut(&key) {
            released = known.release(0, ALL);
            arrived.retain(&known.unacked);
        }
        self.held -= released.messages;
        let count = arrived.count();
        if count == 0 {
            return released;
        }
        self.held += count;
        let bytes_each = bytes / count;
        let tracked = Tracked {
            unacked: arrived.clone(),
            held: arrived.clone(),
            bytes_each,
        };
        self.entries.insert(key, tracked);
        released
    }

    /// Acknowledges messages. `None` if that changes nothing for the broker.
    pub(super) fn ack(&mut self, range: AckRange) -> (Released, Option<WireAck>) {
        let AckRange {
            key,
            batch_size,
            first,
            last,
        } = range;
        let (first, last) = (first as usize, last as usize);
        if let Some(tracked) = self.entries.get_mut(&key) {
            let released = tracked.release(first, last);
            self.held -= released.messages;
            let changed = tracked.unacked.remove(first..=last) > 0;
            if tracked.unacked.is_empty() {
                self.entries.remove(&key);
                return (released, Some(WireAck::Entry(key)));
            }
            let partial = || WireAck::Partial(key, tracked.unacked.to_ack_set());
            return (released, changed.then(partial));
        }
        if batch_size > MAX_FOREIGN_BATCH {
            // Of unknown size, or of one that may be made up: there is no way to spare the siblings
            // within bounded memory, so the message stays un-acked.
            return (Released::default(), None);
        }
        if batch_size <= 1 {
            return (Released::default(), Some(WireAck::Entry(key)));
        }
        // From before a restart or a seek: remember, so that acks of its siblings add up.
        let size = batch_size as usize;
        let mut unacked = Bits::full(size);
        unacked.remove(first..=last);
        if unacked.is_empty() {
            return (Released::default(), Some(WireAck::Entry(key)));
        }
        let ack_set = unacked.to_ack_set();
        self.entries.insert(
            key,
            Tracked {
                unacked,
                held: Bits::empty(size),
                bytes_each: 0,
            },
        );
        self.remember_foreign(key);
        (Released::default(), Some(WireAck::Partial(key, ack_set)))
    }

    /// Acknowledges everything up to and including a message.
    pub(super) fn ack_cumulative(&mut self, range: AckRange) -> (Released, Vec<WireAck>) {
        let mut released = Released::default();
        let mut acks = Vec::new();
        let later = self.entries.split_off(&range.key);
        let earlier = std::mem::replace(&mut self.entries, later);
        if let Some(previous) = earlier.keys().next_back() {
            acks.push(WireAck::Cumulative(*previous));
        }
        for mut tracked in earlier.into_values() {
            released += tracked.release(0, ALL);
        }
        self.held -= released.messages;
        let (of_entry, ack) = self.ack(AckRange { first: 0, ..range });
        released += of_entry;
        match ack {
            // The position itself covers what came before.
            Some(WireAck::Entry(key)) => acks = vec![WireAck::Cumulative(key)],
            Some(partial) => acks.push(partial),
            None => {}
        }
        (released, acks)
    }

    /// Gives up the owner's hold on messages that are to come again.
    pub(super) fn nack(&mut self, range: AckRange) -> Released {
        let Some(tracked) = self.entries.get_mut(&range.key) else {
            return Released::default();
        };
        let released = tracked.release(range.first as usize, range.last as usize);
        self.held -= released.messages;
        released
    }

    /// Gives up the owner's hold on everything: the broker rewinds. What was acked stays known.
    pub(super) fn rewind(&mut self) -> Released {
        let mut released = Released::default();
        for tracked in self.entries.values_mut() {
            released += tracked.release(0, ALL);
        }
        self.held -= released.messages;
        released
    }

    /// Entries with messages that are not acked, in order.
    pub(super) fn unacked_entries(&self) -> Vec<EntryKey> {
        self.entries.keys().copied().collect()
    }

    /// Forgets everything: the subscription's cursor was moved.
    pub(super) fn clear(&mut self) -> Released {
        let released = self.rewind();
        self.entries.clear();
        self.foreign.clear();
        released
    }

    fn remember_foreign(&mut self, key: EntryKey) {
        self.foreign.push_back(key);
        if self.foreign.len() > MAX_FOREIGN {
            if let Some(oldest) = self.foreign.pop_front() {
                let idle = self
                    .entries
                    .get(&oldest)
                    .is_some_and(|tracked| tracked.held.is_empty());
                if idle {
                    self.entries.remove(&oldest);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
