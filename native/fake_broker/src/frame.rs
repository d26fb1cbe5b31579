//! Frames on the wire, written without a look at the client's codec so that the two check each other.
//!
//! A simple command is `[total size][command size][command]`; one with a payload goes on with
//! `[0x0e01][CRC32C][metadata size][metadata][payload]`. Sizes are big-endian `u32` and the checksum
//! covers all that follows it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use pulsar::message::proto::BaseCommand;

const MAGIC: u16 = 0x0e01;

/// One command with what follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The command.
    pub command: Box<BaseCommand>,
    /// Metadata and payload, for `SEND` and `MESSAGE`.
    pub payload: Option<Payload>,
}

/// The entry in a `SEND` or `MESSAGE` frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// The encoded `MessageMetadata`.
    pub metadata: Bytes,
    /// What follows the metadata: compressed, batched or neither.
    pub body: Bytes,
    /// Whether the frame's checksum was right (always true for frames to be written).
    pub intact: bool,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The sizes contradict each other or the limit.
    #[error("frame sizes contradict each other or the limit")]
    Size,
    /// The magic number in front of the checksum is missing.
    #[error("no checksum in front of the metadata")]
    Magic,
    /// The command is not valid protobuf.
    #[error("malformed command: {0}")]
    Command(#[from] prost::DecodeError),
}

impl Frame {
    /// A command on its own.
    #[must_use]
    pub fn simple(command: BaseCommand) -> Self {
        Self {
            command: Box::new(command),
            payload: None,
        }
    }

    /// A command with an entry.
    #[must_use]
    pub fn with_payload(command: BaseCommand, metadata: Bytes, body: Bytes) -> Self {
        let payload = Payload {
            metadata,
            body,
            intact: true,
        };
        Self {
            command: Box::new(command),
            payload: Some(payload),
        }
    }

    /// The bytes of this frame.
    #[must_use]
    pub fn encode(&self) -> BytesMut {
        let mut buffer = BytesMut::new();
        buffer.put_u32(0);
        buffer.put_u32(self.command.encoded_len() as u32);
        buffer.extend_from_slice(&self.command.encode_to_vec());
        if let Some(payload) = &self.payload {
            let metadata_size = (payload.metadata.len() as u32).to_be_bytes();
            let crc = crc32c::crc32c(&metadata_size);
            let crc = crc32c::crc32c_append(crc, &payload.metadata);
            let crc = crc32c::crc32c_append(crc, &payload.body);
            buffer.put_u16(MAGIC);
            buffer.put_u32(crc);
            buffer.extend_from_slice(&metadata_size);
            buffer.extend_from_slice(&payload.metadata);
            buffer.extend_from_slice(&payload.body);
        }
        let total = (buffer.len() - 4) as u32;
        buffer[..4].copy_from_slice(&total.to_be_bytes());
        buffer
    }

    /// Takes the first frame off `buffer`, or `None` while it is incomplete.
    ///
    /// # Errors
    /// When the bytes are no frame, or one larger than `limit`.
    pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Self>, FrameError> {
        if buffer.len() < 4 {
            return Ok(None);
        }
        let total = (&buffer[..4]).get_u32() as usize;
        if total > limit {
            return Err(FrameError::Size);
        }
        if buffer.len() < 4 + total {
            return Ok(None);
        }
        buffer.advance(4);
        let mut frame = buffer.split_to(total).freeze();
        let command = BaseCommand::decode(take(&mut frame)?)?;
        let payload = if frame.is_empty() {
            None
        } else {
            Some(Payload::decode(frame)?)
        };
        Ok(Some(Self {
            command: Box::new(command),
            payload,
        }))
    }
}

impl Payload {
    fn decode(mut rest: Bytes) -> Result<Self, FrameError> {
        if rest.len() < 6 || rest.get_u16() != MAGIC {
            return Err(FrameError::Magic);
        }
        let intact = rest.get_u32() == crc32c::crc32c(&rest);
        let metadata = take(&mut rest)?;
        Ok(Self {
            metadata,
            body: rest,
            intact,
        })
    }
}

/// A field behind its size.
fn take(bytes: &mut Bytes) -> Result<Bytes, FrameError> {
    let size = bytes.try_get_u32().map_err(|_| FrameError::Size)? as usize;
    if size > bytes.len() {
        return Err(FrameError::Size);
    }
    Ok(bytes.split_to(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn a_ping_is_these_bytes() {
        let frame = Frame::simple(command::ping());
        let bytes = [0, 0, 0, 9, 0, 0, 0, 5, 0x08, 18, 0x92, 1, 0];
        assert_eq!(frame.encode(), bytes[..]);
    }

    #[test]
    fn a_damaged_entry_is_noticed() {
        let frame = Frame::with_payload(
            command::ping(),
            Bytes::from_static(b"meta"),
            Bytes::from_static(b"body"),
        );
        let good = frame.encode();
        for at in good.len() - 12..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            // Damage to the metadata's size makes the frame unreadable instead.
            if let Ok(Some(frame)) = Frame::decode(&mut bad, LIMIT) {
                assert!(!frame.payload.unwrap().intact);
            }
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_header() {
        let mut bytes = BytesMut::from(&[0, 0x10, 0, 1][..]);
        assert!(matches!(
            Frame::decode(&mut bytes, LIMIT),
            Err(FrameError::Size)
        ));
    }

    proptest! {
        #[test]
        fn round_trip(metadata: Vec<u8>, body: Vec<u8>, cut: prop::sample::Index) {
            let frame = Frame::with_payload(command::pong(), metadata.into(), body.into());
            let bytes = frame.encode();
            let mut part = BytesMut::from(&bytes[..cut.index(bytes.len())]);
            prop_assert!(Frame::decode(&mut part, LIMIT).unwrap().is_none());
            let mut twice = BytesMut::from(&[&bytes[..], &bytes[..]].concat()[..]);
            for _ in 0..2 {
                let decoded = Frame::decode(&mut twice, LIMIT).unwrap();
                prop_assert_eq!(decoded.as_ref(), Some(&frame));
            }
            prop_assert!(twice.is_empty());
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let mut framed = BytesMut::from(&(bytes.len() as u32).to_be_bytes()[..]);
            framed.extend_from_slice(&bytes);
            let _ = Frame::decode(&mut framed, LIMIT);
        }
    }
}
