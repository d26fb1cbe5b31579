//! A set of positions in a batch.

/// Positions of messages in an entry, a bit each.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    words: Vec<u64>,
    count: usize,
}

fn place(position: usize) -> (usize, u64) {
    (position / 64, 1 << (position % 64))
}

impl Positions {
    /// Adds a position; `false` if it was there.
    pub(crate) fn insert(&mut self, position: usize) -> bool {
        let (word, bit) = place(position);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(fresh);
        fresh
    }

    /// Removes a position; `false` if it was not there.
    pub(crate) fn remove(&mut self, position: usize) -> bool {
        let (word, bit) = place(position);
        let Some(bits) = self.words.get_mut(word).filter(|bits| **bits & bit != 0) else {
            return false;
        };
        *bits &= !bit;
        self.count -= 1;
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(steps in proptest::collection::vec((any::<bool>(), 0usize..300), 0..200)) {
            let (mut positions, mut model) = (Positions::default(), BTreeSet::new());
            for (insert, position) in steps {
                if insert {
                    prop_assert_eq!(positions.insert(position), model.insert(position));
                } else {
                    prop_assert_eq!(positions.remove(position), model.remove(&position));
                }
                prop_assert_eq!(positions.is_empty(), model.is_empty());
            }
        }
    }
}
