//! Results to a topic.

use std::ops::Range;

use bytes::Bytes;
use pulsar_client::producer::{Key, MessageList, MessageOptions, Outgoing, ReceiptRun};
use pulsar_client::{Error, Producer};
use tokio::sync::oneshot;

use super::{Output, OutputError, Rejection, Writing};
use crate::failure::Failure;
use crate::record::Record;

/// Most records, and most bytes of results, of one list: a larger one would wait until nothing else is
/// pending at the producer.
const LIST: (usize, usize) = (1000, 1024 * 1024);

const ORIGINAL_MESSAGE_ID: &str = "original_message_id";
const DEVICE: &str = "device";
const PROCESSING_TYPE: &str = "processing_type";
const ERROR: &str = "error";
const OWN: [&str; 4] = [ORIGINAL_MESSAGE_ID, DEVICE, PROCESSING_TYPE, ERROR];

/// Forwards results to a topic.
///
/// A result keeps its input's key, ordering key, event time and properties, and gains these properties
/// (replacing the input's of the same name, which may itself be a result):
///
/// - `original_message_id`: the input's id as `ledger:entry:partition:batch index`
/// - `processing_type`: of the job
/// - `device`: such as `cpu:0`; absent where every attempt failed
/// - `error`: only on an error result, as `code: text`
///
/// The payload is the result. That of an error result is the input's own payload, so that the message
/// is still there once its input is acknowledged; or nothing where the result itself was what the topic
/// does not take.
///
/// Use a producer of its own without a send timeout: while the topic cannot be reached the pipeline
/// waits in order, where a timeout makes it write some results twice.
pub struct TopicOutput {
    producer: Producer,
}

impl TopicOutput {
    /// An output to the producer's topic.
    #[must_use]
    pub fn new(producer: Producer) -> Self {
        TopicOutput { producer }
    }

    /// Sends the records of one list; the answer comes when each has its receipt.
    fn send(&self, records: &[Record]) -> Result<oneshot::Receiver<Vec<ReceiptRun>>, Error> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(move |runs| {
            let _ = answer.send(runs);
        });
        // Waits for its turn where the producer is full; lists are admitted in order.
        self.producer
            .send(list(records), answer, Some(Box::new(|| {})))?;
        Ok(answered)
    }
}

impl Output for TopicOutput {
    fn write<'a>(&'a self, records: &'a [Record]) -> Writing<'a> {
        Box::pin(async move {
            // All lists are sent before the first receipt: one round trip for the whole write.
            let sent: Vec<_> = lists(records)
                .map(|range| {
                    let of_list = records.get(range.clone()).unwrap_or_default();
                    (range, self.send(of_list))
                })
                .collect();
            let mut error = OutputError::default();
            for (range, answered) in sent {
                let runs = match answered {
                    Ok(answered) => answered.await.map_err(|_| Error::Closed),
                    Err(refused) => Err(refused),
                };
                match runs {
                    Ok(runs) => note(&mut error, &range, records, runs),
                    Err(refused) => {
                        error.reason = refused.to_string();
                        error.unconfirmed.extend(range);
                    }
                }
            }
            if error.unconfirmed.is_empty() && error.rejected.is_empty() {
                return Ok(());
            }
            Err(error)
        })
    }
}

/// Adds what went wrong with a list to the write's error.
fn note(error: &mut OutputError, list: &Range<usize>, records: &[Record], runs: Vec<ReceiptRun>) {
    for run in runs {
        let Err(reason) = run.result else { continue };
        error.reason = reason.to_string();
        let first = list.start + run.first as usize;
        let places = first..(first + run.count as usize).min(list.end);
        if !matches!(reason, Error::MessageTooLarge { .. }) {
            error.unconfirmed.extend(places);
            continue;
        }
        // Alone, a message is what is too large. Several are so only together, where the producer's
        // batches may be larger than the broker's limit: the largest makes room for the others.
        let largest = places.clone().max_by_key(|at| size(records.get(*at)));
        error
            .unconfirmed
            .extend(places.filter(|at| Some(*at) != largest));
        error.rejected.extend(largest.map(|index| Rejection {
            index,
            failure: Failure::new(Failure::RESULT_TOO_LARGE, reason.to_string()),
        }));
    }
}

fn size(record: Option<&Record>) -> usize {
    record.map_or(0, |record| body(record).len())
}

/// The records of each list, as ranges of `records`.
fn lists(records: &[Record]) -> impl Iterator<Item = Range<usize>> + '_ {
    let (most, most_bytes) = LIST;
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(count, record): (usize, &Record)| {
            bytes += body(record).len();
            count == 0 || count < most && bytes <= most_bytes
        };
        let rest = records.get(start..).unwrap_or_default();
        let count = rest.iter().enumerate().map(fits).take_while(|f| *f).count();
        let range = start..start + count;
        start = range.end;
        (!range.is_empty()).then_some(range)
    })
}

fn body(record: &Record) -> Bytes {
    match &record.result {
        Ok(result) => result.clone(),
        Err(failure) if failure.code == Failure::RESULT_TOO_LARGE => Bytes::new(),
        Err(_) => record.payload(),
    }
}

fn list(records: &[Record]) -> MessageList {
    if let [record] = records {
        return MessageList::one(body(record), Some(Box::new(options(record))));
    }
    let mut buffer = Vec::with_capacity(records.iter().map(|r| body(r).len()).sum());
    let messages = records.iter().map(|record| {
        let start = buffer.len();
        buffer.extend_from_slice(&body(record));
        Outgoing {
            payload: Some(start..buffer.len()),
            options: Some(Box::new(options(record))),
        }
    });
    let messages = messages.collect();
    MessageList {
        buffer: buffer.into(),
        messages,
    }
}

fn options(record: &Record) -> MessageOptions {
    let message = record.message();
    let originals = message.properties.iter();
    let mut properties: Vec<_> = originals
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
        .cloned()
        .collect();
    let mut add = |name: &str, value: String| properties.push((name.to_owned(), value));
    add(ORIGINAL_MESSAGE_ID, record.message_id().to_string());
    add(PROCESSING_TYPE, record.run.processing_type.to_owned());
    if let Some(device) = &record.run.device {
        add(DEVICE, device.clone());
    }
    if let Err(failure) = &record.result {
        add(ERROR, failure.to_string());
    }
    MessageOptions {
        key: message.key.as_deref().map(Key::from),
        ordering_key: message.ordering_key.as_deref().map(<[u8]>::to_vec),
        properties,
        event_time: message.event_time,
        ..MessageOptions::default()
    }
}
