//! What an application hands to a producer.

use std::ops::Range;

use bytes::Bytes;

/// A message key: text as it is; other bytes travel as base64, as the Java client's `keyBytes` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub(crate) text: String,
    pub(crate) base64: bool,
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        use base64::Engine as _;
        match std::str::from_utf8(bytes) {
            Ok(text) => Key {
                text: text.to_owned(),
                base64: false,
            },
            Err(_) => Key {
                text: base64::engine::general_purpose::STANDARD.encode(bytes),
                base64: true,
            },
        }
    }
}

/// All that may accompany a payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageOptions {
    /// Routes, compacts and orders.
    pub key: Option<Key>,
    /// Orders on Key_Shared subscriptions instead of the key.
    pub ordering_key: Option<Vec<u8>>,
    /// Free key-value pairs.
    pub properties: Vec<(String, String)>,
    /// When it happened, in milliseconds since 1970.
    pub event_time: Option<u64>,
    /// Not delivered before this time, in milliseconds since 1970 (Shared and Key_Shared only).
    pub deliver_at: Option<i64>,
    /// Instead of the producer's own count; must increase for deduplication to make sense.
    pub sequence_id: Option<u64>,
}

/// Room for the sizes, numbers and flags in front of a message in its batch.
const MESSAGE_OVERHEAD: usize = 64;

/// Room for the sizes and field numbers of one property.
const PROPERTY_OVERHEAD: usize = 20;

impl MessageOptions {
    fn size(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| key.text.len());
        let ordering_key = self.ordering_key.as_ref().map_or(0, Vec::len);
        let property =
            |(key, value): &(String, String)| key.len() + value.len() + PROPERTY_OVERHEAD;
        key + ordering_key + self.properties.iter().map(property).sum::<usize>()
    }
}

/// One message of a [`MessageList`].
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where in the list's buffer the payload lies; `None` is a tombstone.
    pub payload: Option<Range<usize>>,
    /// What accompanies it; `None` for most.
    pub options: Option<Box<MessageOptions>>,
}

impl Outgoing {
    pub(crate) fn size(&self) -> usize {
        self.payload.as_ref().map_or(0, Range::len)
    }

    /// About what the message takes in a batch: never less.
    pub(crate) fn batched_size(&self) -> usize {
        let options = self.options.as_ref().map_or(0, |options| options.size());
        self.size() + options + MESSAGE_OVERHEAD
    }
}

/// Messages sent with one call and confirmed with one answer; one buffer holds all payloads.
#[derive(Debug, Clone, Default)]
pub struct MessageList {
    /// The payloads, one after the other.
    pub buffer: Bytes,
    /// The messages, in order.
    pub messages: Vec<Outgoing>,
}

impl MessageList {
    /// A list of one message.
    pub fn one(payload: impl Into<Bytes>, options: Option<Box<MessageOptions>>) -> Self {
        let buffer = payload.into();
        let payload = Some(0..buffer.len());
        MessageList {
            buffer,
            messages: vec![Outgoing { payload, options }],
        }
    }

    /// Payload bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(Outgoing::size).sum()
    }
}
