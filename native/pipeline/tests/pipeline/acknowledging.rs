//! Acknowledged after effect: never before, always after.

use std::sync::atomic::Ordering;

use fake_broker::{Fault, Settings};
use pipeline::NoOutput;
use pulsar::message::proto::base_command::Type;
use pulsar_client::ConsumerOptions;
use std::sync::Arc;

use crate::devices::TestDevice;
use crate::rig::{done, numbered, soon, Rig, OUT};

#[tokio::test(start_paused = true)]
async fn an_input_is_acked_after_its_result_is_confirmed_and_not_before() {
    let rig = Rig::new().await;
    // Results are stored, and nobody hears of it.
    rig.broker
        .fault(Fault::sent(Type::SendReceipt).always().drop());
    let device = TestDevice::new();
    let pipeline = rig.start(device.clone()).await;
    rig.publish(&numbered(10));
    soon(rig.broker.until(|b| !b.entries(OUT).is_empty())).await;
    rig.an_hour().await;
    assert_eq!((rig.unacked(), rig.broker.count(Type::Ack)), (10, 0));
    assert!(rig.watcher.data().is_empty());
    assert_eq!(device.taken(), [10]);

    rig.broker.clear_faults();
    rig.broker.cut_all();
    rig.all_acked().await;
    // Stored before the cut and sent again after it: at least once, the first time in order.
    let out = rig.out_payloads();
    assert_eq!(out[..10], done(&numbered(10)));
    assert!(out.len() > 10);
    soon(rig.broker.until(|_| pipeline.stats().in_flight == 0)).await;
}

#[tokio::test(start_paused = true)]
async fn reconnects_without_end_do_not_pile_messages_up() {
    let rig = Rig::exclusive().await;
    rig.broker
        .fault(Fault::received(Type::Send).always().drop());
    let device = TestDevice::new();
    let pipeline = rig.start(device.clone()).await;
    rig.publish(&numbered(300));
    for _ in 0..20 {
        rig.an_hour().await;
        assert_eq!(pipeline.stats().in_flight, 300);
        rig.broker.cut_all();
    }
    rig.an_hour().await;
    assert!(pipeline.stats().duplicates >= 20 * 300);
    assert_eq!(device.taken().iter().sum::<usize>(), 300);
    rig.broker.clear_faults();
    rig.broker.cut_all();
    rig.all_acked().await;
    // A message that comes again while its ack is on the way is processed again: at least once.
    assert_eq!(rig.out_payloads()[..300], done(&numbered(300)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_in_an_outage() {
    let rig = Rig::exclusive().await;
    let device = TestDevice::new();
    let _pipeline = rig.start(device).await;
    for round in numbered(20).chunks(2) {
        rig.publish(round);
        tokio::task::yield_now().await;
        rig.broker.stop();
        rig.an_hour().await;
        rig.broker.start();
    }
    rig.all_acked().await;
    let mut out = rig.out_payloads();
    out.sort();
    out.dedup();
    assert_eq!(out, done(&numbered(20)));
}

#[tokio::test(start_paused = true)]
async fn without_an_output_the_result_sink_is_the_effect() {
    let rig = Rig::new().await;
    let _pipeline = rig.start_with(TestDevice::new(), Arc::new(NoOutput));
    let sent = ["a".to_owned(), "bad".to_owned()];
    rig.publish(&sent);
    rig.all_acked().await;
    let expected = [
        Ok("done a".to_owned()),
        Err("invalid_input: a bad one".to_owned()),
    ];
    assert_eq!(rig.watcher.data(), expected);
    let results = rig.watcher.results.lock().unwrap();
    let (first, second) = (&results[0], &results[1]);
    assert_eq!(&*first.topic, "persistent://public/default/in");
    assert_eq!(
        (first.message_id.batch_index, second.message_id.batch_index),
        (0, 1)
    );
    assert_eq!(first.message_id.batch_size, 2);
    let run = &first.run;
    assert!(Arc::ptr_eq(run, &second.run));
    assert_eq!(run.device.as_deref(), Some("cpu:7"));
    assert_eq!((run.memory_used, run.batch_size), (11, 2));
}

#[tokio::test(start_paused = true)]
async fn acks_find_their_partition() {
    let rig = Rig::with(Settings::default(), ConsumerOptions::default(), 3).await;
    let _pipeline = rig.start(TestDevice::new()).await;
    for (partition, payloads) in numbered(12).chunks(4).enumerate() {
        let topic = format!("in-partition-{partition}");
        rig.broker.publish_payloads(&topic, payloads);
    }
    let unacked = |partition| {
        let topic = format!("in-partition-{partition}");
        rig.broker.unacked(&topic, "s").unwrap().len()
    };
    soon(
        rig.broker
            .until(|_| (0..3).map(unacked).sum::<usize>() == 0),
    )
    .await;
    let mut out = rig.out_payloads();
    out.sort();
    assert_eq!(out, done(&numbered(12)));
}

#[tokio::test(start_paused = true)]
async fn a_full_device_holds_the_window_and_loses_nothing() {
    let options = ConsumerOptions {
        receiver_queue_size: 50,
        ..ConsumerOptions::default()
    };
    let mut rig = Rig::with(Settings::default(), options, 0).await;
    rig.config.batch_size = 10;
    let device = TestDevice::new();
    device.refusals.store(500, Ordering::SeqCst);
    let pipeline = rig.start(device).await;
    for payloads in numbered(400).chunks(5) {
        rig.publish(payloads);
    }
    soon(rig.broker.until(|_| pipeline.stats().in_flight > 0)).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    // A batch of 5 may overrun the permits.
    assert!((50..60).contains(&pipeline.stats().in_flight));
    rig.all_acked().await;
    assert_eq!(pipeline.stats().refusals, 500);
    assert_eq!(rig.out_payloads().len(), 400);
}
