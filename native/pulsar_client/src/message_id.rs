//! The position of a message in a topic.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use prost::Message as _;
use pulsar::message::proto::MessageIdData;

/// The position of a message: its entry, and its place in the entry if that is a batch.
///
/// Identity and order are those of the Java client: ledger, entry, partition, batch index, each
/// compared as the signed number that it is there. `batch_size` tells nothing about the position
/// and takes no part.
#[derive(Clone, Debug)]
pub struct MessageId {
    /// The ledger that holds the entry.
    pub ledger_id: u64,
    /// The entry in its ledger.
    pub entry_id: u64,
    /// The partition of the topic, or -1 on a topic without partitions.
    pub partition: i32,
    /// The place in the batch, or -1 for an entry of a single message.
    pub batch_index: i32,
    /// How many messages the batch has, or 0 where that is unknown or the entry is no batch.
    pub batch_size: i32,
}

/// Why bytes are not a message id.
#[derive(Debug, thiserror::Error)]
pub enum MessageIdError {
    /// The bytes are not a protobuf `MessageIdData`.
    #[error("not a message id: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The ledger or entry is not there.
    #[error("not a message id: no ledger or entry id")]
    Incomplete,
    /// The batch index lies outside the batch.
    #[error("batch index {index} in a batch of {size}")]
    BatchIndex {
        /// The place in the batch that the bytes name.
        index: i32,
        /// The number of messages that they give the batch.
        size: i32,
    },
}

impl MessageId {
    /// Before the first message of a topic.
    #[must_use]
    pub const fn earliest() -> Self {
        Self::entry(u64::MAX, u64::MAX)
    }

    /// After the last message of a topic.
    #[must_use]
    pub const fn latest() -> Self {
        Self::entry(i64::MAX as u64, i64::MAX as u64)
    }

    const fn entry(ledger_id: u64, entry_id: u64) -> Self {
        Self {
            ledger_id,
            entry_id,
            partition: -1,
            batch_index: -1,
            batch_size: 0,
        }
    }

    /// Whether this is a message of a batch.
    #[must_use]
    pub const fn is_batched(&self) -> bool {
        self.batch_index >= 0
    }

    /// The bytes that other Pulsar clients write for this id (`MessageId.toByteArray` in Java).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let data = MessageIdData {
            ledger_id: self.ledger_id,
            entry_id: self.entry_id,
            partition: (self.partition >= 0).then_some(self.partition),
            batch_index: self.is_batched().then_some(self.batch_index),
            // Written even where it is 0, as Java does.
            batch_size: Some(self.batch_size),
            ..MessageIdData::default()
        };
        data.encode_to_vec()
    }

    /// Reads the bytes that [`MessageId::to_bytes`] or another Pulsar client wrote. The first id
    /// that a chunked message's bytes also carry is not kept.
    ///
    /// # Errors
    /// When the bytes are no `MessageIdData`, lack the ledger or the entry, or contradict
    /// themselves.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageIdError> {
        // The decoder leaves an absent required field as it was: only present fields make two
        // different starting values equal.
        let mut data = MessageIdData::default();
        data.merge(bytes)?;
        let mut other = MessageIdData {
            ledger_id: 1,
            entry_id: 1,
            ..MessageIdData::default()
        };
        other.merge(bytes)?;
        if (data.ledger_id, data.entry_id) != (other.ledger_id, other.entry_id) {
            return Err(MessageIdError::Incomplete);
        }
        let batch_index = data.batch_index.unwrap_or(-1).max(-1);
        let batch_size = data.batch_size.unwrap_or(0).max(0);
        if batch_size > 0 && batch_index >= batch_size {
            return Err(MessageIdError::BatchIndex {
                index: batch_index,
                size: batch_size,
            });
        }
        Ok(Self {
            ledger_id: data.ledger_id,
            entry_id: data.entry_id,
            partition: data.partition.unwrap_or(-1).max(-1),
            batch_index,
            batch_size,
        })
    }

    // Java has no unsigned numbers: `earliest` is -1 there, below every other id.
    fn position(&self) -> (i64, i64, i32, i32) {
        (
            self.ledger_id as i64,
            self.entry_id as i64,
            self.partition,
            self.batch_index,
        )
    }
}

impl PartialEq for MessageId {
    fn eq(&self, other: &Self) -> bool {
        self.position() == other.position()
    }
}

impl Eq for MessageId {}

impl Hash for MessageId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.position().hash(state);
    }
}

impl PartialOrd for MessageId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MessageId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.position().cmp(&other.position())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ledger, entry, partition, batch) = self.position();
        write!(f, "{ledger}:{entry}:{partition}:{batch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ledger_id: u64, entry_id: u64, partition: i32, batch_index: i32) -> MessageId {
        let batch_size = if batch_index < 0 { 0 } else { batch_index + 1 };
        MessageId {
            ledger_id,
            entry_id,
            partition,
            batch_index,
            batch_size,
        }
    }

    #[test]
    fn bytes_are_those_of_other_clients() {
        // Each is what `toByteArray` of the Java client 4.2 gives.
        for (id, bytes) in [
            (id(300, 2, -1, -1), "08ac0210023000"),
            (id(300, 2, 3, -1), "08ac02100218033000"),
            (id(300, 2, 3, 4), "08ac021002180320043005"),
            (id(300, 2, -1, 0), "08ac02100220003001"),
            (
                MessageId {
                    batch_size: 0,
                    ..id(300, 2, 3, 4)
                },
                "08ac021002180320043000",
            ),
            (
                MessageId::earliest(),
                "08ffffffffffffffffff0110ffffffffffffffffff013000",
            ),
            (
                MessageId::latest(),
                "08ffffffffffffffff7f10ffffffffffffffff7f3000",
            ),
        ] {
            let hex: String = id
                .to_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(hex, bytes, "{id}");
        }
        // Other clients leave the size out of an id that is no batch's.
        assert_eq!(
            MessageId::from_bytes(&[8, 1, 16, 2]).unwrap(),
            id(1, 2, -1, -1)
        );
    }

    #[test]
    fn display() {
        assert_eq!(id(12, 3, 1, 7).to_string(), "12:3:1:7");
        assert_eq!(id(12, 3, -1, -1).to_string(), "12:3:-1:-1");
        assert_eq!(MessageId::earliest().to_string(), "-1:-1:-1:-1");
    }

    #[test]
    fn order() {
        let ordered = [
            MessageId::earliest(),
            id(0, 0, -1, -1),
            id(5, 9, -1, -1),
            id(5, 10, -1, -1),
            id(5, 10, -1, 0),
            id(5, 10, -1, 1),
            id(5, 10, 0, -1),
            id(6, 0, -1, -1),
            MessageId::latest(),
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} {b}");
                assert_eq!(a == b, i == j);
            }
        }
    }

    #[test]
    fn batch_size_is_no_part_of_the_identity() {
        let sized = MessageId {
            batch_size: 9,
            ..id(1, 2, 3, 4)
        };
        assert_eq!(sized, id(1, 2, 3, 4));
        assert_eq!(
            std::collections::HashSet::from([sized, id(1, 2, 3, 4)]).len(),
            1
        );
    }

    #[test]
    fn incomplete_or_contradictory_bytes_are_refused() {
        let incomplete = |bytes: &[u8]| {
            matches!(
                MessageId::from_bytes(bytes),
                Err(MessageIdError::Incomplete)
            )
        };
        assert!(incomplete(&[]));
        assert!(incomplete(&[0x08, 1]));
        assert!(incomplete(&[0x10, 0]));
        assert!(MessageId::from_bytes(&[0x08, 1, 0x10]).is_err());
        let outside = MessageId::from_bytes(&[0x08, 1, 0x10, 2, 0x20, 4, 0x30, 4]);
        assert!(matches!(
            outside,
            Err(MessageIdError::BatchIndex { index: 4, size: 4 })
        ));
    }

    proptest! {
        #[test]
        fn round_trip(ledger: u64, entry: u64, partition in -1i32.., index in -1i32..i32::MAX) {
            let id = id(ledger, entry, partition, index);
            let back = MessageId::from_bytes(&id.to_bytes()).unwrap();
            prop_assert_eq!(&back, &id);
            prop_assert_eq!(back.batch_size, id.batch_size);
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(id) = MessageId::from_bytes(&bytes) {
                prop_assert_eq!(MessageId::from_bytes(&id.to_bytes()).unwrap(), id);
            }
        }
    }
}
