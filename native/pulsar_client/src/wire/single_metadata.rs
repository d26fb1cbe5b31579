//! The metadata in front of each message of a batch, read and written without allocation.
//!
//! A batch may hold thousands of messages, so this runs once a message: the fields borrow from the
//! batch, and properties are read again only when someone asks for them. What it accepts and what
//! it gives is what prost's decoder of `SingleMessageMetadata` accepts and gives, except that a
//! negative payload size is refused.

use prost::bytes::Buf;
use prost::encoding::{
    decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len, WireType,
};
use prost::DecodeError;

/// How deep prost follows nested messages and groups.
const RECURSION_LIMIT: u32 = 100;

mod tag {
    pub(super) const PROPERTIES: u32 = 1;
    pub(super) const PARTITION_KEY: u32 = 2;
    pub(super) const PAYLOAD_SIZE: u32 = 3;
    pub(super) const COMPACTED_OUT: u32 = 4;
    pub(super) const EVENT_TIME: u32 = 5;
    pub(super) const KEY_B64: u32 = 6;
    pub(super) const ORDERING_KEY: u32 = 7;
    pub(super) const SEQUENCE_ID: u32 = 8;
    pub(super) const NULL_VALUE: u32 = 9;
    pub(super) const NULL_PARTITION_KEY: u32 = 10;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// Why the metadata of a message in a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SingleMetadataError {
    /// The bytes are not valid protobuf.
    #[error("malformed message metadata: {0}")]
    Malformed(#[from] DecodeError),
    /// A field has another wire type than its number says.
    #[error("malformed message metadata: field {0} has the wrong type")]
    WireType(u32),
    /// A field ends after the bytes do, or groups do not match.
    #[error("malformed message metadata: truncated or badly nested")]
    Structure,
    /// A text is not UTF-8.
    #[error("malformed message metadata: field {0} is not UTF-8")]
    Utf8(u32),
    /// The payload size is negative.
    #[error("message metadata claims a payload of {0} bytes")]
    PayloadSize(i32),
}

/// The metadata of one message of a batch, borrowed from the batch.
#[derive(Clone, Debug, Default)]
pub struct SingleMetadata<'a> {
    /// How many bytes of payload follow.
    pub payload_size: usize,
    /// The key, in Base64 if `key_b64` is set.
    pub partition_key: Option<&'a str>,
    /// Whether the key is bytes in Base64.
    pub key_b64: bool,
    /// Whether the key is null, as opposed to absent.
    pub null_partition_key: bool,
    /// The key that overrides `partition_key` in the dispatch of Key_Shared subscriptions.
    pub ordering_key: Option<&'a [u8]>,
    /// The application's properties.
    pub properties: Properties<'a>,
    /// When the event happened, in milliseconds since 1970; 0 if not set.
    pub event_time: u64,
    /// The sequence id that the producer gave the message.
    pub sequence_id: Option<u64>,
    /// Whether the payload is null, a tombstone.
    pub null_value: bool,
    /// Whether compaction removed the message from the batch.
    pub compacted_out: bool,
}

/// The properties of a message, in the order in which they were written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Properties<'a> {
    metadata: &'a [u8],
    count: usize,
}

impl<'a> Properties<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.metadata;
        (0..self.count).map_while(move |_| loop {
            // Nothing here fails: `decode` went through the same bytes.
            let (number, wire_type) = decode_key(&mut rest).ok()?;
            if number == tag::PROPERTIES {
                let entry = delimited(number, wire_type, &mut rest).ok()?;
                return property(entry).ok();
            }
            skip(wire_type, number, &mut rest, RECURSION_LIMIT).ok()?;
        })
    }
}

/// Reads the metadata of one message. `bytes` is exactly the metadata, without its size.
///
/// # Errors
/// When `bytes` is not a valid `SingleMessageMetadata`, or its payload size is negative.
pub fn decode(bytes: &[u8]) -> Result<SingleMetadata<'_>, SingleMetadataError> {
    let mut meta = SingleMetadata {
        properties: Properties {
            metadata: bytes,
            count: 0,
        },
        ..SingleMetadata::default()
    };
    let mut payload_size = 0;
    let mut rest = bytes;
    let buf = &mut rest;
    while !buf.is_empty() {
        let (number, wire) = decode_key(buf)?;
        match number {
            tag::PROPERTIES => {
                property(delimited(number, wire, buf)?)?;
                meta.properties.count += 1;
            }
            tag::PARTITION_KEY => meta.partition_key = Some(text(number, wire, buf)?),
            // As protobuf does: an int32 is the low half of the varint.
            tag::PAYLOAD_SIZE => payload_size = varint(number, wire, buf)? as i32,
            tag::COMPACTED_OUT => meta.compacted_out = varint(number, wire, buf)? != 0,
            tag::EVENT_TIME => meta.event_time = varint(number, wire, buf)?,
            tag::KEY_B64 => meta.key_b64 = varint(number, wire, buf)? != 0,
            tag::ORDERING_KEY => meta.ordering_key = Some(delimited(number, wire, buf)?),
            tag::SEQUENCE_ID => meta.sequence_id = Some(varint(number, wire, buf)?),
            tag::NULL_VALUE => meta.null_value = varint(number, wire, buf)? != 0,
            tag::NULL_PARTITION_KEY => meta.null_partition_key = varint(number, wire, buf)? != 0,
            _ => skip(wire, number, buf, RECURSION_LIMIT)?,
        }
    }
    meta.payload_size = usize::try_from(payload_size)
        .map_err(|_| SingleMetadataError::PayloadSize(payload_size))?;
    Ok(meta)
}

fn property(mut entry: &[u8]) -> Result<(&str, &str), SingleMetadataError> {
    let (mut key, mut value) = ("", "");
    let buf = &mut entry;
    while !buf.is_empty() {
        let (number, wire) = decode_key(buf)?;
        match number {
            tag::KEY => key = text(number, wire, buf)?,
            tag::VALUE => value = text(number, wire, buf)?,
            _ => skip(wire, number, buf, RECURSION_LIMIT - 1)?,
        }
    }
    Ok((key, value))
}

fn varint(number: u32, wire: WireType, buf: &mut &[u8]) -> Result<u64, SingleMetadataError> {
    if wire != WireType::Varint {
        return Err(SingleMetadataError::WireType(number));
    }
    Ok(decode_varint(buf)?)
}

fn delimited<'a>(
    number: u32,
    wire: WireType,
    buf: &mut &'a [u8],
) -> Result<&'a [u8], SingleMetadataError> {
    if wire != WireType::LengthDelimited {
        return Err(SingleMetadataError::WireType(number));
    }
    let len = usize::try_from(decode_varint(buf)?).map_err(|_| SingleMetadataError::Structure)?;
    let (field, rest) = buf
        .split_at_checked(len)
        .ok_or(SingleMetadataError::Structure)?;
    *buf = rest;
    Ok(field)
}

fn text<'a>(
    number: u32,
    wire: WireType,
    buf: &mut &'a [u8],
) -> Result<&'a str, SingleMetadataError> {
    std::str::from_utf8(delimited(number, wire, buf)?)
        .map_err(|_| SingleMetadataError::Utf8(number))
}

fn skip(
    wire: WireType,
    number: u32,
    buf: &mut &[u8],
    depth: u32,
) -> Result<(), SingleMetadataError> {
    if depth == 0 {
        return Err(SingleMetadataError::Structure);
    }
    let len = match wire {
        WireType::Varint => {
            decode_varint(buf)?;
            0
        }
        WireType::ThirtyTwoBit => 4,
        WireType::SixtyFourBit => 8,
        WireType::LengthDelimited => decode_varint(buf)?,
        WireType::StartGroup => loop {
            let (inner, inner_wire) = decode_key(buf)?;
            match inner_wire {
                WireType::EndGroup if inner == number => break 0,
                WireType::EndGroup => return Err(SingleMetadataError::Structure),
                _ => skip(inner_wire, inner, buf, depth - 1)?,
            }
        },
        WireType::EndGroup => return Err(SingleMetadataError::Structure),
    };
    match usize::try_from(len) {
        Ok(len) if len <= buf.len() => {
            buf.advance(len);
            Ok(())
        }
        _ => Err(SingleMetadataError::Structure),
    }
}

/// What [`encode`] writes for one message of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleMetadataFields<'a> {
    /// How many bytes of payload follow.
    pub payload_size: i32,
    /// The key, in Base64 if `key_b64` is set.
    pub partition_key: Option<&'a str>,
    /// Whether the key is bytes in Base64.
    pub key_b64: bool,
    /// Whether the key is null, as opposed to absent.
    pub null_partition_key: bool,
    /// The key that overrides `partition_key` in the dispatch of Key_Shared subscriptions.
    pub ordering_key: Option<&'a [u8]>,
    /// Name and value of each property.
    pub properties: &'a [(String, String)],
    /// When the event happened, in milliseconds since 1970; 0 is not written.
    pub event_time: u64,
    /// The sequence id of the message.
    pub sequence_id: Option<u64>,
    /// Whether the payload is null, a tombstone.
    pub null_value: bool,
    /// Whether compaction removed the message from the batch.
    pub compacted_out: bool,
}

/// Appends the size of the metadata (four bytes, big-endian) and the metadata to `buf`; the payload
/// comes next.
pub fn encode(buf: &mut Vec<u8>, meta: &SingleMetadataFields<'_>) {
    let start = buf.len();
    buf.extend_from_slice(&[0; 4]);
    for (key, value) in meta.properties {
        encode_key(tag::PROPERTIES, WireType::LengthDelimited, buf);
        encode_varint((text_len(key) + text_len(value)) as u64, buf);
        put_bytes(buf, tag::KEY, key.as_bytes());
        put_bytes(buf, tag::VALUE, value.as_bytes());
    }
    if let Some(key) = meta.partition_key {
        put_bytes(buf, tag::PARTITION_KEY, key.as_bytes());
    }
    // Sign-extended, as protobuf writes an int32.
    put_varint(buf, tag::PAYLOAD_SIZE, i64::from(meta.payload_size) as u64);
    put_flag(buf, tag::COMPACTED_OUT, meta.compacted_out);
    if meta.event_time != 0 {
        put_varint(buf, tag::EVENT_TIME, meta.event_time);
    }
    put_flag(buf, tag::KEY_B64, meta.key_b64);
    if let Some(key) = meta.ordering_key {
        put_bytes(buf, tag::ORDERING_KEY, key);
    }
    if let Some(sequence_id) = meta.sequence_id {
        put_varint(buf, tag::SEQUENCE_ID, sequence_id);
    }
    put_flag(buf, tag::NULL_VALUE, meta.null_value);
    put_flag(buf, tag::NULL_PARTITION_KEY, meta.null_partition_key);
    // A metadata of 4 GiB would be over every broker's message size long before.
    let len = (buf.len() - start - 4) as u32;
    buf[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn text_len(text: &str) -> usize {
    key_len(tag::KEY) + encoded_len_varint(text.len() as u64) + text.len()
}

fn put_varint(buf: &mut Vec<u8>, number: u32, value: u64) {
    encode_key(number, WireType::Varint, buf);
    encode_varint(value, buf);
}

fn put_flag(buf: &mut Vec<u8>, number: u32, value: bool) {
    if value {
        put_varint(buf, number, 1);
    }
}

fn put_bytes(buf: &mut Vec<u8>, number: u32, value: &[u8]) {
    encode_key(number, WireType::LengthDelimited, buf);
    encode_varint(value.len() as u64, buf);
    buf.extend_from_slice(value);
}

#[cfg(test)]
mod tests;
