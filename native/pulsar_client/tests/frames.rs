//! Whatever bytes come, decoding them neither panics nor takes memory that they do not pay for.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{self, BaseCommand, CommandMessage, MessageIdData, MessageMetadata};
use pulsar_client::wire::compression::Compression;
use pulsar_client::wire::entry::{self, Origin};
use pulsar_client::wire::frame;
use pulsar_client::wire::single_metadata::{self, SingleMetadataFields};

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, which counts what this thread holds and held at most.
struct Counting;

fn count(change: isize) {
    // Not while the thread ends.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that a call holds at once.
fn peak(call: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    call();
    (PEAK.get() - before) as usize
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn origin() -> Origin {
    Origin {
        topic: "t".into(),
        partition: -1,
    }
}

fn command_message() -> CommandMessage {
    CommandMessage {
        consumer_id: 1,
        message_id: MessageIdData {
            ledger_id: 1,
            entry_id: 2,
            ..Default::default()
        },
        ..Default::default()
    }
}

fn batch(count: usize, compression: Compression) -> (MessageMetadata, Vec<u8>) {
    let mut body = Vec::new();
    for index in 0..count {
        let properties = [("name".to_owned(), index.to_string())];
        let fields = SingleMetadataFields {
            payload_size: 20,
            partition_key: Some("key"),
            properties: &properties,
            sequence_id: Some(index as u64),
            ..Default::default()
        };
        single_metadata::encode(&mut body, &fields);
        body.extend_from_slice(&[b'x'; 20]);
    }
    let metadata = MessageMetadata {
        producer_name: "p".to_owned(),
        num_messages_in_batch: Some(count as i32),
        compression: Some(compression.to_proto() as i32),
        uncompressed_size: Some(body.len() as u32),
        ..Default::default()
    };
    let body = if compression == Compression::None {
        body
    } else {
        compression.compress(&body).unwrap()
    };
    (metadata, body)
}

/// The payload part of a message frame, with or without its checksum.
fn payload_part(metadata: &MessageMetadata, body: &[u8], checksum: bool) -> Vec<u8> {
    let mut rest = (metadata.encoded_len() as u32).to_be_bytes().to_vec();
    rest.extend_from_slice(&metadata.encode_to_vec());
    rest.extend_from_slice(body);
    if !checksum {
        return rest;
    }
    let mut part = vec![0x0e, 0x01];
    part.extend_from_slice(&pulsar_client::wire::checksum::crc32c(&[&rest]).to_be_bytes());
    part.extend_from_slice(&rest);
    part
}

fn framed(command: &BaseCommand, payload: &[u8]) -> Vec<u8> {
    let command = command.encode_to_vec();
    let mut bytes = ((4 + command.len() + payload.len()) as u32)
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(&(command.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&command);
    bytes.extend_from_slice(payload);
    bytes
}

fn corpus() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let message = BaseCommand {
        r#type: Type::Message as i32,
        message: Some(command_message()),
        ..Default::default()
    };
    let error = BaseCommand {
        r#type: Type::Error as i32,
        error: Some(proto::CommandError {
            request_id: 1,
            error: 3,
            message: "no".to_owned(),
        }),
        ..Default::default()
    };
    let receipt = BaseCommand {
        r#type: Type::SendReceipt as i32,
        send_receipt: Some(proto::CommandSendReceipt {
            producer_id: 1,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut parts = Vec::new();
    for codec in [
        Compression::None,
        Compression::Lz4,
        Compression::Zlib,
        Compression::Zstd,
        Compression::Snappy,
    ] {
        for count in [1, 30] {
            let (metadata, body) = batch(count, codec);
            // Without checksum, what was changed is looked at and not just refused.
            parts.push(payload_part(&metadata, &body, false));
            parts.push(payload_part(&metadata, &body, true));
        }
    }
    let single = MessageMetadata {
        producer_name: "p".to_owned(),
        ..Default::default()
    };
    parts.push(payload_part(&single, b"payload", false));
    let mut frames: Vec<_> = parts.iter().map(|part| framed(&message, part)).collect();
    frames.push(framed(&error, &[]));
    frames.push(framed(&receipt, &[]));
    (frames, parts)
}

fn mutate(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.extend((0..random.below(20)).map(|n| n as u8)),
            2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            3 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            4 if at + 4 <= bytes.len() => bytes[at..at + 4].fill(0xff),
            5 => bytes.insert(at.min(bytes.len()), random.next() as u8),
            6 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes
}

const LIMIT: usize = frame::DEFAULT_MAX_MESSAGE_SIZE + frame::FRAME_SLACK;

#[test]
fn mutated_and_random_frames() {
    let (frames, parts) = corpus();
    let mut random = Random(1);
    let mut decoded = [0; 3];
    for round in 0..100_000 {
        let mut bytes = if round % 10 == 0 {
            (0..random.below(64)).map(|_| random.next() as u8).collect()
        } else {
            let original = &frames[random.below(frames.len())];
            mutate(&mut random, original)
        };
        if round % 3 == 0 && bytes.len() >= 4 {
            // With its size put right, so that the inside is looked at.
            let size = (bytes.len() - 4) as u32;
            bytes[..4].copy_from_slice(&size.to_be_bytes());
        }
        let length = bytes.len();
        let peak = peak(|| {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = frame::decode(&mut buffer, LIMIT) {
                decoded[0] += 1;
            }
        });
        // Up to one frame's promise, and it is bounded.
        assert!(
            peak <= LIMIT + 64 * length + 64 * 1024,
            "{peak} bytes for {length}: {bytes:?}"
        );

        let original = &parts[random.below(parts.len())];
        let part = Bytes::from(mutate(&mut random, original));
        let _ = frame::decode_payload(part.clone()).map(|_| decoded[1] += 1);
        let _ = entry::permits_of_undecodable(&command_message(), part.clone());
        let ack_set: Vec<i64> = (0..random.below(3)).map(|_| random.next() as i64).collect();
        let command = CommandMessage {
            ack_set,
            ..command_message()
        };
        if let Ok(entry) = entry::decode(&origin(), &command, part) {
            decoded[2] += 1;
            let inside = |range: &std::ops::Range<usize>| {
                range.end <= entry.buffer.len() && range.start <= range.end
            };
            assert!(entry
                .messages
                .iter()
                .filter_map(|m| m.payload.as_ref())
                .all(inside));
            assert!(
                entry.batch_size >= 0 && entry.messages.len() <= entry.batch_size.max(1) as usize
            );
        }
    }
    // Both outcomes are seen, and often.
    assert!(
        decoded.iter().all(|count| (5_000..110_000).contains(count)),
        "{decoded:?}"
    );
}

#[test]
fn claims_are_not_believed() {
    let (metadata, body) = batch(3, Compression::Zstd);
    let zeros = vec![0; 8 << 20];
    let lies = [
        (
            MessageMetadata {
                num_messages_in_batch: Some(i32::MAX),
                ..metadata.clone()
            },
            body.clone(),
        ),
        (
            MessageMetadata {
                num_messages_in_batch: Some(i32::MIN),
                ..metadata.clone()
            },
            body.clone(),
        ),
        (
            MessageMetadata {
                uncompressed_size: Some(u32::MAX),
                ..metadata.clone()
            },
            body.clone(),
        ),
        (
            MessageMetadata {
                uncompressed_size: Some(1),
                ..metadata.clone()
            },
            zstd::bulk::compress(&zeros, 1).unwrap(),
        ),
        (
            MessageMetadata {
                num_chunks_from_msg: Some(i32::MAX),
                ..metadata.clone()
            },
            body.clone(),
        ),
    ];
    for (metadata, body) in lies {
        let part = Bytes::from(payload_part(&metadata, &body, true));
        let peak = peak(|| {
            assert!(entry::decode(&origin(), &command_message(), part.clone()).is_err());
            let _ = entry::permits_of_undecodable(&command_message(), part);
        });
        assert!(peak < 1 << 20, "{peak} bytes for {metadata:?}");
    }
}

/// The smallest messages there are, as many as a bomb of a few kilobytes can hold.
#[test]
fn a_bomb_of_empty_messages_takes_no_more_than_what_it_unpacks_to_can_hold() {
    let count = 5_000_000;
    let mut body = Vec::with_capacity(count * 6);
    for _ in 0..count {
        body.extend_from_slice(&[0, 0, 0, 2, 24, 0]);
    }
    let metadata = MessageMetadata {
        num_messages_in_batch: Some(count as i32),
        compression: Some(Compression::Zstd.to_proto() as i32),
        uncompressed_size: Some(body.len() as u32),
        ..Default::default()
    };
    let bomb = zstd::bulk::compress(&body, 1).unwrap();
    assert!(bomb.len() < 1 << 20);
    let part = Bytes::from(payload_part(&metadata, &bomb, true));
    let peak = peak(|| drop(entry::decode(&origin(), &command_message(), part)));
    assert!(peak < 512 << 20, "{peak} bytes");
}

/// Properties without name and value: two bytes each.
#[test]
fn a_bomb_of_empty_properties_is_bounded_as_well() {
    let count = 20_000_000;
    let mut single = vec![24, 0];
    for _ in 0..count {
        single.extend_from_slice(&[10, 0]);
    }
    let mut body = (single.len() as u32).to_be_bytes().to_vec();
    body.extend_from_slice(&single);
    let metadata = MessageMetadata {
        num_messages_in_batch: Some(1),
        compression: Some(Compression::Zstd.to_proto() as i32),
        uncompressed_size: Some(body.len() as u32),
        ..Default::default()
    };
    let bomb = zstd::bulk::compress(&body, 1).unwrap();
    let part = Bytes::from(payload_part(&metadata, &bomb, true));
    let peak = peak(|| drop(entry::decode(&origin(), &command_message(), part)));
    assert!(peak < 512 << 20, "{peak} bytes");
}
