//! A set of positions in a batch, in the broker's own shape: 64-bit words, lowest position first.

use std::ops::RangeInclusive;

/// Which messages of an entry. Most entries are single messages or small batches: one word, no heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    words: Words,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Words {
    One(u64),
    Many(Box<[u64]>),
}

impl Bits {
    /// The positions `0..size`.
    pub(super) fn full(size: usize) -> Self {
        let mut bits = Bits::empty(size);
        let mut left = size;
        for word in bits.words_mut() {
            let here = left.min(64);
            *word = if here == 64 {
                u64::MAX
            } else {
                (1 << here) - 1
            };
            left -= here;
        }
        bits
    }

    /// No position, with room for `0..size`.
    pub(super) fn empty(size: usize) -> Self {
        let words = match size.div_ceil(64) {
            0 | 1 => Words::One(0),
            many => Words::Many(vec![0; many].into()),
        };
        Bits { words }
    }

    fn words(&self) -> &[u64] {
        match &self.words {
            Words::One(word) => std::slice::from_ref(word),
            Words::Many(words) => words,
        }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        match &mut self.words {
            Words::One(word) => std::slice::from_mut(word),
            Words::Many(words) => words,
        }
    }

    /// How many positions are in the set.
    pub(super) fn count(&self) -> usize {
        self.words()
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether no position is in the set.
    pub(super) fn is_empty(&self) -> bool {
        self.words().iter().all(|word| *word == 0)
    }

    /// Whether a position is in the set.
    pub(super) fn contains(&self, position: usize) -> bool {
        self.words()
            .get(position / 64)
            .is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// Adds a position; one beyond the room is ignored.
    pub(super) fn insert(&mut self, position: usize) {
        if let Some(word) = self.words_mut().get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }

    /// Takes positions out; returns how many were in.
    pub(super) fn remove(&mut self, positions: RangeInclusive<usize>) -> usize {
        let (first, last) = positions.into_inner();
        let mut removed = 0;
        for (index, word) in self.words_mut().iter_mut().enumerate() {
            let start = index * 64;
            if last < start || first > start + 63 || first > last {
                continue;
            }
            let low = u64::MAX << first.saturating_sub(start);
            let high = u64::MAX >> (63 - (last - start).min(63));
            let mask = low & high;
            removed += (*word & mask).count_ones() as usize;
            *word &= !mask;
        }
        removed
    }

    /// Keeps only what is in both sets.
    pub(super) fn retain(&mut self, other: &Bits) {
        let others = other.words().iter().copied().chain(std::iter::repeat(0));
        for (word, other) in self.words_mut().iter_mut().zip(others) {
            *word &= other;
        }
    }

    /// The wire form.
    pub(super) fn to_ack_set(&self) -> Vec<i64> {
        self.words().iter().map(|word| *word as i64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(size in 1usize..300, ranges in prop::collection::vec((0usize..320, 0usize..320), 0..12)) {
            let mut bits = Bits::full(size);
            let mut set: BTreeSet<usize> = (0..size).collect();
            for (first, last) in ranges {
                let removed = bits.remove(first..=last);
                let before = set.len();
                set.retain(|at| !(first <= *at && *at <= last));
                prop_assert_eq!(removed, before - set.len());
            }
            prop_assert_eq!(bits.count(), set.len());
            prop_assert_eq!(bits.is_empty(), set.is_empty());
            for at in 0..320 {
                prop_assert_eq!(bits.contains(at), set.contains(&at));
            }
            let wire = bits.to_ack_set();
            for at in 0..size {
                // An empty wire set means that nothing is acked; ours always has a word.
                prop_assert_eq!(crate::wire::entry::is_unacked(&wire, at), set.contains(&at));
            }
        }
    }
}
