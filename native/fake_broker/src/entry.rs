//! Entries as the broker stores them, and the messages in them.

use std::io::Read;

use bytes::{Buf, Bytes};
use prost::Message as _;
use pulsar::message::proto::{CompressionType, KeyValue, MessageMetadata, SingleMessageMetadata};

/// More than any test stores in an entry; a claim beyond it is taken for a lie.
const LARGEST_BODY: usize = 256 << 20;

/// An entry of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEntry {
    /// The ledger.
    pub ledger_id: u64,
    /// The entry in its ledger.
    pub entry_id: u64,
    /// The metadata, empty if its bytes could not be read.
    pub metadata: MessageMetadata,
    /// How many messages the entry holds.
    pub num_messages: usize,
    pub(crate) metadata_bytes: Bytes,
    pub(crate) body: Bytes,
}

/// A message of a topic, out of its batch and decompressed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredMessage {
    /// The ledger.
    pub ledger_id: u64,
    /// The entry in its ledger.
    pub entry_id: u64,
    /// The place in the batch, -1 if the entry is no batch.
    pub batch_index: i32,
    /// The producer's name.
    pub producer_name: String,
    /// The sequence id.
    pub sequence_id: u64,
    /// The key.
    pub key: Option<String>,
    /// The ordering key.
    pub ordering_key: Option<Vec<u8>>,
    /// The properties.
    pub properties: Vec<(String, String)>,
    /// The event time, 0 if unset.
    pub event_time: u64,
    /// The payload, `None` for a tombstone.
    pub payload: Option<Bytes>,
}

/// Why the messages of an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The body does not decompress to the size that the metadata claims.
    #[error("the body does not decompress to the size that the metadata claims")]
    Compression,
    /// The batch ends early or its metadata is malformed.
    #[error("the batch is malformed")]
    Batch,
}

impl StoredEntry {
    pub(crate) fn new(ledger_id: u64, entry_id: u64, metadata_bytes: Bytes, body: Bytes) -> Self {
        let metadata = MessageMetadata::decode(metadata_bytes.clone()).unwrap_or_default();
        let num_messages = usize::try_from(metadata.num_messages_in_batch())
            .unwrap_or(1)
            .max(1);
        Self {
            ledger_id,
            entry_id,
            metadata,
            num_messages,
            metadata_bytes,
            body,
        }
    }

    /// What follows the metadata, compressed if the metadata says so.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    pub(crate) fn position(&self) -> (i64, i64) {
        // Clients count in signed numbers: the earliest position is -1:-1.
        (self.ledger_id as i64, self.entry_id as i64)
    }

    /// What Key_Shared subscriptions spread by; messages without a key by their sequence id.
    pub(crate) fn sticky_hash(&self) -> u32 {
        match (&self.metadata.ordering_key, &self.metadata.partition_key) {
            (Some(key), _) => crc32c::crc32c(key),
            (None, Some(key)) => crc32c::crc32c(key.as_bytes()),
            (None, None) => crc32c::crc32c(&self.metadata.sequence_id.to_be_bytes()),
        }
    }

    /// The messages in this entry.
    ///
    /// # Errors
    /// When the body is not what the metadata says.
    pub fn messages(&self) -> Result<Vec<StoredMessage>, EntryError> {
        let mut body = self.decompressed()?;
        if self.metadata.num_messages_in_batch.is_none() {
            return Ok(vec![self.single(body)]);
        }
        (0..self.num_messages)
            .map(|index| self.batched(index, &mut body))
            .collect()
    }

    fn single(&self, body: Bytes) -> StoredMessage {
        let meta = &self.metadata;
        StoredMessage {
            ledger_id: self.ledger_id,
            entry_id: self.entry_id,
            batch_index: -1,
            producer_name: meta.producer_name.clone(),
            sequence_id: meta.sequence_id,
            key: meta.partition_key.clone(),
            ordering_key: meta.ordering_key.clone(),
            properties: pairs(&meta.properties),
            event_time: meta.event_time(),
            payload: (!meta.null_value()).then_some(body),
        }
    }

    fn batched(&self, index: usize, body: &mut Bytes) -> Result<StoredMessage, EntryError> {
        let size = body.try_get_u32().map_err(|_| EntryError::Batch)? as usize;
        let meta =
            SingleMessageMetadata::decode(split(body, size)?).map_err(|_| EntryError::Batch)?;
        let size = usize::try_from(meta.payload_size).map_err(|_| EntryError::Batch)?;
        let payload = split(body, size)?;
        Ok(StoredMessage {
            ledger_id: self.ledger_id,
            entry_id: self.entry_id,
            batch_index: index as i32,
            producer_name: self.metadata.producer_name.clone(),
            sequence_id: meta
                .sequence_id
                .unwrap_or(self.metadata.sequence_id.wrapping_add(index as u64)),
            properties: pairs(&meta.properties),
            event_time: meta.event_time(),
            payload: (!meta.null_value()).then_some(payload),
            key: meta.partition_key,
            ordering_key: meta.ordering_key,
        })
    }

    fn decompressed(&self) -> Result<Bytes, EntryError> {
        let size = self.metadata.uncompressed_size() as usize;
        let codec = self.metadata.compression();
        if codec == CompressionType::None {
            return Ok(self.body.clone());
        }
        if size > LARGEST_BODY {
            return Err(EntryError::Compression);
        }
        let data = &self.body[..];
        let out = match codec {
            CompressionType::None => None,
            CompressionType::Lz4 => lz4_flex::block::decompress(data, size).ok(),
            CompressionType::Zlib => {
                let mut out = Vec::new();
                let stream = flate2::read::ZlibDecoder::new(data);
                stream
                    .take(size as u64 + 1)
                    .read_to_end(&mut out)
                    .ok()
                    .map(|_| out)
            }
            CompressionType::Zstd => zstd::bulk::decompress(data, size).ok(),
            CompressionType::Snappy => match snap::raw::decompress_len(data) {
                Ok(claimed) if claimed == size => {
                    snap::raw::Decoder::new().decompress_vec(data).ok()
                }
                _ => None,
            },
        };
        out.filter(|out| out.len() == size)
            .map(Bytes::from)
            .ok_or(EntryError::Compression)
    }
}

fn split(bytes: &mut Bytes, size: usize) -> Result<Bytes, EntryError> {
    if size > bytes.len() {
        return Err(EntryError::Batch);
    }
    Ok(bytes.split_to(size))
}

fn pairs(properties: &[KeyValue]) -> Vec<(String, String)> {
    properties
        .iter()
        .map(|p| (p.key.clone(), p.value.clone()))
        .collect()
}
