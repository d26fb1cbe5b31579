//! What an owner holds is bounded, and it decides how much it gets.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fake_broker::Broker;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::MessageMetadata;
use pulsar_client::consumer::Flow;
use pulsar_client::consumer::SubscriptionType::Shared;
use pulsar_client::{ConsumerOptions, Error, Event};
use support::*;

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

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_acks_gets_one_window_and_is_told() {
    let broker = Broker::new();
    publish_singles(&broker, TOPIC, 0..100);
    let mut own = consume(&client(&broker), window(10)).await;
    let held = own.inbox.within(seconds(4)).await;
    assert_eq!(texts(&held), numbers(0..10));
    let stalled = |events: &Events| {
        events.count(
            |event| matches!(event, Event::Stalled { unacked: 10, topic } if &**topic == TOPIC),
        )
    };
    assert_eq!(stalled(&own.events), 0);
    assert!(own.inbox.within(seconds(600)).await.is_empty());
    assert_eq!(stalled(&own.events), 1);
    // Each ack lets one more in; once the window is used up again, that is told again.
    own.ack(&held[3]);
    assert_eq!(texts(&own.inbox.within(seconds(600)).await), ["10"]);
    assert_eq!(stalled(&own.events), 2);
    own.nack(&held[0]);
    assert_eq!(own.inbox.within(seconds(600)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_window_also_counts_bytes() {
    let broker = Broker::new();
    for number in 0..100 {
        broker.publish(
            TOPIC,
            &MessageMetadata::default(),
            format!("{number:01000}"),
        );
    }
    let small = ConsumerOptions {
        max_bytes: 20_000,
        ..window(1000)
    };
    let mut own = consume(&client(&broker), small).await;
    let held = own.inbox.within(seconds(60)).await;
    assert_eq!(held.len(), 20);
    let mut got = held.clone();
    held.iter().for_each(|message| own.ack(message));
    while got.len() < 100 {
        let more = own.inbox.within(seconds(60)).await;
        assert!(!more.is_empty() && more.len() <= 20, "{}", more.len());
        more.iter().for_each(|message| own.ack(message));
        got.extend(more);
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_larger_than_the_window_does_not_stall() {
    let broker = Broker::new();
    for entry in 0..5 {
        broker.publish_payloads(TOPIC, numbers(entry * 100..entry * 100 + 100));
    }
    for options in [
        window(1),
        ConsumerOptions {
            max_bytes: 10,
            ..window(1000)
        },
    ] {
        let mut own = consume(
            &client(&broker),
            ConsumerOptions {
                nack_delay: seconds(1),
                ..options
            },
        )
        .await;
        for entry in 0..5 {
            let messages = own.inbox.within(seconds(60)).await;
            assert_eq!(texts(&messages), numbers(entry * 100..entry * 100 + 100));
            messages.iter().for_each(|message| own.ack(message));
        }
        own.consumer
            .seek(pulsar_client::consumer::SeekTarget::Earliest, None)
            .await
            .unwrap();
        own.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn manual_flow_delivers_exactly_what_is_requested() {
    let broker = Broker::new();
    broker.set_partitions(TOPIC, 2);
    for entry in 0..20 {
        let topic = format!("{TOPIC}-partition-{}", entry % 2);
        broker.publish_payloads(&topic, numbers(entry * 7..entry * 7 + 7));
    }
    let manual = ConsumerOptions {
        flow: Flow::Manual,
        ..window(10)
    };
    let mut own = consume(&client(&broker), manual).await;
    assert!(own.inbox.within(seconds(60)).await.is_empty());
    let mut got = Vec::new();
    for wanted in [1, 2, 3, 20, 0, 1, 50, 4, 59] {
        own.consumer.request(wanted).unwrap();
        let messages = own.inbox.within(seconds(60)).await;
        assert_eq!(messages.len(), wanted as usize);
        got.extend(messages);
    }
    // Nothing twice, nothing left out, each partition in order.
    let mut all: Vec<usize> = got
        .iter()
        .map(|message| message.text.parse().unwrap())
        .collect();
    for partition in 0..2 {
        let of = got
            .iter()
            .filter(|message| message.id.partition == partition);
        let of: Vec<usize> = of.map(|message| message.text.parse().unwrap()).collect();
        assert!(of.is_sorted());
    }
    all.sort_unstable();
    assert_eq!(all, (0..140).collect::<Vec<_>>());
    got.iter().for_each(|message| own.ack(message));
    own.close().await;
    assert_eq!(own.consumer.stats().unacked, 0);
    let automatic = consume(&client(&broker), window(10)).await;
    assert!(matches!(
        automatic.consumer.request(1),
        Err(Error::NotAllowed(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_paused_consumer_keeps_what_comes_within_its_window() {
    let broker = Broker::new();
    publish_singles(&broker, TOPIC, 0..100);
    let mut own = consume(
        &client(&broker),
        ConsumerOptions {
            paused: true,
            ..window(10)
        },
    )
    .await;
    assert!(own.inbox.within(seconds(600)).await.is_empty());
    assert_eq!(
        (own.consumer.stats().queued, own.consumer.stats().unacked),
        (10, 10)
    );
    assert_eq!(
        own.events
            .count(|event| matches!(event, Event::Stalled { .. })),
        0
    );
    // A reconnect while paused delivers nothing twice.
    broker.cut_all();
    assert!(own.inbox.within(seconds(60)).await.is_empty());
    own.consumer.resume();
    let messages = own.inbox.take(10).await;
    assert_eq!(texts(&messages), numbers(0..10));
    own.consumer.pause();
    messages.iter().for_each(|message| own.ack(message));
    assert!(own.inbox.within(seconds(60)).await.is_empty());
    own.consumer.resume();
    assert_eq!(texts(&own.inbox.within(seconds(60)).await), numbers(10..20));
}

#[tokio::test(start_paused = true)]
async fn many_topics_and_partitions_are_one_consumer() {
    let broker = Broker::new();
    broker.set_partitions("p", 3);
    let topics = ["p-partition-0", "p-partition-1", "p-partition-2", "q"];
    let mut own = try_consume(&client(&broker), &["p", "q"], window(40))
        .await
        .unwrap();
    for topic in topics {
        publish_singles(&broker, topic, 0..50);
    }
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..200 {
        let message = own.inbox.next().await;
        own.ack(&message);
        *counts.entry(message.topic.clone()).or_insert(0) += 1;
    }
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(counts.len(), 4);
    assert!(counts.values().all(|count| *count == 50), "{counts:?}");
    let stats = own.consumer.stats();
    assert_eq!(
        (stats.partitions, stats.connected, stats.unacked),
        (4, 4, 0)
    );
    own.close().await;
    assert!(topics
        .iter()
        .all(|topic| unacked(&broker, topic).is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_no_more_closes_every_partition() {
    let broker = Broker::new();
    broker.set_partitions(TOPIC, 3);
    let mut own = consume(&client(&broker), window(10)).await;
    own.inbox.close();
    broker.publish_payloads(&format!("{TOPIC}-partition-1"), ["x"]);
    tokio::time::sleep(seconds(10)).await;
    assert!(own.consumer.is_closed());
    for index in 0..3 {
        let topic = format!("{TOPIC}-partition-{index}");
        assert!(broker
            .subscription(&topic, SUB)
            .unwrap()
            .consumers
            .is_empty());
    }
    assert_eq!(unacked(&broker, &format!("{TOPIC}-partition-1")), ["x"]);
}

/// A due time that is never taken would spin here for ever.
#[tokio::test(start_paused = true)]
async fn nacks_that_fall_due_in_an_outage_wait_for_its_end() {
    let broker = Broker::new();
    publish_singles(&broker, TOPIC, 0..5);
    let mut own = consume(&client(&broker), window(10)).await;
    let held = own.inbox.take(5).await;
    broker.stop();
    tokio::time::sleep(seconds(5)).await;
    held.iter().for_each(|message| own.nack(message));
    tokio::time::sleep(seconds(60)).await;
    broker.start();
    assert_eq!(own.inbox.within(seconds(60)).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn acks_and_closes_do_not_wait_behind_messages() {
    let broker = Broker::new();
    publish_singles(&broker, TOPIC, 0..5000);
    let mut own = consume(
        &client(&broker),
        ConsumerOptions {
            paused: true,
            ..window(1000)
        },
    )
    .await;
    own.inbox.within(seconds(5)).await;
    own.consumer.resume();
    let message = own.inbox.next().await;
    own.consumer.pause();
    own.ack(&message);
    until(&broker, |b| b.count(Type::Ack) == 1).await;
    let before = tokio::time::Instant::now();
    own.close().await;
    assert!(before.elapsed() < seconds(1));
}
