//! What a subscription has acknowledged, by the place of an entry in its topic.

use std::collections::{BTreeMap, BTreeSet};

use crate::ack_set::AckSet;

#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// Every entry before this one is acknowledged.
    mark_delete: usize,
    acked_above: BTreeSet<usize>,
    partial: BTreeMap<usize, AckSet>,
    read: usize,
}

impl Cursor {
    pub(crate) fn at(index: usize) -> Self {
        Self {
            mark_delete: index,
            read: index,
            ..Self::default()
        }
    }

    pub(crate) fn mark_delete(&self) -> usize {
        self.mark_delete
    }

    pub(crate) fn is_acked(&self, index: usize) -> bool {
        index < self.mark_delete || self.acked_above.contains(&index)
    }

    /// The next entry of `len` to hand out.
    pub(crate) fn read(&mut self, len: usize) -> Option<usize> {
        while self.read < len && self.is_acked(self.read) {
            self.read += 1;
        }
        (self.read < len).then(|| {
            self.read += 1;
            self.read - 1
        })
    }

    /// Starts over at the first entry that is not acknowledged.
    pub(crate) fn rewind(&mut self) {
        self.read = self.mark_delete;
    }

    /// Acknowledges an entry.
    pub(crate) fn ack(&mut self, index: usize) {
        self.partial.remove(&index);
        if index >= self.mark_delete {
            self.acked_above.insert(index);
            while self.acked_above.remove(&self.mark_delete) {
                self.mark_delete += 1;
            }
        }
    }

    /// Acknowledges the messages of an entry whose bits are clear. True once none is left.
    pub(crate) fn ack_partial(&mut self, index: usize, size: usize, wire: &[i64]) -> bool {
        if self.is_acked(index) {
            return true;
        }
        let set = self
            .partial
            .entry(index)
            .or_insert_with(|| AckSet::full(size));
        set.and(wire);
        let done = set.count() == 0;
        if done {
            self.ack(index);
        }
        done
    }

    /// Acknowledges every entry before `index`.
    pub(crate) fn ack_before(&mut self, index: usize) {
        if index > self.mark_delete {
            self.mark_delete = index;
            self.acked_above = self.acked_above.split_off(&index);
            self.partial = self.partial.split_off(&index);
            while self.acked_above.remove(&self.mark_delete) {
                self.mark_delete += 1;
            }
        }
        self.read = self.read.max(self.mark_delete);
    }

    /// The messages of an entry of `size` that are not acknowledged.
    pub(crate) fn unacked(&self, index: usize, size: usize) -> AckSet {
        let mut set = self
            .partial
            .get(&index)
            .cloned()
            .unwrap_or_else(|| AckSet::full(size));
        if self.is_acked(index) {
            set.and(&[]);
        }
        set
    }

    pub(crate) fn is_partial(&self, index: usize) -> bool {
        self.partial.contains_key(&index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_out_of_order_close_the_gap() {
        let mut cursor = Cursor::default();
        assert_eq!((cursor.read(3), cursor.read(3)), (Some(0), Some(1)));
        cursor.ack(1);
        assert_eq!(cursor.mark_delete(), 0);
        cursor.rewind();
        assert_eq!(
            (cursor.read(3), cursor.read(3), cursor.read(3)),
            (Some(0), Some(2), None)
        );
        cursor.ack(0);
        assert_eq!(cursor.mark_delete(), 2);
    }

    #[test]
    fn a_batch_is_acked_with_its_last_message() {
        let mut cursor = Cursor::default();
        assert!(!cursor.ack_partial(0, 2, &[0b01]));
        assert_eq!(cursor.unacked(0, 2).indexes(), [0]);
        // Clear bits stay clear whatever later acks say.
        assert!(cursor.ack_partial(0, 2, &[0b10]));
        assert!(cursor.is_acked(0) && cursor.unacked(0, 2).count() == 0);
    }

    #[test]
    fn a_cumulative_ack_forgets_what_lies_before() {
        let mut cursor = Cursor::default();
        cursor.ack(1);
        cursor.ack(4);
        cursor.ack_before(4);
        assert_eq!((cursor.mark_delete(), cursor.read(6)), (5, Some(5)));
    }
}
