//! Messages that go to a device together.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pulsar_client::consumer::AckRange;
use pulsar_client::wire::entry::{Entry, MessageView};

/// Neighbouring messages of one entry.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) entry: Arc<Entry>,
    /// The consumer's number of the entry's topic.
    pub(crate) topic: usize,
    /// Positions in [`Entry::messages`].
    pub(crate) range: Range<usize>,
}

impl Part {
    pub(crate) fn messages(&self) -> &[MessageView] {
        self.entry
            .messages
            .get(self.range.clone())
            .unwrap_or_default()
    }

    /// The messages as the consumer acknowledges them, neighbours together.
    pub(crate) fn ack_ranges(&self) -> Vec<AckRange> {
        let key = (self.entry.ledger_id, self.entry.entry_id);
        let batch_size = self.entry.batch_size.max(0) as u32;
        let mut ranges: Vec<AckRange> = Vec::new();
        for message in self.messages() {
            let at = message.batch_index.max(0) as u32;
            match ranges.last_mut() {
                Some(range) if range.last + 1 == at => range.last = at,
                _ => ranges.push(AckRange {
                    key,
                    batch_size,
                    first: at,
                    last: at,
                }),
            }
        }
        ranges
    }
}

/// Messages in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) parts: Vec<Part>,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Batch {
    /// Every message: its entry and its position in [`Entry::messages`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Entry>, usize)> + '_ {
        let of_part = |part: &Part| part.range.clone();
        self.parts
            .iter()
            .flat_map(move |part| of_part(part).map(move |at| (&part.entry, at)))
    }

    /// The payloads: slices of the entries' buffers.
    pub(crate) fn payloads(&self) -> Vec<Bytes> {
        self.iter()
            .map(|(entry, at)| payload(entry, &entry.messages[at]))
            .collect()
    }
}

/// A message's payload without a copy. A tombstone is an empty one: its kernel decides.
pub(crate) fn payload(entry: &Entry, message: &MessageView) -> Bytes {
    match &message.payload {
        Some(range) => entry.buffer.slice(range.clone()),
        None => Bytes::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An entry of topic `t` with payloads of these sizes.
    pub(crate) fn entry(entry_id: u64, sizes: &[usize]) -> Entry {
        let mut at = 0;
        let messages = sizes.iter().enumerate().map(|(index, size)| {
            let start = at;
            at += size;
            MessageView {
                batch_index: index as i32,
                payload: Some(start..at),
                key: None,
                ordering_key: None,
                properties: Vec::new(),
                event_time: None,
                sequence_id: index as u64,
            }
        });
        Entry {
            topic: "t".into(),
            ledger_id: 1,
            entry_id,
            partition: -1,
            batch_size: sizes.len() as i32,
            redelivery_count: 0,
            permits: sizes.len(),
            publish_time: 0,
            producer_name: "p".to_owned(),
            schema_version: None,
            messages: messages.collect(),
            buffer: vec![0; sizes.iter().sum()].into(),
        }
    }

    #[test]
    fn ack_ranges_join_neighbours_and_leave_gaps() {
        let mut entry = entry(7, &[1; 6]);
        entry.messages.remove(2);
        let part = Part {
            entry: Arc::new(entry),
            topic: 0,
            range: 1..5,
        };
        let ranges: Vec<_> = part
            .ack_ranges()
            .iter()
            .map(|range| (range.key, range.batch_size, range.first, range.last))
            .collect();
        assert_eq!(ranges, [((1, 7), 6, 1, 1), ((1, 7), 6, 3, 5)]);
    }

    #[test]
    fn an_entry_outside_of_a_batch_is_acked_whole() {
        let mut entry = entry(7, &[1]);
        entry.batch_size = 0;
        entry.messages[0].batch_index = -1;
        let part = Part {
            entry: Arc::new(entry),
            topic: 0,
            range: 0..1,
        };
        let expected = AckRange {
            key: (1, 7),
            batch_size: 0,
            first: 0,
            last: 0,
        };
        assert_eq!(part.ack_ranges(), [expected]);
    }

    #[test]
    fn payloads_share_the_entrys_buffer() {
        let mut entry = entry(1, &[3, 4]);
        entry.messages[1].payload = None;
        let entry = Arc::new(entry);
        let batch = Batch {
            parts: vec![Part {
                entry: entry.clone(),
                topic: 0,
                range: 0..2,
            }],
            messages: 2,
            bytes: 3,
        };
        let payloads = batch.payloads();
        assert_eq!(payloads[0].as_ptr(), entry.buffer.as_ptr());
        assert_eq!((payloads[0].len(), payloads[1].len()), (3, 0));
    }
}
