//! What an output gets, and what happens when it refuses.

use std::sync::{Arc, Mutex};

use fake_broker::Broker;
use pipeline::{Failure, Output, OutputError, Record, Rejection, Writing};
use pulsar::message::proto::{KeyValue, MessageMetadata, SingleMessageMetadata};

use crate::devices::TestDevice;
use crate::rig::{numbered, property, soon, text, Rig, IN};

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn publish_correlated(broker: &Broker) {
    let single = SingleMessageMetadata {
        partition_key: Some("k1".to_owned()),
        ordering_key: Some(b"order".to_vec()),
        event_time: Some(123_456),
        properties: vec![
            pair("correlation_id", "c-1"),
            pair("device", "cpu:99"),
            pair("error", "of an earlier pipeline"),
        ],
        ..Default::default()
    };
    let plain = SingleMessageMetadata::default();
    let metadata = MessageMetadata::default();
    broker.publish_batch(IN, &metadata, [(single, "x"), (plain, "y")]);
}

#[tokio::test(start_paused = true)]
async fn a_result_keeps_what_came_with_its_input() {
    let rig = Rig::new().await;
    let _pipeline = rig.start(TestDevice::new()).await;
    publish_correlated(&rig.broker);
    rig.all_acked().await;
    let out = rig.out();
    let [x, y] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(text(x.payload.as_ref().unwrap()), "done x");
    assert_eq!(x.key.as_deref(), Some("k1"));
    assert_eq!(x.ordering_key.as_deref(), Some(&b"order"[..]));
    assert_eq!(x.event_time, 123_456);
    let expected = [
        ("correlation_id", "c-1"),
        ("original_message_id", "1:0:-1:0"),
        ("processing_type", "test"),
        ("device", "cpu:7"),
    ];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(x.properties, expected);
    assert_eq!((&y.key, y.event_time), (&None, 0));
    assert_eq!(property(y, "original_message_id"), Some("1:0:-1:1"));
}

/// Answers each write with the next of its answers, then with `Ok`.
#[derive(Default)]
struct Scripted {
    answers: Mutex<Vec<OutputError>>,
    writes: Mutex<Vec<Vec<String>>>,
}

impl Output for Scripted {
    fn write<'a>(&'a self, records: &'a [Record]) -> Writing<'a> {
        let shown = records.iter().map(|record| match &record.result {
            Ok(_) => text(&record.payload()),
            Err(failure) => failure.to_string(),
        });
        self.writes.lock().unwrap().push(shown.collect());
        let mut answers = self.answers.lock().unwrap();
        let answer = (!answers.is_empty()).then(|| answers.remove(0));
        Box::pin(std::future::ready(answer.map_or(Ok(()), Err)))
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_confirmed_is_written_again() {
    let rig = Rig::new().await;
    let reason = || "full".to_owned();
    let rejection = Rejection {
        index: 1,
        failure: Failure::new("too_wide", "by far"),
    };
    let output = Arc::new(Scripted::default());
    *output.answers.lock().unwrap() = vec![
        // One that names nothing: nothing is known to be written.
        OutputError {
            reason: reason(),
            ..OutputError::default()
        },
        OutputError {
            reason: reason(),
            unconfirmed: vec![1, 3],
            rejected: vec![],
        },
        // Places are those of the last call.
        OutputError {
            reason: reason(),
            unconfirmed: vec![0],
            rejected: vec![rejection],
        },
    ];
    let pipeline = rig.start_with(TestDevice::new(), output.clone());
    rig.publish(&numbered(4));
    rig.all_acked().await;
    let expected: [&[&str]; 4] = [
        &["m000", "m001", "m002", "m003"],
        &["m000", "m001", "m002", "m003"],
        &["m001", "m003"],
        &["m001", "too_wide: by far"],
    ];
    assert_eq!(*output.writes.lock().unwrap(), expected);
    let stats = pipeline.stats();
    assert_eq!((stats.output_failures, stats.failed), (3, 1));
    assert_eq!(rig.watcher.data().iter().filter(|d| d.is_err()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_output_is_tried_for_ever_and_nothing_is_acked_meanwhile() {
    let rig = Rig::new().await;
    let output = Arc::new(Scripted::default());
    let refusal = OutputError {
        reason: "down".to_owned(),
        ..OutputError::default()
    };
    *output.answers.lock().unwrap() = vec![refusal; 5000];
    let pipeline = rig.start_with(TestDevice::new(), output.clone());
    rig.publish(&numbered(4));
    rig.an_hour().await;
    let attempts = pipeline.stats().output_failures;
    assert!((360..1000).contains(&attempts), "{attempts}");
    assert_eq!(rig.unacked(), 4);
    output.answers.lock().unwrap().clear();
    rig.all_acked().await;

    // A stop does not wait for the attempts to end.
    *output.answers.lock().unwrap() = vec![OutputError::default(); 5000];
    rig.publish(&numbered(4));
    soon(rig.broker.until(|_| pipeline.stats().in_flight == 4)).await;
    rig.an_hour().await;
    soon(pipeline.stop()).await;
    assert_eq!(rig.unacked(), 4);
}
