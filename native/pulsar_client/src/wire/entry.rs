//! Entries: what the broker stores and delivers in one piece, a single message or a batch.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pulsar::message::proto;

use super::compression::Compression;
use super::frame::{self, FrameError};
use super::single_metadata;

/// Largest decompressed size accepted: no honest producer compresses more than this into one entry.
const DECOMPRESSED_LIMIT: usize = 128 * 1024 * 1024;

/// Most messages, and most properties, of one entry: each takes many times the bytes that a compressed
/// entry needs to claim it.
const MAX_PARTS: usize = 1 << 20;

/// Why an entry cannot be turned into messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Frame, checksum or metadata.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Decompression failed or broke its promise.
    #[error("decompression: {0}")]
    Decompression(String),
    /// A message inside the batch is malformed.
    #[error("message {index} of the batch: {reason}")]
    Batch {
        /// Position in the batch.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// The metadata claims an impossible number of messages.
    #[error("a batch of {0} messages: more than its bytes, or this client, can hold")]
    BatchSize(i32),
    /// A feature this client does not read.
    #[error("{0} cannot be read")]
    Unsupported(&'static str),
}

/// A message's properties, in the order in which they were written.
pub type Properties = Vec<(String, String)>;

/// One message of an entry. Ranges point into [`Entry::buffer`].
#[derive(Debug, Clone)]
pub struct MessageView {
    /// Position in the batch; -1 outside of one.
    pub batch_index: i32,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Range<usize>>,
    /// The key, decoded from base64 where the producer's key was binary.
    pub key: Option<Bytes>,
    /// The ordering key.
    pub ordering_key: Option<Bytes>,
    /// The properties.
    pub properties: Properties,
    /// Milliseconds since 1970, if the producer set it.
    pub event_time: Option<u64>,
    /// The producer's sequence id.
    pub sequence_id: u64,
}

/// A decoded entry: one buffer, whose slices are the payloads.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Full name of the topic or partition.
    pub topic: Arc<str>,
    /// Ledger of the entry.
    pub ledger_id: u64,
    /// Entry within the ledger.
    pub entry_id: u64,
    /// Partition of the topic; -1 if it has none.
    pub partition: i32,
    /// Messages in the batch as it was sent; 0 outside of a batch.
    pub batch_size: i32,
    /// How often the broker delivered the entry before.
    pub redelivery_count: u32,
    /// Permits that the broker used for it.
    pub permits: usize,
    /// When the producer sent it, in milliseconds since 1970.
    pub publish_time: u64,
    /// The producer's name.
    pub producer_name: String,
    /// The schema's version, as the broker numbers it.
    pub schema_version: Option<Vec<u8>>,
    /// The decompressed bytes.
    pub buffer: Bytes,
    /// The messages to deliver: without those already acked or compacted away.
    pub messages: Vec<MessageView>,
}

/// Where an entry comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Full name of the topic or partition.
    pub topic: Arc<str>,
    /// Partition of the topic; -1 if it has none.
    pub partition: i32,
}

/// Which messages of a batch a broker's or tracker's ack set still holds as un-acked.
pub fn is_unacked(ack_set: &[i64], index: usize) -> bool {
    ack_set.is_empty()
        || ack_set
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
}

/// Checks, decompresses and splits an entry.
pub fn decode(
    origin: &Origin,
    command: &proto::CommandMessage,
    payload: Bytes,
) -> Result<Entry, EntryError> {
    let (metadata, body) = frame::decode_payload(payload)?;
    if !metadata.encryption_keys.is_empty() {
        return Err(EntryError::Unsupported("an encrypted message"));
    }
    if metadata.num_chunks_from_msg() > 1 {
        return Err(EntryError::Unsupported("a chunk of a larger message"));
    }
    let buffer = decompress(&metadata, &body)?;
    let batched = metadata.num_messages_in_batch.is_some();
    let messages = if batched {
        split_batch(&metadata, &buffer, &command.ack_set)?
    } else {
        vec![single(&metadata, buffer.len())]
    };
    // As the broker counts them: un-acked messages, whether or not compaction left their payload.
    let permits = permits(&metadata, &command.ack_set);
    Ok(Entry {
        topic: origin.topic.clone(),
        ledger_id: command.message_id.ledger_id,
        entry_id: command.message_id.entry_id,
        partition: origin.partition,
        batch_size: if batched {
            metadata.num_messages_in_batch()
        } else {
            0
        },
        redelivery_count: command.redelivery_count(),
        permits,
        publish_time: metadata.publish_time,
        producer_name: metadata.producer_name,
        schema_version: metadata.schema_version,
        buffer,
        messages,
    })
}

/// The permits that an entry took, although it cannot be decoded: as near as can be made out.
pub fn permits_of_undecodable(command: &proto::CommandMessage, payload: Bytes) -> usize {
    frame::guess_metadata(payload).map_or(1, |metadata| permits(&metadata, &command.ack_set))
}

fn permits(metadata: &proto::MessageMetadata, ack_set: &[i64]) -> usize {
    let Some(count) = metadata.num_messages_in_batch else {
        return 1;
    };
    let count = usize::try_from(count).unwrap_or(0).max(1);
    if ack_set.is_empty() {
        return count;
    }
    // By what was sent, not by what it claims: a count may be any number.
    let places = count.min(ack_set.len().saturating_mul(64));
    (0..places)
        .filter(|index| is_unacked(ack_set, *index))
        .count()
}

fn decompress(metadata: &proto::MessageMetadata, body: &[u8]) -> Result<Bytes, EntryError> {
    let failed = |reason: String| EntryError::Decompression(reason);
    let compression = Compression::from_proto(metadata.compression.unwrap_or_default())
        .map_err(|error| failed(error.to_string()))?;
    if compression == Compression::None {
        // A copy of its own: a slice of the connection's read buffer would pin its neighbours too.
        return Ok(Bytes::copy_from_slice(body));
    }
    let size = metadata.uncompressed_size() as usize;
    let bytes = compression
        .decompress(body, size, DECOMPRESSED_LIMIT)
        .map_err(|error| failed(error.to_string()))?;
    Ok(bytes.into())
}

fn single(metadata: &proto::MessageMetadata, size: usize) -> MessageView {
    MessageView {
        batch_index: -1,
        payload: (!metadata.null_value()).then_some(0..size),
        key: key(
            metadata.partition_key.as_deref().map(str::as_bytes),
            metadata.partition_key_b64_encoded(),
        ),
        ordering_key: metadata.ordering_key.clone().map(Bytes::from),
        properties: metadata
            .properties
            .iter()
            .map(|pair| (pair.key.clone(), pair.value.clone()))
            .collect(),
        event_time: metadata.event_time.filter(|time| *time != 0),
        sequence_id: metadata.sequence_id,
    }
}

fn split_batch(
    metadata: &proto::MessageMetadata,
    buffer: &Bytes,
    ack_set: &[i64],
) -> Result<Vec<MessageView>, EntryError> {
    let count = metadata.num_messages_in_batch();
    // Each message takes at least its size field and the required payload_size.
    if count < 0 || count as usize > (buffer.len() / 6).min(MAX_PARTS) {
        return Err(EntryError::BatchSize(count));
    }
    let mut messages = Vec::with_capacity(count as usize);
    let mut at = 0;
    let mut properties_left = MAX_PARTS;
    for index in 0..count as usize {
        let failed = |reason: String| EntryError::Batch { index, reason };
        let bytes = buffer.get(at..).unwrap_or_default();
        let size = bytes
            .first_chunk()
            .map(|size| u32::from_be_bytes(*size) as usize);
        let metadata_bytes = size
            .and_then(|size| bytes.get(4..size.checked_add(4)?))
            .ok_or_else(|| failed("its metadata is cut off".to_owned()))?;
        let single =
            single_metadata::decode(metadata_bytes).map_err(|error| failed(error.to_string()))?;
        properties_left = properties_left
            .checked_sub(single.properties.len())
            .ok_or_else(|| failed("more properties than can be held".to_owned()))?;
        let start = at + 4 + metadata_bytes.len();
        let end = start
            .checked_add(single.payload_size)
            .filter(|end| *end <= buffer.len())
            .ok_or_else(|| failed("its payload is cut off".to_owned()))?;
        at = end;
        if single.compacted_out || !is_unacked(ack_set, index) {
            continue;
        }
        messages.push(MessageView {
            batch_index: index as i32,
            payload: (!single.null_value).then_some(start..end),
            key: single
                .partition_key
                .and_then(|bytes| key(Some(bytes.as_bytes()), single.key_b64)),
            ordering_key: single.ordering_key.map(|bytes| buffer.slice_ref(bytes)),
            properties: single
                .properties
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            event_time: Some(single.event_time).filter(|time| *time != 0),
            sequence_id: single
                .sequence_id
                .unwrap_or(metadata.sequence_id.wrapping_add(index as u64)),
        });
    }
    Ok(messages)
}

fn key(bytes: Option<&[u8]>, base64: bool) -> Option<Bytes> {
    use base64::Engine as _;
    let bytes = bytes?;
    if base64 {
        if let Ok(decoded) = base64::engine::general_purpose::STANDARD.decode(bytes) {
            return Some(decoded.into());
        }
    }
    Some(Bytes::copy_from_slice(bytes))
}
