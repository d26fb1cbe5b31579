//! After a seek comes what lies behind the position, and nothing else.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fake_broker::Broker;
use pulsar::message::proto::{MessageMetadata, SingleMessageMetadata};
use pulsar_client::consumer::SeekTarget;
use pulsar_client::consumer::SubscriptionType::{Exclusive, Failover, Shared};
use pulsar_client::{ConsumerOptions, Error};
use support::*;
use tokio::time::{timeout, Instant};

async fn seek(own: &Consuming, target: SeekTarget) {
    let sought = timeout(LONG, own.consumer.seek(target, None)).await;
    sought.expect("the seek hangs").unwrap();
}

fn publish(broker: &Broker) {
    for entry in 0..4 {
        broker.publish_payloads(TOPIC, numbers(entry * 5..entry * 5 + 5));
    }
}

#[tokio::test(start_paused = true)]
async fn earliest_and_latest() {
    for (kind, closes) in [
        (Exclusive, true),
        (Failover, true),
        (Shared, true),
        (Exclusive, false),
    ] {
        let broker = Broker::new();
        broker.configure(|settings| settings.seek_closes_consumers = closes);
        publish(&broker);
        let mut own = consume(&client(&broker), options(kind)).await;
        let messages = own.inbox.take(20).await;
        messages.iter().for_each(|message| own.ack(message));
        until(&broker, |b| b.unacked(TOPIC, SUB).unwrap().is_empty()).await;
        seek(&own, SeekTarget::Earliest).await;
        assert_eq!(texts(&own.inbox.take(20).await), numbers(0..20), "{kind:?}");
        seek(&own, SeekTarget::Latest).await;
        until(&broker, |b| {
            !b.subscription(TOPIC, SUB).unwrap().consumers.is_empty()
        })
        .await;
        broker.publish_payloads(TOPIC, ["new"]);
        assert_eq!(texts(&own.inbox.take(1).await), ["new"]);
        assert_eq!(own.consumer.stats().unacked, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn by_time() {
    let broker = Broker::new();
    for time in [100, 200, 300, 400] {
        let metadata = MessageMetadata {
            publish_time: time,
            ..Default::default()
        };
        let texts = [time.to_string()];
        let messages = texts
            .iter()
            .map(|text| (SingleMessageMetadata::default(), text));
        broker.publish_batch(TOPIC, &metadata, messages);
    }
    let mut own = consume(&client(&broker), options(Exclusive)).await;
    own.inbox.take(4).await;
    seek(&own, SeekTarget::Timestamp(250)).await;
    assert_eq!(texts(&own.inbox.take(2).await), ["300", "400"]);
    assert!(own.inbox.within(seconds(60)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn behind_a_message_inside_a_batch_also_after_reconnects() {
    for kind in [Exclusive, Failover, Shared] {
        for batch_index_acks in [true, false] {
            let broker = Broker::new();
            broker.configure(|settings| settings.batch_index_acknowledgment = batch_index_acks);
            publish(&broker);
            let mut own = consume(&client(&broker), options(kind)).await;
            let messages = own.inbox.take(20).await;
            seek(&own, SeekTarget::After(messages[7].id.clone())).await;
            let again = own.inbox.take(12).await;
            assert_eq!(texts(&again), numbers(8..20), "{kind:?}");
            for _ in 0..3 {
                broker.cut_all();
                let again = own.inbox.take(12).await;
                assert_eq!(texts(&again), numbers(8..20), "{kind:?}");
            }
            again.iter().for_each(|message| own.ack(message));
            own.close().await;
            assert!(
                unacked(&broker, TOPIC).is_empty(),
                "{kind:?} {batch_index_acks}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn behind_the_last_message_of_a_batch_and_behind_single_messages() {
    let broker = Broker::new();
    publish(&broker);
    let single = MessageMetadata::default();
    for text in ["x", "y", "z"] {
        broker.publish(TOPIC, &single, text);
    }
    let mut own = consume(&client(&broker), options(Shared)).await;
    let messages = own.inbox.take(23).await;
    for (at, expected) in [(4, 18), (9, 13), (19, 3), (20, 2), (22, 0)] {
        seek(&own, SeekTarget::After(messages[at].id.clone())).await;
        assert_eq!(
            texts(&own.inbox.take(expected).await),
            texts(&messages[at + 1..])
        );
        assert!(own.inbox.within(seconds(5)).await.is_empty());
        broker.cut_all();
        assert_eq!(own.inbox.within(seconds(20)).await.len(), expected);
    }
    // What was skipped holds nothing back.
    tokio::time::sleep(seconds(1)).await;
    assert!(unacked(&broker, TOPIC).is_empty());
    assert_eq!(own.consumer.stats().unacked, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_from_before_a_seek_comes_after_it() {
    let broker = Broker::new();
    publish(&broker);
    let slow = ConsumerOptions {
        receiver_queue_size: 7,
        paused: true,
        ..options(Exclusive)
    };
    let mut own = consume(&client(&broker), slow).await;
    tokio::time::sleep(seconds(1)).await;
    assert!(own.consumer.stats().queued > 0);
    seek(&own, SeekTarget::Latest).await;
    own.consumer.resume();
    broker.publish_payloads(TOPIC, ["new"]);
    assert_eq!(texts(&own.inbox.within(seconds(10)).await), ["new"]);
    let stats = own.consumer.stats();
    assert_eq!((stats.unacked, stats.queued), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn every_partition_of_every_topic_is_moved() {
    let broker = Broker::new();
    broker.set_partitions("p", 3);
    let (sink, mut inbox) = inbox();
    let topics = ["p".to_owned(), "q".to_owned()];
    let client = client(&broker);
    let subscribed = client.subscribe(
        &topics,
        SUB,
        options(Shared),
        sink,
        Events::default().sink(),
    );
    let consumer = subscribed.await.unwrap();
    for topic in ["p-partition-0", "p-partition-1", "p-partition-2", "q"] {
        broker.publish_payloads(topic, [topic]);
    }
    inbox.take(4).await;
    consumer.seek(SeekTarget::Earliest, None).await.unwrap();
    let mut again = inbox.take(4).await;
    again.sort_by(|a, b| a.text.cmp(&b.text));
    assert_eq!(
        texts(&again),
        ["p-partition-0", "p-partition-1", "p-partition-2", "q"]
    );
    assert!(again
        .iter()
        .all(|message| message.topic.ends_with(&message.text)));
}

#[tokio::test(start_paused = true)]
async fn a_seek_in_an_outage_waits_for_its_end_but_not_for_ever() {
    let broker = Broker::new();
    publish(&broker);
    let mut own = consume(&client(&broker), options(Exclusive)).await;
    let messages = own.inbox.take(20).await;
    own.ack_cumulative(&messages[19]);
    tokio::time::sleep(seconds(1)).await;
    broker.stop();
    let before = Instant::now();
    let late = timeout(LONG, own.consumer.seek(SeekTarget::Earliest, None))
        .await
        .unwrap();
    assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
    assert!(before.elapsed() <= seconds(31));
    let starting = broker.clone();
    tokio::spawn(async move {
        tokio::time::sleep(seconds(15)).await;
        starting.start();
    });
    seek(&own, SeekTarget::Earliest).await;
    assert_eq!(texts(&own.inbox.take(20).await), numbers(0..20));
    // One right after the other: the first costs the consumer its place at the broker for a moment.
    seek(&own, SeekTarget::Latest).await;
    seek(&own, SeekTarget::After(messages[9].id.clone())).await;
    assert_eq!(texts(&own.inbox.take(10).await), numbers(10..20));
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_removes_the_subscription_and_ends_the_consumer() {
    let broker = Broker::new();
    publish(&broker);
    let own = consume(&client(&broker), options(Exclusive)).await;
    timeout(LONG, own.consumer.unsubscribe())
        .await
        .unwrap()
        .unwrap();
    tokio::time::sleep(seconds(1)).await;
    assert!(own.consumer.is_closed() && broker.subscription(TOPIC, SUB).is_none());
    assert!(matches!(own.consumer.ack(0, vec![]), Err(Error::Closed)));
}
