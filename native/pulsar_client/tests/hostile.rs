//! Bad bytes cost a reconnect or an event, never a crash, a stall or another message.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fake_broker::{Broker, Fault};
use prost::Message as _;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{CompressionType, MessageIdData, MessageMetadata};
use pulsar_client::consumer::SubscriptionType::{self, Exclusive, Shared};
use pulsar_client::{ConsumerOptions, Event};
use support::*;

fn patient(kind: SubscriptionType) -> ConsumerOptions {
    ConsumerOptions {
        nack_delay: seconds(30),
        ..options(kind)
    }
}

/// The ids of the entries that could not be read.
fn undecodable(events: &Events) -> Vec<(u64, u64)> {
    let of = |event: &Event| match event {
        Event::Undecodable {
            message_id,
            topic,
            reason,
        } => {
            assert!(!reason.is_empty() && &**topic == TOPIC && message_id.batch_index == -1);
            Some((message_id.ledger_id, message_id.entry_id))
        }
        _ => None,
    };
    events.all().iter().filter_map(of).collect()
}

fn compressed(codec: CompressionType, size: u32) -> MessageMetadata {
    MessageMetadata {
        compression: Some(codec as i32),
        uncompressed_size: Some(size),
        ..Default::default()
    }
}

fn batch_of(count: i32) -> MessageMetadata {
    MessageMetadata {
        num_messages_in_batch: Some(count),
        ..Default::default()
    }
}

/// Entries that nobody can read, in all ways that the broker would store.
fn publish_bad(broker: &Broker) -> Vec<MessageIdData> {
    let zeros = vec![0; 1 << 20];
    let bomb = zstd::bulk::compress(&zeros, 3).unwrap();
    let mut encrypted = MessageMetadata::default();
    encrypted.encryption_keys.push(Default::default());
    let chunk = MessageMetadata {
        num_chunks_from_msg: Some(2),
        ..Default::default()
    };
    let unknown_codec = MessageMetadata {
        compression: Some(99),
        ..Default::default()
    };
    let one =
        |metadata: MessageMetadata, body: &[u8]| broker.publish(TOPIC, &metadata, body.to_vec());
    let mut bad = vec![
        broker.publish_raw(TOPIC, vec![0xff; 10], "x"),
        one(unknown_codec, b"x"),
        one(encrypted, b"x"),
        one(chunk, b"x"),
        one(compressed(CompressionType::Zstd, 100), &bomb),
        one(compressed(CompressionType::Zstd, u32::MAX), &bomb),
        one(batch_of(1000), b"few"),
        one(batch_of(100_000), b"few"),
        one(batch_of(2), &[0, 0, 0, 2, 24, 0, 0xff, 0xff, 0xff, 0xff]),
        one(batch_of(1), &[0, 0, 0, 2, 24, 50]),
    ];
    use CompressionType::{Lz4, Snappy, Zlib, Zstd};
    for codec in [Lz4, Snappy, Zlib, Zstd] {
        bad.push(one(compressed(codec, 50), b"this is not compressed"));
    }
    bad
}

#[tokio::test(start_paused = true)]
async fn entries_that_cannot_be_read_are_told_and_others_go_on() {
    for kind in [Exclusive, Shared] {
        let broker = Broker::new();
        broker.publish_payloads(TOPIC, ["first"]);
        let bad = publish_bad(&broker);
        broker.publish_payloads(TOPIC, numbers(0..3000));
        // A window that claims of 1000 and of 100,000 messages would leave nothing of.
        let small = ConsumerOptions {
            receiver_queue_size: 100,
            ..patient(kind)
        };
        let mut own = consume(&client(&broker), small).await;
        let mut got = vec![own.inbox.next().await];
        got.extend(own.inbox.take(3000).await);
        assert_eq!(texts(&got)[1..], numbers(0..3000));
        let expected: Vec<_> = bad.iter().map(|id| (id.ledger_id, id.entry_id)).collect();
        assert_eq!(undecodable(&own.events), expected);
        got.iter().for_each(|message| own.ack(message));
        assert_eq!(own.events.outages(), (0, 0));
        let stats = own.consumer.stats();
        assert_eq!(stats.undecodable, bad.len() as u64);
        own.close().await;
        // They stay for whoever can read them.
        let left = broker.subscription(TOPIC, SUB).unwrap().unacked;
        let left: Vec<_> = left
            .iter()
            .map(|entry| (entry.ledger_id, entry.entry_id))
            .collect();
        assert_eq!(left, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_damaged_on_its_way_comes_again_on_shared_subscriptions() {
    let broker = Broker::new();
    let id = broker.publish_payloads(TOPIC, numbers(0..5));
    broker.publish_payloads(TOPIC, numbers(5..10));
    broker.fault(Fault::sent(Type::Message).corrupt());
    let mut own = consume(&client(&broker), patient(Shared)).await;
    assert_eq!(texts(&own.inbox.take(5).await), numbers(5..10));
    assert_eq!(undecodable(&own.events), [(id.ledger_id, id.entry_id)]);
    assert_eq!(texts(&own.inbox.take(5).await), numbers(0..5));
    assert_eq!(own.consumer.stats().undecodable, 1);
}

#[tokio::test(start_paused = true)]
async fn damaged_batches_do_not_use_up_the_window() {
    let broker = Broker::new();
    for entry in 0..20 {
        broker.publish_payloads(TOPIC, numbers(entry * 100..entry * 100 + 100));
    }
    broker.fault(Fault::sent(Type::Message).times(15).corrupt());
    let small = ConsumerOptions {
        receiver_queue_size: 150,
        ..patient(Exclusive)
    };
    let mut own = consume(&client(&broker), small).await;
    for entry in 15..20 {
        let messages = own.inbox.take(100).await;
        assert_eq!(texts(&messages), numbers(entry * 100..entry * 100 + 100));
        messages.iter().for_each(|message| own.ack(message));
    }
    assert_eq!(undecodable(&own.events).len(), 15);
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_none_cost_a_reconnect() {
    for fault in [
        Fault::sent(Type::Message).oversized(1 << 30),
        Fault::sent(Type::Message).oversized(u32::MAX),
        Fault::sent(Type::Message).garbage([0, 0, 0, 0]),
        Fault::sent(Type::Message).garbage([0, 0, 0, 3, 1, 2, 3]),
        Fault::sent(Type::Message).garbage([0, 0, 0, 8, 0, 0, 0, 9, 1, 2, 3, 4]),
        Fault::sent(Type::Message).garbage([0, 0, 0, 8, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
        Fault::sent(Type::SendReceipt).oversized(1 << 30),
        Fault::sent(Type::Success).garbage(*b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ] {
        let broker = Broker::new();
        let client = client(&broker);
        let options = pulsar_client::ProducerOptions::default();
        broker.fault(fault);
        let mut own = consume(&client, patient(Exclusive)).await;
        let (producer, _) = produce(&client, options).await;
        assert!(all_stored(
            &answer(start(&producer, plain(&numbers(0..10)))).await
        ));
        assert_eq!(texts(&own.inbox.take(10).await)[..10], numbers(0..10));
        assert!(own.events.outages().0 <= 1 && broker.connections().len() == 1);
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_noticed_by_keepalive() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, ["x"]);
    // The rest of this frame never comes, and what comes instead is swallowed by it.
    let half = 4_000_000u32.to_be_bytes();
    broker.fault(Fault::sent(Type::Message).garbage(half));
    broker.configure(|settings| settings.answers_pings = false);
    let mut own = consume(&client(&broker), patient(Exclusive)).await;
    assert_eq!(own.inbox.next().await.text, "x");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_none_fails_in_time() {
    for fault in [
        Fault::sent(Type::Connected)
            .always()
            .garbage(*b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Fault::sent(Type::Connected).always().oversized(u32::MAX),
        Fault::sent(Type::Connected).always().drop(),
        Fault::sent(Type::Connected).always().cut_before(),
        Fault::received(Type::Connect).always().stall(),
    ] {
        let broker = Broker::new();
        broker.fault(fault);
        let before = tokio::time::Instant::now();
        assert!(try_consume(&client(&broker), &[TOPIC], patient(Shared))
            .await
            .is_err());
        assert!(before.elapsed() <= seconds(31));
        assert!(client(&broker).check().await.is_err());
        broker.clear_faults();
        broker.publish_payloads(TOPIC, ["x"]);
        let mut own = consume(&client(&broker), patient(Shared)).await;
        assert_eq!(own.inbox.next().await.text, "x");
    }
}

#[tokio::test(start_paused = true)]
async fn a_metadata_of_many_properties_is_read() {
    let broker = Broker::new();
    let mut metadata = MessageMetadata::default();
    for number in 0..10_000 {
        let pair = pulsar::message::proto::KeyValue {
            key: number.to_string(),
            value: String::new(),
        };
        metadata.properties.push(pair);
    }
    assert!(metadata.encoded_len() > 64 * 1024);
    broker.publish(TOPIC, &metadata, "x");
    let mut own = consume(&client(&broker), patient(Shared)).await;
    assert_eq!(own.inbox.next().await.text, "x");
}
