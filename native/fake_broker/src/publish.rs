//! Storing entries without a producer, whole or broken.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use pulsar::message::proto::{MessageIdData, MessageMetadata, SingleMessageMetadata};

use crate::broker::Broker;
use crate::state::full_name;

impl Broker {
    /// Stores an entry as it is, readable or not.
    pub fn publish_raw(
        &self,
        topic: &str,
        metadata: impl Into<Bytes>,
        body: impl Into<Bytes>,
    ) -> MessageIdData {
        let (metadata, body) = (metadata.into(), body.into());
        self.shared.change(|state| {
            let ledger_id = state.ledger;
            let entry_id = state
                .topic(&full_name(topic))
                .store(ledger_id, metadata, body);
            MessageIdData {
                ledger_id,
                entry_id,
                ..MessageIdData::default()
            }
        })
    }

    /// Stores a single message.
    pub fn publish(
        &self,
        topic: &str,
        metadata: &MessageMetadata,
        payload: impl Into<Bytes>,
    ) -> MessageIdData {
        self.publish_raw(topic, metadata.encode_to_vec(), payload)
    }

    /// Stores a batch, uncompressed: the metadata of each message (its payload size is filled in)
    /// and its payload.
    pub fn publish_batch<P: AsRef<[u8]>>(
        &self,
        topic: &str,
        metadata: &MessageMetadata,
        messages: impl IntoIterator<Item = (SingleMessageMetadata, P)>,
    ) -> MessageIdData {
        let mut body = BytesMut::new();
        let mut count = 0;
        for (mut single, payload) in messages {
            let payload = payload.as_ref();
            single.payload_size = payload.len() as i32;
            body.put_u32(single.encoded_len() as u32);
            body.extend_from_slice(&single.encode_to_vec());
            body.extend_from_slice(payload);
            count += 1;
        }
        let metadata = MessageMetadata {
            num_messages_in_batch: Some(count),
            uncompressed_size: Some(body.len() as u32),
            ..metadata.clone()
        };
        self.publish(topic, &metadata, body.freeze())
    }

    /// Stores a batch of plain payloads by the producer `publisher`.
    pub fn publish_payloads<P: AsRef<[u8]>>(
        &self,
        topic: &str,
        payloads: impl IntoIterator<Item = P>,
    ) -> MessageIdData {
        let metadata = MessageMetadata {
            producer_name: "publisher".to_owned(),
            ..Default::default()
        };
        let messages = payloads
            .into_iter()
            .map(|p| (SingleMessageMetadata::default(), p));
        self.publish_batch(topic, &metadata, messages)
    }
}
