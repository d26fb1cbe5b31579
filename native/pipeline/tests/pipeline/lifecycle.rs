//! Taking the consumer over and giving it back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fake_broker::Fault;
use gpu_processor::{DeviceInfo, GpuProcessingConfig, Job, Kernel, MessageError, Processor};
use pipeline::{NoEvents, NoOutput, NoResults, Pipeline, PipelineConfig, Processed, ResultSink};
use pulsar::message::proto::base_command::Type;

use crate::devices::{TestDevice, TestKernel};
use crate::rig::{done, numbered, soon, Rig, OUT};

#[tokio::test(start_paused = true)]
async fn what_the_owner_holds_goes_through_the_pipeline() {
    for rig in [Rig::new().await, Rig::exclusive().await] {
        rig.publish(&numbered(10));
        soon(rig.broker.until(|_| rig.owner.payloads().len() == 10)).await;
        let pipeline = rig.start(TestDevice::new()).await;
        rig.publish(&["later".to_owned()]);
        rig.all_acked().await;
        let mut out = rig.out_payloads();
        out.sort();
        let mut expected = done(&numbered(10));
        expected.insert(0, "done later".to_owned());
        assert_eq!(out, expected);
        assert_eq!(rig.owner.payloads().len(), 10);
        drop(pipeline);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_in_flight_and_gives_the_rest_back() {
    for mut rig in [Rig::new().await, Rig::exclusive().await] {
        rig.config.batch_size = 10;
        rig.config.batches_in_flight = 1;
        let device = TestDevice::with_delay(|_| Duration::from_secs(3));
        let pipeline = rig.start(device.clone()).await;
        for payloads in numbered(30).chunks(10) {
            rig.publish(payloads);
        }
        soon(rig.broker.until(|_| pipeline.stats().in_flight == 30)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        soon(pipeline.stop()).await;
        assert!(pipeline.has_ended());
        assert_eq!(device.taken(), [10]);
        assert_eq!(pipeline.stats().messages, 10);

        soon(rig.broker.until(|_| rig.owner.payloads().len() == 20)).await;
        rig.an_hour().await;
        assert_eq!(rig.out_payloads(), done(&numbered(10)));
        assert_eq!(rig.owner.sorted(), numbered(30)[10..]);
        assert_eq!(rig.unacked(), 20);
        assert_eq!(rig.watcher.log(), ["started cpu:7", "stopped Asked"]);
        // A second stop is answered too.
        soon(pipeline.stop()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_up_what_does_not_finish() {
    let rig = Rig::new().await;
    rig.broker
        .fault(Fault::sent(Type::SendReceipt).always().drop());
    let pipeline = rig.start(TestDevice::new()).await;
    rig.publish(&numbered(5));
    soon(rig.broker.until(|b| !b.entries(OUT).is_empty())).await;
    let before = tokio::time::Instant::now();
    soon(pipeline.stop()).await;
    assert_eq!(before.elapsed().as_secs(), 10);
    soon(rig.broker.until(|_| rig.owner.payloads().len() == 5)).await;
    assert_eq!((rig.unacked(), pipeline.stats().in_flight), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pipeline_gives_the_consumer_back() {
    let rig = Rig::new().await;
    let pipeline = rig.start(TestDevice::new()).await;
    let ended = pipeline.ended();
    drop(pipeline);
    soon(ended).await;
    rig.publish(&numbered(3));
    soon(rig.broker.until(|_| rig.owner.payloads().len() == 3)).await;
    // And another may take it over.
    let _pipeline = rig.start(TestDevice::new()).await;
    rig.all_acked().await;
    assert_eq!(rig.out_payloads(), done(&numbered(3)));
}

#[tokio::test(start_paused = true)]
async fn a_closed_consumer_ends_its_pipeline() {
    let rig = Rig::new().await;
    let device = TestDevice::with_delay(|_| Duration::from_secs(5));
    let pipeline = rig.start(device.clone()).await;
    rig.publish(&numbered(3));
    soon(rig.broker.until(|_| pipeline.stats().in_flight == 3)).await;
    rig.consumer.close().await;
    soon(pipeline.ended()).await;
    assert_eq!(
        rig.watcher.log(),
        ["started cpu:7", "stopped ConsumerClosed"]
    );
}

struct PanickingSink;

impl ResultSink for PanickingSink {
    fn deliver(&self, _: Vec<Processed>) {
        panic!("the sink's own fault");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_the_consumer_back() {
    let rig = Rig::new().await;
    let device = TestDevice::new();
    let pipeline = Pipeline::start(
        rig.consumer.clone(),
        PipelineConfig::default(),
        Arc::new(Job::from_kernel(Arc::new(TestKernel))),
        Arc::new(Processor::with_devices(vec![device])),
        Arc::new(NoOutput),
        Arc::new(PanickingSink),
        rig.watcher.clone(),
    );
    rig.publish(&numbered(3));
    soon(pipeline.ended()).await;
    assert_eq!(
        rig.watcher.log(),
        ["started cpu:7", "stopped InternalError"]
    );
    soon(rig.broker.until(|_| rig.owner.payloads().len() == 3)).await;
    assert_eq!(rig.unacked(), 3);
}

struct Reversing;

impl Kernel for Reversing {
    fn processing_type(&self) -> &'static str {
        "reversing"
    }

    fn run_on_cpu(&self, _: &DeviceInfo, inputs: &[Bytes]) -> Vec<Result<Bytes, MessageError>> {
        let reverse = |input: &Bytes| Ok(input.iter().rev().copied().collect());
        inputs.iter().map(reverse).collect()
    }
}

/// In real time: the device's threads know no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_device_does_the_work() {
    let mut rig = Rig::exclusive().await;
    rig.config.batch_size = 16;
    let processor = Processor::start(&GpuProcessingConfig::default()).unwrap();
    let pipeline = Pipeline::start(
        rig.consumer.clone(),
        rig.config.clone(),
        Arc::new(Job::from_kernel(Arc::new(Reversing))),
        Arc::new(processor),
        rig.topic_output().await,
        Arc::new(NoResults),
        Arc::new(NoEvents),
    );
    for payloads in numbered(500).chunks(9) {
        rig.publish(payloads);
    }
    rig.all_acked().await;
    let reversed = numbered(500).into_iter();
    let reversed: Vec<String> = reversed.map(|p| p.chars().rev().collect()).collect();
    assert_eq!(rig.out_payloads(), reversed);
    assert!(pipeline.stats().batches >= 500 / 16);
    soon(pipeline.stop()).await;
}
