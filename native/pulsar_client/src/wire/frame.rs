//! Frames: `[total u32][command size u32][command]`, and for payloads then
//! `[0x0e01][crc32c u32][metadata size u32][metadata][payload]`.
//! Source: "Pulsar binary protocol specification", section "Framing".

use bytes::{Buf, Bytes, BytesMut};
use prost::encoding::{decode_key, decode_varint, encode_key, encode_varint, WireType};
use prost::Message as _;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{self, BaseCommand};

use super::checksum::crc32c;

const CHECKSUM_MAGIC: u16 = 0x0e01;
const BROKER_ENTRY_MAGIC: u16 = 0x0e02;

/// Room for command and metadata beside the broker's largest message, as in the Java client.
pub const FRAME_SLACK: usize = 64 * 1024;

/// The broker's default `maxMessageSize`, assumed until the handshake names one.
pub const DEFAULT_MAX_MESSAGE_SIZE: usize = 5 * 1024 * 1024;

/// Why a frame or the payload part of one cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The size field promises more than the broker may send.
    #[error("a frame of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Promised size.
        size: usize,
        /// Largest size accepted.
        limit: usize,
    },
    /// Sizes inside the frame contradict each other.
    #[error("a frame's sizes contradict each other")]
    Malformed,
    /// The command is not the protocol buffer it should be.
    #[error("a command cannot be decoded: {0}")]
    Command(String),
    /// The payload's checksum does not match.
    #[error("checksum mismatch: the frame says {expected:#010x}, its bytes {actual:#010x}")]
    Checksum {
        /// What the frame says.
        expected: u32,
        /// What was computed.
        actual: u32,
    },
    /// The metadata is not the protocol buffer it should be.
    #[error("the metadata cannot be decoded: {0}")]
    Metadata(String),
}

/// One frame from the broker.
#[derive(Debug)]
pub enum Inbound {
    /// A message (an entry: one message or a batch) for a consumer. The payload part is not yet checked.
    Message {
        /// The command.
        command: proto::CommandMessage,
        /// Everything after the command.
        payload: Bytes,
    },
    /// A receipt for a producer.
    Receipt(proto::CommandSendReceipt),
    /// Any other command.
    Other(Box<BaseCommand>),
}

/// Takes the next whole frame out of `buffer`; `None` asks for more bytes. Never reserves more than the
/// frame's size, which is at most `limit`.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Inbound>, FrameError> {
    let Some(size) = buffer
        .first_chunk::<4>()
        .map(|size| u32::from_be_bytes(*size) as usize)
    else {
        return Ok(None);
    };
    if size > limit {
        return Err(FrameError::TooLarge { size, limit });
    }
    if size < 4 {
        return Err(FrameError::Malformed);
    }
    if buffer.len() < size + 4 {
        buffer.reserve(size + 4 - buffer.len());
        return Ok(None);
    }
    let mut frame = buffer.split_to(size + 4).freeze();
    frame.advance(4);
    let command_size = frame.get_u32() as usize;
    if command_size > frame.len() {
        return Err(FrameError::Malformed);
    }
    let command = frame.split_to(command_size);
    decode_command(command, frame).map(Some)
}

/// The two commands of the data path are decoded without passing through `BaseCommand`, a struct of
/// several kilobytes.
fn decode_command(command: Bytes, payload: Bytes) -> Result<Inbound, FrameError> {
    let failed = |error: prost::DecodeError| FrameError::Command(error.to_string());
    if let Some((tag, body)) = sole_field(&command) {
        if tag == Type::Message as u32 {
            let command = proto::CommandMessage::decode(body).map_err(failed)?;
            return Ok(Inbound::Message { command, payload });
        }
        if tag == Type::SendReceipt as u32 {
            return proto::CommandSendReceipt::decode(body)
                .map(Inbound::Receipt)
                .map_err(failed);
        }
    }
    let command = BaseCommand::decode(command).map_err(failed)?;
    match command {
        BaseCommand {
            message: Some(message),
            ..
        } => Ok(Inbound::Message {
            command: message,
            payload,
        }),
        BaseCommand {
            send_receipt: Some(receipt),
            ..
        } => Ok(Inbound::Receipt(receipt)),
        command => Ok(Inbound::Other(Box::new(command))),
    }
}

/// The number and bytes of a command's one field beside its type, if it has just that shape and the
/// number is the type's own. (For every command of the data path the two are equal.)
fn sole_field(command: &[u8]) -> Option<(u32, &[u8])> {
    let mut rest = command;
    let (tag, wire) = decode_key(&mut rest).ok()?;
    if tag != 1 || wire != WireType::Varint {
        return None;
    }
    let kind = decode_varint(&mut rest).ok()?;
    let (tag, wire) = decode_key(&mut rest).ok()?;
    let size = decode_varint(&mut rest).ok()?;
    let whole = wire == WireType::LengthDelimited && size == rest.len() as u64;
    (whole && u64::from(tag) == kind).then_some((tag, rest))
}

/// A frame to the broker, in at most two pieces so that payloads are not copied again.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Everything before the payload.
    pub head: Bytes,
    /// The payload; empty for plain commands.
    pub payload: Bytes,
}

/// A frame without payload.
pub fn encode_command(command: &BaseCommand) -> Outbound {
    let size = command.encoded_len();
    let mut head = Vec::with_capacity(size + 8);
    head.extend_from_slice(&(size as u32 + 4).to_be_bytes());
    head.extend_from_slice(&(size as u32).to_be_bytes());
    command.encode_raw(&mut head);
    Outbound {
        head: head.into(),
        payload: Bytes::new(),
    }
}

/// A SEND frame: command, checksum, metadata, payload.
pub fn encode_send(
    send: &proto::CommandSend,
    metadata: &proto::MessageMetadata,
    payload: Bytes,
) -> Outbound {
    let send_size = send.encoded_len();
    let mut command = Vec::with_capacity(send_size + 16);
    encode_key(1, WireType::Varint, &mut command);
    encode_varint(Type::Send as u64, &mut command);
    encode_key(Type::Send as u32, WireType::LengthDelimited, &mut command);
    encode_varint(send_size as u64, &mut command);
    send.encode_raw(&mut command);

    let metadata_size = metadata.encoded_len();
    let total = 4 + command.len() + 2 + 4 + 4 + metadata_size + payload.len();
    let mut head = Vec::with_capacity(4 + total - payload.len());
    head.extend_from_slice(&(total as u32).to_be_bytes());
    head.extend_from_slice(&(command.len() as u32).to_be_bytes());
    head.extend_from_slice(&command);
    head.extend_from_slice(&CHECKSUM_MAGIC.to_be_bytes());
    let checksum_at = head.len();
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&(metadata_size as u32).to_be_bytes());
    metadata.encode_raw(&mut head);
    let (before, covered) = head.split_at_mut(checksum_at + 4);
    let checksum = crc32c(&[covered, &payload]);
    before[checksum_at..].copy_from_slice(&checksum.to_be_bytes());
    Outbound {
        head: head.into(),
        payload,
    }
}

/// Checks and splits the payload part of a message frame.
pub fn decode_payload(bytes: Bytes) -> Result<(proto::MessageMetadata, Bytes), FrameError> {
    let (checksum, rest) = split_checksum(bytes)?;
    if let Some(expected) = checksum {
        let actual = crc32c(&[&rest]);
        if expected != actual {
            return Err(FrameError::Checksum { expected, actual });
        }
    }
    decode_metadata(rest)
}

/// The metadata of a payload part that failed its checks, as far as it can be made out.
pub fn guess_metadata(bytes: Bytes) -> Option<proto::MessageMetadata> {
    let (_, rest) = split_checksum(bytes).ok()?;
    decode_metadata(rest).ok().map(|(metadata, _)| metadata)
}

fn split_checksum(mut bytes: Bytes) -> Result<(Option<u32>, Bytes), FrameError> {
    if magic(&bytes) == Some(BROKER_ENTRY_MAGIC) {
        bytes.advance(2);
        let size = take_u32(&mut bytes)? as usize;
        if size > bytes.len() {
            return Err(FrameError::Malformed);
        }
        bytes.advance(size);
    }
    if magic(&bytes) == Some(CHECKSUM_MAGIC) {
        bytes.advance(2);
        let checksum = take_u32(&mut bytes)?;
        return Ok((Some(checksum), bytes));
    }
    Ok((None, bytes))
}

fn decode_metadata(mut bytes: Bytes) -> Result<(proto::MessageMetadata, Bytes), FrameError> {
    let size = take_u32(&mut bytes)? as usize;
    if size > bytes.len() {
        return Err(FrameError::Malformed);
    }
    let metadata = proto::MessageMetadata::decode(bytes.split_to(size))
        .map_err(|error| FrameError::Metadata(error.to_string()))?;
    Ok((metadata, bytes))
}

fn magic(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|magic| u16::from_be_bytes(*magic))
}

fn take_u32(bytes: &mut Bytes) -> Result<u32, FrameError> {
    if bytes.len() < 4 {
        return Err(FrameError::Malformed);
    }
    Ok(bytes.get_u32())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn send_frame(payload: &[u8]) -> Vec<u8> {
        let send = proto::CommandSend {
            producer_id: 1,
            sequence_id: 2,
            ..Default::default()
        };
        let metadata = proto::MessageMetadata {
            producer_name: "p".into(),
            ..Default::default()
        };
        let frame = encode_send(&send, &metadata, Bytes::copy_from_slice(payload));
        [frame.head.as_ref(), frame.payload.as_ref()].concat()
    }

    fn payload_of(frame: &[u8]) -> Bytes {
        let command = u32::from_be_bytes(frame[4..8].try_into().unwrap()) as usize;
        Bytes::copy_from_slice(&frame[8 + command..])
    }

    #[test]
    fn a_send_frame_is_what_prost_writes_and_its_payload_reads_back() {
        let frame = send_frame(b"hello");
        let size = u32::from_be_bytes(frame[4..8].try_into().unwrap()) as usize;
        let command = BaseCommand::decode(&frame[8..8 + size]).unwrap();
        assert_eq!(command.r#type(), Type::Send);
        assert_eq!(command.send.unwrap().sequence_id, 2);
        let (metadata, payload) = decode_payload(payload_of(&frame)).unwrap();
        assert_eq!(metadata.producer_name, "p");
        assert_eq!(&payload[..], b"hello");
    }

    #[test]
    fn every_flipped_bit_of_metadata_or_payload_is_noticed() {
        let whole = payload_of(&send_frame(b"hello"));
        for bit in 16..whole.len() * 8 {
            let mut bytes = whole.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_payload(bytes.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_promised_size_over_the_limit_reserves_nothing() {
        let mut buffer = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        let error = decode(&mut buffer, 1000).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLarge {
                size: u32::MAX as usize,
                limit: 1000
            }
        );
        assert!(buffer.capacity() < 1000);
    }

    proptest! {
        #[test]
        fn both_decoders_agree(consumer_id: u64, ledger: u64, entry: u64, count: u32, ack_set: Vec<i64>) {
            let message = proto::CommandMessage {
                consumer_id,
                message_id: proto::MessageIdData { ledger_id: ledger, entry_id: entry, ..Default::default() },
                redelivery_count: Some(count),
                ack_set,
                ..Default::default()
            };
            let command = BaseCommand {
                r#type: Type::Message as i32,
                message: Some(message.clone()),
                ..Default::default()
            };
            let mut buffer = BytesMut::from(&encode_command(&command).head[..]);
            match decode(&mut buffer, 1 << 20) {
                Ok(Some(Inbound::Message { command, .. })) => prop_assert_eq!(command, message),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
