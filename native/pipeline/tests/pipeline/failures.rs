//! Bad messages, poison, and devices that fail.

use std::sync::atomic::Ordering;

use fake_broker::Settings;
use pulsar_client::ConsumerOptions;

use crate::devices::TestDevice;
use crate::rig::{done, numbered, property, text, Rig};

#[tokio::test(start_paused = true)]
async fn a_poison_message_is_isolated_and_kept_as_an_error() {
    let rig = Rig::new().await;
    let device = TestDevice::new();
    let pipeline = rig.start(device.clone()).await;
    let mut sent = numbered(100);
    sent[17] = "poison!".to_owned();
    sent[18] = "bad".to_owned();
    rig.publish(&sent);
    rig.all_acked().await;

    let mut expected = done(&sent);
    expected[17] = "poison!".to_owned();
    expected[18] = "bad".to_owned();
    assert_eq!(rig.out_payloads(), expected);
    let out = rig.out();
    let errors: Vec<_> = out.iter().map(|m| property(m, "error")).collect();
    assert_eq!(errors.iter().flatten().count(), 2);
    assert_eq!(
        errors[17],
        Some("kernel_panicked: the kernel of test panicked: poisoned")
    );
    assert_eq!(errors[18], Some("invalid_input: a bad one"));
    assert_eq!(property(&out[17], "device"), None);
    assert_eq!(property(&out[18], "device"), Some("cpu:7"));

    let stats = pipeline.stats();
    assert_eq!((stats.messages, stats.failed, stats.batches), (100, 2, 1));
    // 3 attempts for the whole, 2 for each halving but the last, 3 + 1 there.
    let runs = device.taken();
    assert_eq!(runs.iter().filter(|size| **size == 100).count(), 3);
    assert!(runs.len() <= 3 + 2 * 7 + 2, "{runs:?}");
    let batches = rig.watcher.batches.lock().unwrap();
    assert_eq!((batches[0].count, batches[0].failed), (100, 2));
    assert_eq!(batches[0].device.as_deref(), Some("cpu:7"));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_nothing_but_poison_is_all_errors() {
    let rig = Rig::new().await;
    let pipeline = rig.start(TestDevice::new()).await;
    rig.publish(&vec!["poison".to_owned(); 8]);
    rig.all_acked().await;
    assert_eq!(rig.out_payloads(), vec!["poison"; 8]);
    assert_eq!(pipeline.stats().failed, 8);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_recovers_condemns_nobody() {
    let rig = Rig::new().await;
    let device = TestDevice::new();
    device.losses.store(2, Ordering::SeqCst);
    let pipeline = rig.start(device.clone()).await;
    rig.publish(&numbered(50));
    rig.all_acked().await;
    assert_eq!(rig.out_payloads(), done(&numbered(50)));
    assert_eq!(device.taken(), [50, 50, 50]);
    assert_eq!((pipeline.stats().retries, pipeline.stats().failed), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_result_too_large_for_the_topic_becomes_an_error_and_blocks_nobody() {
    let settings = Settings {
        max_message_size: Some(1000),
        ..Settings::default()
    };
    let rig = Rig::with(settings, ConsumerOptions::default(), 0).await;
    let pipeline = rig.start(TestDevice::new()).await;
    let mut sent = numbered(10);
    sent[4] = "big".to_owned();
    rig.publish(&sent);
    rig.all_acked().await;
    let out = rig.out();
    let (errors, results): (Vec<_>, Vec<_>) =
        out.iter().partition(|m| property(m, "error").is_some());
    assert_eq!((errors.len(), results.len()), (1, 9));
    assert!(property(errors[0], "error")
        .unwrap()
        .starts_with("result_too_large: "));
    assert_eq!(text(errors[0].payload.as_ref().unwrap()), "");
    assert_eq!(property(errors[0], "original_message_id"), Some("1:0:-1:4"));
    let stats = pipeline.stats();
    assert_eq!((stats.messages, stats.failed), (10, 1));
    assert!(rig.watcher.data()[4].is_err());
}
