//! Credits are neither lost nor made up, by the client or by the broker.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use bytes::BytesMut;
use fake_broker::{Broker, Frame};
use pulsar::message::proto::MessageMetadata;
use pulsar_client::consumer::SubscriptionType::{Exclusive, KeyShared, Shared};
use pulsar_client::transport::{Connecting, Stream, Transport};
use pulsar_client::{Client, ConsumerOptions};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn window(size: usize) -> ConsumerOptions {
    ConsumerOptions {
        receiver_queue_size: size,
        nack_delay: seconds(1),
        ..options(Shared)
    }
}

fn publish_singles(broker: &Broker, topic: &str, range: std::ops::Range<usize>) {
    for text in numbers(range) {
        broker.publish(topic, &MessageMetadata::default(), text);
    }
}

/// Between client and broker: asks for ten thousand messages where the client asks for one.
struct Greedy(Broker);

impl Transport for Greedy {
    fn connect<'a>(&'a self, _: &'a pulsar_client::config::BrokerAddress) -> Connecting<'a> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (mut from_broker, mut to_broker) = tokio::io::split(self.0.connect()?);
            let (mut from_client, mut to_client) = tokio::io::split(theirs);
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_broker, &mut to_client).await;
                let _ = to_client.shutdown().await;
            });
            tokio::spawn(async move {
                let mut buffer = BytesMut::new();
                while from_client
                    .read_buf(&mut buffer)
                    .await
                    .is_ok_and(|read| read > 0)
                {
                    while let Ok(Some(mut frame)) = Frame::decode(&mut buffer, 1 << 24) {
                        if let Some(flow) = &mut frame.command.flow {
                            flow.message_permits = flow.message_permits.saturating_mul(10_000);
                        }
                        let _ = to_broker.write_all(&frame.encode()).await;
                    }
                }
                let _ = to_broker.shutdown().await;
            });
            Ok(Stream::split(ours))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_overruns_the_permits_is_left() {
    for paused in [true, false] {
        let broker = Broker::new();
        publish_singles(&broker, TOPIC, 0..20_000);
        let client = Client::with_transport(config(), Arc::new(Greedy(broker.clone())));
        let options = ConsumerOptions {
            paused,
            ..window(10)
        };
        let mut own = consume(&client, options).await;
        // Time for the first connection alone.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let held = own
            .inbox
            .within(std::time::Duration::from_millis(20))
            .await
            .len();
        let stats = own.consumer.stats();
        assert!(stats.queued + held as u64 <= 2000, "{stats:?} {held}");
        assert!(own.events.outages().0 >= 1);
    }
}

/// Random acks, nacks, cuts, unloads, redeliveries and pauses: at the end all is consumed, nothing is held,
/// and the window is as wide as at the start.
async fn credits_come_back(seed: u64) {
    let mut random = Random(seed);
    let broker = Broker::new();
    let kind = [Shared, Exclusive, KeyShared][random.below(3) as usize];
    let batch_index_acks = random.below(2) == 0;
    broker.configure(|settings| settings.batch_index_acknowledgment = batch_index_acks);
    let client = client(&broker);
    let size = 1 + random.below(30) as usize;
    let options = ConsumerOptions {
        nack_delay: seconds(1),
        ..ConsumerOptions {
            subscription_type: kind,
            ..window(size)
        }
    };
    let mut own = consume(&client, options).await;
    let mut published = 0;
    let mut held: Vec<Delivered> = Vec::new();
    for _ in 0..120 {
        match random.below(12) {
            0..=2 => {
                let count = 1 + random.below(12) as usize;
                if count == 1 {
                    publish_singles(&broker, TOPIC, published..published + 1);
                } else {
                    broker.publish_payloads(TOPIC, numbers(published..published + count));
                }
                published += count;
            }
            3..=6 if !held.is_empty() => {
                for _ in 0..1 + random.below(8) {
                    if !held.is_empty() {
                        own.ack(&held.swap_remove(random.below(held.len() as u64) as usize));
                    }
                }
            }
            7 if !held.is_empty() => {
                own.nack(&held.swap_remove(random.below(held.len() as u64) as usize));
            }
            8 => broker.cut_all(),
            9 => broker.unload(TOPIC),
            10 => own.consumer.redeliver_unacked(),
            11 => {
                own.consumer.pause();
                held.extend(own.inbox.within(seconds(2)).await);
                own.consumer.resume();
            }
            _ => {}
        }
        let millis = std::time::Duration::from_millis(random.below(400));
        held.extend(own.inbox.within(millis).await);
    }
    let mut idle = 0;
    while idle < 30 {
        held.extend(own.inbox.within(seconds(1)).await);
        idle = if held.is_empty() { idle + 1 } else { 0 };
        held.drain(..).for_each(|message| own.ack(&message));
    }
    let stats = own.consumer.stats();
    assert_eq!(
        unacked(&broker, TOPIC),
        Vec::<String>::new(),
        "seed {seed} {kind:?}"
    );
    assert_eq!(
        (stats.unacked, stats.queued),
        (0, 0),
        "seed {seed} {kind:?}"
    );
    publish_singles(&broker, TOPIC, 0..size + 20);
    let last = own.inbox.within(seconds(60)).await;
    assert_eq!(last.len(), size, "seed {seed} {kind:?}: the window leaks");
    let permits = broker.subscription(TOPIC, SUB).unwrap().consumers[0].permits;
    assert_eq!(permits, 0, "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn no_credit_is_lost_or_made_up() {
    for seed in 0..100 {
        credits_come_back(seed).await;
    }
}
