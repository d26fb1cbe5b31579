//! Which messages of a batch are still to be acknowledged: one bit each, set while it is.

/// The bits of a batch of known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AckSet {
    words: Vec<u64>,
    size: usize,
}

impl AckSet {
    /// No message acknowledged.
    pub(crate) fn full(size: usize) -> Self {
        let mut words = vec![u64::MAX; size.div_ceil(64)];
        if let (Some(last), 1..) = (words.last_mut(), size % 64) {
            *last >>= 64 - size % 64;
        }
        Self { words, size }
    }

    /// Clears the bits that are clear in `wire`; words that it lacks are clear, as in Java's
    /// `BitSet.toLongArray`.
    pub(crate) fn and(&mut self, wire: &[i64]) {
        for (i, word) in self.words.iter_mut().enumerate() {
            *word &= wire.get(i).map_or(0, |word| *word as u64);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        index < self.size && self.words[index / 64] >> (index % 64) & 1 == 1
    }

    pub(crate) fn indexes(&self) -> Vec<usize> {
        (0..self.size)
            .filter(|index| self.contains(*index))
            .collect()
    }

    /// The form that commands carry, without trailing empty words.
    pub(crate) fn wire(&self) -> Vec<i64> {
        let used = self
            .words
            .iter()
            .rposition(|word| *word != 0)
            .map_or(0, |last| last + 1);
        self.words[..used].iter().map(|word| *word as i64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words() {
        assert_eq!(AckSet::full(10).wire(), [0x3ff]);
        assert_eq!(AckSet::full(64).wire(), [-1]);
        assert_eq!(AckSet::full(65).wire(), [-1, 1]);
        let mut set = AckSet::full(65);
        set.and(&[0b101]);
        assert_eq!((set.indexes(), set.wire()), (vec![0, 2], vec![0b101]));
    }

    proptest! {
        #[test]
        fn and_keeps_the_common_bits(size in 0usize..200, wire: Vec<i64>) {
            let mut set = AckSet::full(size);
            prop_assert_eq!(set.count(), size);
            set.and(&wire);
            let bit = |i: usize| wire.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1);
            let expected: Vec<_> = (0..size).filter(|i| bit(*i)).collect();
            prop_assert_eq!(set.count(), expected.len());
            prop_assert_eq!(set.indexes(), expected);
        }
    }
}
