//! How messages travel: in batches, alone, by key.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use fake_broker::Broker;
use pulsar_client::producer::{hash::java_string_hash, MessageOptions, Outgoing, Stored};
use pulsar_client::{Error, Event, ProducerOptions};
use support::*;
use tokio::time::timeout;

fn small_batches() -> ProducerOptions {
    ProducerOptions {
        batch_size: 10,
        send_timeout: None,
        ..ProducerOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn lists_fill_batches_and_a_single_message_is_none() {
    let broker = Broker::new();
    let (producer, events) = produce(&client(&broker), small_batches()).await;
    let runs = answer(start(&producer, plain(&numbers(0..25)))).await;
    let sizes: Vec<usize> = broker
        .entries(TOPIC)
        .iter()
        .map(|entry| entry.num_messages)
        .collect();
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(positions(&runs)[&24].2, 4);
    let runs = answer(start(&producer, plain(&["alone"]))).await;
    let entry = broker.entries(TOPIC).pop().unwrap();
    assert_eq!(entry.metadata.num_messages_in_batch, None);
    assert_eq!(positions(&runs)[&0], (entry.ledger_id, entry.entry_id, -1));
    tokio::time::sleep(seconds(2)).await;
    let published = events.all();
    assert!(
        matches!(
            published[..],
            [Event::Published {
                count: 26,
                failed: 0,
                ..
            }]
        ),
        "{published:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_travels_alone_and_a_tombstone_as_such() {
    let broker = Broker::new();
    let (producer, _) = produce(&client(&broker), small_batches()).await;
    let delayed = Some(MessageOptions {
        deliver_at: Some(123_456),
        ..Default::default()
    });
    let mut list = list([
        ("a", None),
        ("b", None),
        ("c", delayed),
        ("d", None),
        ("e", None),
    ]);
    list.messages.push(Outgoing {
        payload: None,
        options: keyed("k").map(Box::new),
    });
    assert!(all_stored(&answer(start(&producer, list)).await));
    let entries = broker.entries(TOPIC);
    let sizes: Vec<usize> = entries.iter().map(|entry| entry.num_messages).collect();
    assert_eq!(sizes, [2, 1, 3]);
    assert_eq!(entries[1].metadata.deliver_at_time, Some(123_456));
    assert_eq!(entries[1].metadata.num_messages_in_batch, None);
    let last = broker.messages(TOPIC).unwrap().pop().unwrap();
    assert_eq!((last.payload, last.key.as_deref()), (None, Some("k")));
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_brokers_limit_fails_alone() {
    let broker = Broker::new();
    broker.configure(|settings| settings.max_message_size = Some(10_000));
    let options = ProducerOptions {
        compression: pulsar_client::wire::compression::Compression::None,
        batch_size: 1000,
        ..small_batches()
    };
    let (producer, events) = produce(&client(&broker), options).await;
    let large = "x".repeat(10_001);
    let fits = "y".repeat(10_000);
    let property = |size: usize| {
        let properties = vec![("p".to_owned(), "v".repeat(size))];
        Some(MessageOptions {
            properties,
            ..Default::default()
        })
    };
    let messages = list([
        ("a", None),
        (&large, None),
        (&fits, None),
        ("b", property(9_000)),
        ("c", property(9_000)),
        ("d", property(9_000)),
        ("e", property(40_000)),
        ("f", None),
    ]);
    let runs = timeout(seconds(20), answer(start(&producer, messages)))
        .await
        .unwrap();
    let failed: Vec<u32> = runs
        .iter()
        .filter(|run| run.result.is_err())
        .map(|run| run.first)
        .collect();
    assert_eq!(failed, [1, 6], "{:?}", failures(&runs));
    for (_, error) in failures(&runs) {
        assert!(
            matches!(error, Error::MessageTooLarge { limit: 10_000, .. }),
            "{error:?}"
        );
    }
    assert_eq!(stored(&broker, TOPIC), ["a", &fits, "b", "c", "d", "f"]);
    assert_eq!(events.outages(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn keys_go_where_the_java_client_puts_them_and_keyless_lists_stay_together() {
    let broker = Broker::new();
    broker.set_partitions(TOPIC, 4);
    let (producer, _) = produce(&client(&broker), small_batches()).await;
    let keys: Vec<String> = (0..100).map(|n| format!("key-{n}")).collect();
    let messages = list(keys.iter().map(|key| (key.as_str(), keyed(key))));
    assert!(all_stored(&answer(start(&producer, messages)).await));
    let partition = |index: u32| stored(&broker, &format!("{TOPIC}-partition-{index}"));
    for index in 0..4 {
        let expected: Vec<&String> = keys
            .iter()
            .filter(|k| java_string_hash(k) % 4 == index)
            .collect();
        assert_eq!(partition(index).iter().collect::<Vec<_>>(), expected);
    }
    let before: Vec<usize> = (0..4).map(|index| partition(index).len()).collect();
    let mut hit = BTreeMap::new();
    for _ in 0..8 {
        let runs = answer(start(&producer, plain(&numbers(0..20)))).await;
        let mut partitions: Vec<i32> = runs
            .iter()
            .map(|run| match run.result {
                Ok(Stored::At { partition, .. }) => partition,
                ref other => panic!("{other:?}"),
            })
            .collect();
        partitions.dedup();
        assert_eq!(partitions.len(), 1);
        *hit.entry(partitions[0]).or_insert(0) += 20;
    }
    assert_eq!(hit.len(), 4);
    for index in 0..4 {
        assert_eq!(
            partition(index).len(),
            before[index as usize] + hit[&(index as i32)]
        );
    }
}
