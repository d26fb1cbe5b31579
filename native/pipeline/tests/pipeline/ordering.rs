//! Batches: when they close, and in which order they leave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::devices::TestDevice;
use crate::rig::{done, numbered, Rig};

#[tokio::test(start_paused = true)]
async fn results_leave_in_order_though_batches_finish_in_any() {
    let mut rig = Rig::exclusive().await;
    rig.config.batch_size = 10;
    rig.config.batches_in_flight = 4;
    // Every first of four takes longest.
    let device = TestDevice::with_delay(|n| Duration::from_secs(4 - n as u64 % 4));
    let _pipeline = rig.start(device.clone()).await;
    for payloads in numbered(300).chunks(7) {
        rig.publish(payloads);
    }
    rig.all_acked().await;
    assert_eq!(rig.out_payloads(), done(&numbered(300)));
    let told: Vec<_> = rig.watcher.data().into_iter().flatten().collect();
    assert_eq!(told, done(&numbered(300)));
    assert_eq!(device.most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_partial_batch_leaves_after_the_timeout() {
    let mut rig = Rig::new().await;
    rig.config.batch_timeout = Duration::from_secs(100);
    let device = TestDevice::new();
    let _pipeline = rig.start(device.clone()).await;
    let start = Instant::now();
    rig.publish(&numbered(2));
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.publish(&numbered(1));
    rig.all_acked().await;
    assert_eq!(device.taken(), [3]);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(100) && waited < Duration::from_secs(101));
}

#[tokio::test(start_paused = true)]
async fn an_entry_larger_than_a_batch_is_split() {
    let mut rig = Rig::new().await;
    rig.config.batch_size = 8;
    let device = TestDevice::new();
    let _pipeline = rig.start(device.clone()).await;
    rig.publish(&numbered(20));
    rig.all_acked().await;
    assert_eq!(device.taken(), [8, 8, 4]);
    assert_eq!(rig.out_payloads(), done(&numbered(20)));
}
