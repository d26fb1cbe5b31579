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

    /// Sends a list; the answer comes when each of its messages has its receipt.
    fn send(&self, list: MessageList) -> Result<oneshot::Receiver<Vec<ReceiptRun>>, Error> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(move |runs| {
            let _ = answer.send(runs);
        });
        // Waits for its turn where the producer is full; lists are admitted in order.
        self.producer.send(list, answer, Some(Box::new(|| {})))?;
        Ok(answered)
    }
}

impl Output for TopicOutput {
    fn write<'a>(&'a self, records: &'a [Record]) -> Writing<'a> {
        Box::pin(async move {
            let bodies: Vec<Bytes> = records.iter().map(body).collect();
            // All lists are sent before the first receipt: one round trip for the whole write.
            let sent: Vec<_> = lists(&bodies)
                .map(|range| {
                    let list = list(&records[range.clone()], &bodies[range.clone()]);
                    (range, self.send(list))
                })
                .collect();
            let mut error = OutputError::default();
            for (range, answered) in sent {
                let runs = match answered {
                    Ok(answered) => answered.await.map_err(|_| Error::Closed),
                    Err(refused) => Err(refused),
                };
                match runs {
                    Ok(runs) => note(&mut error, &range, &bodies, runs),
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
fn note(error: &mut OutputError, list: &Range<usize>, bodies: &[Bytes], runs: Vec<ReceiptRun>) {
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
        let largest = places
            .clone()
            .max_by_key(|at| bodies.get(*at).map(Bytes::len));
        error
            .unconfirmed
            .extend(places.filter(|at| Some(*at) != largest));
        error.rejected.extend(largest.map(|index| Rejection {
            index,
            failure: Failure::new(Failure::RESULT_TOO_LARGE, reason.to_string()),
        }));
    }
}

/// The records of each list, as ranges of all.
fn lists(bodies: &[Bytes]) -> impl Iterator<Item = Range<usize>> + '_ {
    let (most, most_bytes) = LIST;
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut end = start;
        let mut bytes = 0;
        for body in bodies.iter().skip(start).take(most) {
            bytes += body.len();
            if end > start && bytes > most_bytes {
                break;
            }
            end += 1;
        }
        let list = start..end;
        start = end;
        (!list.is_empty()).then_some(list)
    })
}

/// What a record's payload is in the topic.
fn body(record: &Record) -> Bytes {
    match &record.result {
        Ok(result) => result.clone(),
        Err(failure) if failure.code == Failure::RESULT_TOO_LARGE => Bytes::new(),
        Err(_) => record.payload(),
    }
}

fn list(records: &[Record], bodies: &[Bytes]) -> MessageList {
    if let ([record], [body]) = (records, bodies) {
        return MessageList::one(body.clone(), Some(Box::new(options(record))));
    }
    let mut buffer = Vec::with_capacity(bodies.iter().map(Bytes::len).sum());
    let messages = records.iter().zip(bodies).map(|(record, body)| {
        let start = buffer.len();
        buffer.extend_from_slice(body);
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

#[cfg(test)]
mod tests {
    use super::*;
    use pulsar_client::producer::Stored;

    fn bodies(sizes: &[usize]) -> Vec<Bytes> {
        sizes.iter().map(|size| vec![0; *size].into()).collect()
    }

    #[test]
    fn lists_are_bounded_and_leave_nobody_out() {
        let ranges = |sizes: &[usize]| lists(&bodies(sizes)).collect::<Vec<_>>();
        assert!(ranges(&[]).is_empty());
        assert_eq!(ranges(&[1; 2500]), [0..1000, 1000..2000, 2000..2500]);
        let mib = 1024 * 1024;
        assert_eq!(ranges(&[mib, 1, 2 * mib, 1, 1]), [0..1, 1..2, 2..3, 3..5]);
        assert_eq!(ranges(&[mib / 2, mib / 2, 0, 1]), [0..3, 3..4]);
    }

    #[test]
    fn of_several_that_are_too_large_together_only_the_largest_is_rejected() {
        let run = |first, count, result| ReceiptRun {
            first,
            count,
            result,
        };
        let runs = vec![
            run(0, 1, Ok(Stored::Already)),
            run(1, 3, Err(Error::MessageTooLarge { size: 9, limit: 8 })),
            run(4, 1, Err(Error::SendTimeout)),
        ];
        let mut error = OutputError::default();
        let sizes = bodies(&[9, 9, 9, 9, 9, 1, 2, 5, 3, 1]);
        note(&mut error, &(5..10), &sizes, runs);
        assert_eq!(error.unconfirmed, [6, 8, 9]);
        let rejected: Vec<_> = error.rejected.iter().map(|r| r.index).collect();
        assert_eq!(rejected, [7]);
        assert_eq!(error.rejected[0].failure.code, Failure::RESULT_TOO_LARGE);
    }
}
