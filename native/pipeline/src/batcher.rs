//! When a batch closes. Pure: no task, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Batch, Part};
use crate::inbox::Arrival;

/// Gathers messages in batches. A batch closes when it is full, or some time after its first message.
#[derive(Debug)]
pub(crate) struct Batcher {
    batch_size: usize,
    batch_bytes: usize,
    timeout: Duration,
    open: Batch,
    /// When the open batch closes at the latest.
    due: Option<Instant>,
    closed: VecDeque<Batch>,
}

impl Batcher {
    pub(crate) fn new(batch_size: usize, batch_bytes: usize, timeout: Duration) -> Self {
        Batcher {
            batch_size: batch_size.max(1),
            batch_bytes: batch_bytes.max(1),
            timeout,
            open: Batch::default(),
            due: None,
            closed: VecDeque::new(),
        }
    }

    /// Takes an entry in; it may end in several batches.
    pub(crate) fn push(&mut self, arrival: &Arrival, now: Instant) {
        let mut start = 0;
        for (at, message) in arrival.entry.messages.iter().enumerate() {
            let size = message.payload.as_ref().map_or(0, ExactSizeIterator::len);
            let overflows = self.open.bytes.saturating_add(size) > self.batch_bytes;
            if self.open.messages > 0 && overflows {
                self.join(arrival, start..at);
                start = at;
                self.close();
            }
            if self.open.messages == 0 {
                self.due = Some(now + self.timeout);
            }
            self.open.messages += 1;
            self.open.bytes += size;
            if self.open.messages >= self.batch_size || self.open.bytes >= self.batch_bytes {
                self.join(arrival, start..at + 1);
                start = at + 1;
                self.close();
            }
        }
        self.join(arrival, start..arrival.entry.messages.len());
    }

    fn join(&mut self, arrival: &Arrival, range: std::ops::Range<usize>) {
        if !range.is_empty() {
            self.open.parts.push(Part {
                entry: arrival.entry.clone(),
                topic: arrival.topic,
                range,
            });
        }
    }

    fn close(&mut self) {
        self.due = None;
        self.closed.push_back(std::mem::take(&mut self.open));
    }

    /// When [`Self::close_due`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Closes the open batch if its time has come.
    pub(crate) fn close_due(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.close();
        }
    }

    /// The oldest closed batch.
    pub(crate) fn pop(&mut self) -> Option<Batch> {
        self.closed.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::entry;
    use proptest::prelude::*;
    use std::sync::Arc;

    const MS: Duration = Duration::from_millis(1);

    fn arrival(entry_id: u64, sizes: &[usize]) -> Arrival {
        Arrival {
            entry: Arc::new(entry(entry_id, sizes)),
            topic: 0,
        }
    }

    fn names(batch: &Batch) -> Vec<(u64, usize)> {
        batch.iter().map(|(e, at)| (e.entry_id, at)).collect()
    }

    #[test]
    fn a_batch_closes_at_its_size_across_entries() {
        let (mut batcher, now) = (Batcher::new(3, 1000, 5 * MS), Instant::now());
        batcher.push(&arrival(1, &[1, 1]), now);
        assert!(batcher.pop().is_none());
        batcher.push(&arrival(2, &[1, 1, 1, 1, 1]), now);
        assert_eq!(names(&batcher.pop().unwrap()), [(1, 0), (1, 1), (2, 0)]);
        assert_eq!(names(&batcher.pop().unwrap()), [(2, 1), (2, 2), (2, 3)]);
        assert!(batcher.pop().is_none());
    }

    #[test]
    fn bytes_close_before_they_overflow_and_a_giant_goes_alone() {
        let (mut batcher, now) = (Batcher::new(100, 10, 5 * MS), Instant::now());
        batcher.push(&arrival(1, &[6, 6, 50, 1, 9]), now);
        let batches: Vec<_> = std::iter::from_fn(|| batcher.pop())
            .map(|batch| names(&batch))
            .collect();
        assert_eq!(
            batches,
            [
                vec![(1, 0)],
                vec![(1, 1)],
                vec![(1, 2)],
                vec![(1, 3), (1, 4)]
            ]
        );
    }

    #[test]
    fn time_runs_from_the_first_message() {
        let (mut batcher, now) = (Batcher::new(3, 1000, 5 * MS), Instant::now());
        assert_eq!(batcher.due(), None);
        batcher.push(&arrival(1, &[1]), now);
        batcher.push(&arrival(2, &[1]), now + 4 * MS);
        assert_eq!(batcher.due(), Some(now + 5 * MS));
        batcher.close_due(now + 4 * MS);
        assert!(batcher.pop().is_none());
        batcher.close_due(now + 5 * MS);
        assert_eq!(batcher.pop().unwrap().messages, 2);
        assert_eq!(batcher.due(), None);
        // The rest of an entry that filled a batch starts a time of its own.
        batcher.push(&arrival(3, &[1, 1, 1, 1]), now + 9 * MS);
        assert_eq!(batcher.due(), Some(now + 14 * MS));
    }

    proptest! {
        #[test]
        fn every_message_leaves_once_in_order_within_the_bounds(
            entries in proptest::collection::vec(
                (proptest::collection::vec(0usize..40, 0..30), 0u32..4), 0..30),
            batch_size in 0usize..20,
            batch_bytes in 0usize..100,
        ) {
            let mut batcher = Batcher::new(batch_size, batch_bytes, 5 * MS);
            let mut now = Instant::now();
            let (mut expected, mut got) = (Vec::new(), Vec::new());
            for (id, (sizes, wait)) in entries.iter().enumerate() {
                now += MS * *wait;
                batcher.close_due(now);
                batcher.push(&arrival(id as u64, sizes), now);
                expected.extend((0..sizes.len()).map(|at| (id as u64, at)));
                let due = batcher.due();
                prop_assert!(due.is_none_or(|due| due > now && due <= now + 5 * MS));
            }
            batcher.close_due(now + 5 * MS);
            prop_assert!(batcher.due().is_none());
            while let Some(batch) = batcher.pop() {
                let bytes = batch.payloads().iter().map(|p| p.len()).sum::<usize>();
                prop_assert_eq!(batch.messages, names(&batch).len());
                prop_assert_eq!(batch.bytes, bytes);
                prop_assert!(batch.messages > 0 && batch.messages <= batch_size.max(1));
                prop_assert!(bytes <= batch_bytes.max(1) || batch.messages == 1);
                got.extend(names(&batch));
            }
            prop_assert_eq!(got, expected);
        }
    }
}
