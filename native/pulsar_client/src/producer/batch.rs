//! The batch that is being filled, and the frame that it becomes.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use pulsar::message::proto::{CommandSend, KeyValue, MessageMetadata};
use tokio::time::Instant;

use super::message::MessageOptions;
use super::receipt::{ListReceipt, ReceiptRun, Stored};
use crate::error::Error;
use crate::wire::compression::Compression;
use crate::wire::frame::{self, Outbound};
use crate::wire::single_metadata::{self, SingleMetadataFields};

/// What the broker's frames may hold beside its largest message: `Commands.MESSAGE_SIZE_FRAME_PADDING`.
const FRAME_PADDING: usize = 10 * 1024;

/// More than a SEND command takes.
const COMMAND_SIZE: usize = 128;

/// Neighbouring messages of a list that are neighbours in a batch too.
#[derive(Debug)]
struct Run {
    list: Arc<ListReceipt>,
    list_index: u32,
    batch_index: u32,
    count: u32,
}

/// One message on its way into a batch.
pub(super) struct Item<'a> {
    pub(super) list: &'a Arc<ListReceipt>,
    pub(super) list_index: u32,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) options: Option<&'a MessageOptions>,
    pub(super) sequence_id: u64,
    pub(super) deadline: Option<Instant>,
}

/// A batch being filled.
#[derive(Default)]
pub(super) struct Batch {
    body: Vec<u8>,
    runs: Vec<Run>,
    messages: u32,
    payload_bytes: usize,
    last_payload: Option<usize>,
    first_sequence: u64,
    last_sequence: u64,
    first_options: Option<Box<MessageOptions>>,
    opened: Option<Instant>,
    deadline: Option<Instant>,
}

/// What a batch needs to know of its producer to become a frame.
pub(super) struct Sender<'a> {
    pub(super) producer_id: u64,
    pub(super) producer_name: &'a str,
    pub(super) compression: Compression,
    pub(super) max_message_size: usize,
    pub(super) publish_time: u64,
}

/// A batch on its way to the broker, or waiting for a connection.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) sequence_id: u64,
    pub(super) frame: Outbound,
    pub(super) deadline: Option<Instant>,
    /// Written more than once, a duplicate is our own first copy.
    pub(super) times_written: u32,
    pub(super) refusals: u32,
    pub(super) fate: Fate,
}

/// The messages of a batch, owed an answer.
#[derive(Debug)]
pub(super) struct Fate {
    runs: Vec<Run>,
    pub(super) messages: usize,
    pub(super) payload_bytes: usize,
    batch_size: i32,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    pub(super) fn messages(&self) -> usize {
        self.messages as usize
    }

    /// Bytes before compression.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    pub(super) fn opened(&self) -> Option<Instant> {
        self.opened
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn push(&mut self, item: &Item<'_>) {
        if self.is_empty() {
            self.first_sequence = item.sequence_id;
            self.first_options = item.options.cloned().map(Box::new);
            self.opened = Some(Instant::now());
            self.deadline = item.deadline;
        }
        let payload = item.payload.unwrap_or_default();
        let none = MessageOptions::default();
        let options = item.options.unwrap_or(&none);
        let fields = SingleMetadataFields {
            payload_size: payload.len() as i32,
            partition_key: options.key.as_ref().map(|key| key.text.as_str()),
            key_b64: options.key.as_ref().is_some_and(|key| key.base64),
            ordering_key: options.ordering_key.as_deref(),
            properties: &options.properties,
            event_time: options.event_time.unwrap_or_default(),
            sequence_id: Some(item.sequence_id),
            null_value: item.payload.is_none(),
            ..Default::default()
        };
        single_metadata::encode(&mut self.body, &fields);
        self.body.extend_from_slice(payload);
        self.last_payload = item.payload.map(<[u8]>::len);
        self.last_sequence = item.sequence_id;
        self.payload_bytes += payload.len();
        self.count_in(item);
        self.messages += 1;
    }

    fn count_in(&mut self, item: &Item<'_>) {
        if let Some(run) = self.runs.last_mut() {
            let follows = run.list_index + run.count == item.list_index;
            if follows && Arc::ptr_eq(&run.list, item.list) {
                run.count += 1;
                return;
            }
        }
        self.runs.push(Run {
            list: item.list.clone(),
            list_index: item.list_index,
            batch_index: self.messages,
            count: 1,
        });
    }

    /// Closes the batch. A batch of one travels as a plain message. One that the broker would not take
    /// comes back as its messages and the reason.
    pub(super) fn close(&mut self, sender: &Sender<'_>) -> Result<InFlight, (Fate, Error)> {
        let batch = std::mem::take(self);
        self.body = Vec::with_capacity(batch.body.len());
        let alone = batch.messages == 1;
        let fate = Fate {
            runs: batch.runs,
            messages: batch.messages as usize,
            payload_bytes: batch.payload_bytes,
            batch_size: if alone { 0 } else { batch.messages as i32 },
        };
        let mut metadata = MessageMetadata {
            producer_name: sender.producer_name.to_owned(),
            sequence_id: batch.first_sequence,
            publish_time: sender.publish_time,
            ..Default::default()
        };
        let body = if alone {
            let start = batch.body.len() - batch.last_payload.unwrap_or_default();
            describe_single(
                &mut metadata,
                batch.first_options,
                batch.last_payload.is_none(),
            );
            Bytes::from(batch.body).slice(start..)
        } else {
            describe_batch(&mut metadata, &batch.first_options);
            metadata.num_messages_in_batch = Some(batch.messages as i32);
            metadata.highest_sequence_id = Some(batch.last_sequence);
            Bytes::from(batch.body)
        };
        let payload = match compress(&mut metadata, sender.compression, body) {
            Ok(payload) => payload,
            Err(error) => return Err((fate, error)),
        };
        // The broker measures the payload, and closes the connection on a frame with too much beside it.
        let beside = (metadata.encoded_len() + COMMAND_SIZE).saturating_sub(FRAME_PADDING);
        if payload.len() + beside > sender.max_message_size {
            let (size, limit) = (payload.len() + beside, sender.max_message_size);
            return Err((fate, Error::MessageTooLarge { size, limit }));
        }
        let send = CommandSend {
            producer_id: sender.producer_id,
            sequence_id: batch.first_sequence,
            num_messages: Some(fate.messages as i32),
            highest_sequence_id: (!alone).then_some(batch.last_sequence),
            ..Default::default()
        };
        Ok(InFlight {
            sequence_id: batch.first_sequence,
            frame: frame::encode_send(&send, &metadata, payload),
            deadline: batch.deadline,
            times_written: 0,
            refusals: 0,
            fate,
        })
    }
}

fn describe_single(
    metadata: &mut MessageMetadata,
    options: Option<Box<MessageOptions>>,
    null_value: bool,
) {
    metadata.null_value = null_value.then_some(true);
    let Some(options) = options else { return };
    let options = *options;
    if let Some(key) = options.key {
        metadata.partition_key_b64_encoded = key.base64.then_some(true);
        metadata.partition_key = Some(key.text);
    }
    metadata.ordering_key = options.ordering_key;
    metadata.properties = options
        .properties
        .into_iter()
        .map(|(key, value)| KeyValue { key, value })
        .collect();
    metadata.event_time = options.event_time;
    metadata.deliver_at_time = options.deliver_at;
}

/// As the Java client does, a batch carries the key of its first message.
fn describe_batch(metadata: &mut MessageMetadata, first: &Option<Box<MessageOptions>>) {
    let Some(first) = first else { return };
    if let Some(key) = &first.key {
        metadata.partition_key = Some(key.text.clone());
        metadata.partition_key_b64_encoded = key.base64.then_some(true);
    }
    metadata.ordering_key = first.ordering_key.clone();
}

fn compress(
    metadata: &mut MessageMetadata,
    compression: Compression,
    body: Bytes,
) -> Result<Bytes, Error> {
    if compression == Compression::None {
        return Ok(body);
    }
    metadata.compression = Some(compression.to_proto() as i32);
    metadata.uncompressed_size = Some(body.len() as u32);
    match compression.compress(&body) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Error::Compression(error.to_string())),
    }
}

/// Where a batch was stored.
pub(super) struct Position<'a> {
    pub(super) topic: &'a Arc<str>,
    pub(super) partition: i32,
    pub(super) ledger_id: u64,
    pub(super) entry_id: u64,
}

impl Fate {
    /// Tells every list where its messages are.
    pub(super) fn stored(self, at: &Position<'_>) {
        let batched = self.batch_size > 0;
        for run in self.runs {
            let stored = Stored::At {
                topic: at.topic.clone(),
                partition: at.partition,
                ledger_id: at.ledger_id,
                entry_id: at.entry_id,
                batch_size: self.batch_size,
                first_index: if batched { run.batch_index as i32 } else { -1 },
            };
            let (first, count) = (run.list_index, run.count);
            run.list.resolve(ReceiptRun {
                first,
                count,
                result: Ok(stored),
            });
        }
    }

    /// Tells every list the same.
    pub(super) fn all(self, result: Result<Stored, Error>) {
        for run in self.runs {
            let (first, count) = (run.list_index, run.count);
            run.list.resolve(ReceiptRun {
                first,
                count,
                result: result.clone(),
            });
        }
    }
}
