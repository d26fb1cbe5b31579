//! What is reported stored is stored, in order; what was not is told.

mod support;

use std::collections::BTreeMap;

use fake_broker::{Broker, Fault};
use pulsar::message::proto::base_command::Type;
use pulsar_client::error::ServerError;
use pulsar_client::producer::{hash::java_string_hash, MessageOptions, Outgoing, Stored};
use pulsar_client::{Error, Event, ProducerOptions};
use support::*;
use tokio::time::{timeout, Instant};

fn small_batches() -> ProducerOptions {
    ProducerOptions {
        batch_size: 10,
        send_timeout: None,
        ..ProducerOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn many_batches_are_in_flight_at_once() {
    let broker = Broker::new();
    let (producer, _) = produce(&client(&broker), small_batches()).await;
    broker.fault(Fault::sent(Type::SendReceipt).stall());
    let sent = start(&producer, plain(&numbers(0..500)));
    until(&broker, |b| b.entries(TOPIC).len() == 50).await;
    broker.cut_all();
    assert!(all_stored(&answer(sent).await));
}

#[tokio::test(start_paused = true)]
async fn what_was_in_flight_at_a_cut_is_sent_again_in_order() {
    for fault in [
        Fault::received(Type::Send).nth(3).cut_before(),
        Fault::received(Type::Send).nth(3).cut_after(),
        Fault::sent(Type::SendReceipt).nth(3).cut_before(),
        Fault::sent(Type::SendReceipt).nth(3).cut_after(),
    ] {
        let broker = Broker::new();
        broker.configure(|settings| settings.deduplication = true);
        let (producer, _) = produce(&client(&broker), small_batches()).await;
        broker.fault(fault);
        let sent = start(&producer, plain(&numbers(0..100)));
        let runs = answer(sent).await;
        assert!(all_stored(&runs));
        assert_eq!(stored(&broker, TOPIC), numbers(0..100));
        // Every id that was given is the place where that very message lies.
        let messages = broker.messages(TOPIC).unwrap();
        for (index, place) in positions(&runs) {
            let at =
                |m: &&fake_broker::StoredMessage| (m.ledger_id, m.entry_id, m.batch_index) == place;
            let found = messages.iter().find(at).unwrap();
            assert_eq!(text(found.payload.clone().unwrap()), index.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_deduplication_a_resend_may_repeat_but_never_loses_or_reorders() {
    let broker = Broker::new();
    let (producer, _) = produce(&client(&broker), small_batches()).await;
    broker.fault(Fault::sent(Type::SendReceipt).nth(4).cut_before());
    assert!(all_stored(
        &answer(start(&producer, plain(&numbers(0..100)))).await
    ));
    let mut seen = Vec::new();
    for text in stored(&broker, TOPIC) {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    assert_eq!(seen, numbers(0..100));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_producer_continues_its_sequence() {
    let broker = Broker::new();
    broker.configure(|settings| settings.deduplication = true);
    let named = ProducerOptions {
        name: Some("p".to_owned()),
        ..small_batches()
    };
    for round in 0..3 {
        let (producer, _) = produce(&client(&broker), named.clone()).await;
        let runs = answer(start(&producer, plain(&numbers(round * 5..round * 5 + 5)))).await;
        assert!(all_stored(&runs) && positions(&runs).len() == 5, "{runs:?}");
        producer.close().await;
    }
    assert_eq!(stored(&broker, TOPIC), numbers(0..15));
    let messages = broker.messages(TOPIC).unwrap();
    let sequence: Vec<u64> = messages.iter().map(|message| message.sequence_id).collect();
    assert_eq!(sequence, (0..15).collect::<Vec<u64>>());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_sequence_id_is_a_duplicate_and_an_own_resend_is_not() {
    let broker = Broker::new();
    broker.configure(|settings| settings.deduplication = true);
    let (producer, _) = produce(&client(&broker), small_batches()).await;
    let numbered = |sequence_id| {
        Some(MessageOptions {
            sequence_id: Some(sequence_id),
            ..Default::default()
        })
    };
    let runs = answer(start(&producer, list([("a", numbered(7))]))).await;
    assert_eq!(positions(&runs).len(), 1);
    let failed = failures(&answer(start(&producer, list([("b", numbered(7))]))).await);
    assert!(matches!(failed[..], [(1, Error::Duplicate)]), "{failed:?}");
    // The next of the producer's own numbers is above.
    assert!(all_stored(&answer(start(&producer, plain(&["c"]))).await));
    broker.fault(Fault::received(Type::Send).cut_after());
    let runs = answer(start(&producer, plain(&["d"]))).await;
    assert!(
        matches!(runs[..], [ref run] if matches!(run.result, Ok(Stored::Already))),
        "{runs:?}"
    );
    assert_eq!(stored(&broker, TOPIC), ["a", "c", "d"]);
    let stats = producer.stats();
    assert_eq!((stats.messages_sent, stats.messages_failed), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_send_without_receipt_fails_at_its_timeout() {
    let broker = Broker::new();
    let options = ProducerOptions {
        send_timeout: Some(seconds(7)),
        ..ProducerOptions::default()
    };
    let (producer, _) = produce(&client(&broker), options).await;
    broker.fault(Fault::received(Type::Send).always().drop());
    let before = Instant::now();
    let first = start(&producer, plain(&numbers(0..3)));
    tokio::time::sleep(seconds(2)).await;
    let second = start(&producer, plain(&["x"]));
    let failed = failures(&answer(first).await);
    assert!(
        matches!(failed[..], [(3, Error::SendTimeout)]),
        "{failed:?}"
    );
    let millis = |at: Instant| at.elapsed().as_millis();
    assert!((7000..7010).contains(&millis(before)), "{}", millis(before));
    assert!(matches!(
        failures(&answer(second).await)[..],
        [(1, Error::SendTimeout)]
    ));
    assert!((9000..9010).contains(&millis(before)), "{}", millis(before));
    let stats = producer.stats();
    assert_eq!(
        (
            stats.pending_messages,
            stats.pending_bytes,
            stats.messages_failed
        ),
        (0, 0, 4)
    );
    broker.clear_faults();
    assert!(all_stored(&answer(start(&producer, plain(&["y"]))).await));
}

#[tokio::test(start_paused = true)]
async fn lists_that_wait_for_room_time_out_like_others() {
    let broker = Broker::new();
    let options = ProducerOptions {
        send_timeout: Some(seconds(7)),
        max_pending_messages: 5,
        ..ProducerOptions::default()
    };
    let (producer, _) = produce(&client(&broker), options).await;
    broker.stop();
    let before = Instant::now();
    let sent: Vec<_> = (0..4)
        .map(|_| start(&producer, plain(&numbers(0..5))))
        .collect();
    for waiting in sent {
        assert!(matches!(
            failures(&answer(waiting).await)[..],
            [(5, Error::SendTimeout)]
        ));
    }
    assert!(before.elapsed() < seconds(8));
    broker.start();
    assert!(all_stored(&answer(start(&producer, plain(&["y"]))).await));
    assert_eq!(stored(&broker, TOPIC), ["y"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_first_come_first_served_and_can_be_withdrawn() {
    let broker = Broker::new();
    let options = ProducerOptions {
        max_pending_messages: 5,
        ..small_batches()
    };
    let (producer, _) = produce(&client(&broker), options).await;
    broker.stop();
    let first = start(&producer, plain(&numbers(0..5)));
    let refused = producer.send(plain(&["no"]), Box::new(|_| panic!("answered")), None);
    assert!(matches!(refused, Err(Error::QueueFull)));
    let second = start(&producer, plain(&numbers(5..8)));
    let withdrawn = producer.send(
        plain(&["no"]),
        Box::new(|_| panic!("answered")),
        Some(Box::new(|| {})),
    );
    let Ok(pulsar_client::producer::Admitted::Later(ticket)) = withdrawn else {
        panic!("admitted at once")
    };
    let third = start(&producer, plain(&numbers(8..10)));
    assert!(producer.withdraw(ticket) && !producer.withdraw(ticket));
    assert_eq!(producer.stats().pending_messages, 5);
    broker.start();
    for sent in [first, second, third] {
        assert!(all_stored(&answer(sent).await));
    }
    assert_eq!(stored(&broker, TOPIC), numbers(0..10));
}

#[tokio::test(start_paused = true)]
async fn the_bound_by_bytes_is_exact_and_larger_lists_go_alone() {
    let broker = Broker::new();
    let options = ProducerOptions {
        max_pending_bytes: 100,
        ..small_batches()
    };
    let (producer, _) = produce(&client(&broker), options).await;
    broker.stop();
    let large = "x".repeat(60);
    let first = start(&producer, plain(&[&large]));
    let full = |text: &str| {
        let sent = producer.send(plain(&[text]), Box::new(|_| {}), None);
        matches!(sent, Err(Error::QueueFull))
    };
    assert!(full(&"y".repeat(41)));
    let second = start(&producer, plain(&["z".repeat(40)]));
    assert_eq!(producer.stats().pending_bytes, 100);
    assert!(full("!"));
    let larger = start(&producer, plain(&["l".repeat(1000)]));
    broker.start();
    for sent in [first, second, larger] {
        assert!(all_stored(&answer(sent).await));
    }
    assert_eq!(stored(&broker, TOPIC).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_all_that_was_sent_before_also_for_what_waits() {
    let broker = Broker::new();
    let options = ProducerOptions {
        max_pending_messages: 5,
        ..small_batches()
    };
    let (producer, _) = produce(&client(&broker), options).await;
    broker.fault(Fault::sent(Type::SendReceipt).always().delay(seconds(1)));
    let sent: Vec<_> = (0..10)
        .map(|n| start(&producer, plain(&numbers(n * 5..n * 5 + 5))))
        .collect();
    timeout(LONG, producer.flush()).await.unwrap();
    assert_eq!(stored(&broker, TOPIC), numbers(0..50));
    for mut sent in sent {
        assert!(sent.try_recv().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn close_drains_what_is_pending_and_refuses_what_comes_later() {
    let broker = Broker::new();
    let (producer, _) = produce(&client(&broker), small_batches()).await;
    broker.fault(Fault::received(Type::Send).nth(2).cut_before());
    let mut sent = start(&producer, plain(&numbers(0..55)));
    timeout(LONG, producer.close()).await.unwrap();
    assert!(all_stored(&sent.try_recv().unwrap()));
    assert!(broker.producers(TOPIC).is_empty());
    let late = producer.send(plain(&["late"]), Box::new(|_| panic!("answered")), None);
    assert!(matches!(late, Err(Error::Closed)));
    assert!(producer.send_and_wait(plain(&["late"])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn close_without_a_broker_is_bounded_by_the_send_timeout() {
    let broker = Broker::new();
    let options = ProducerOptions {
        send_timeout: Some(seconds(7)),
        max_pending_messages: 2,
        ..small_batches()
    };
    let (producer, _) = produce(&client(&broker), options).await;
    broker.stop();
    let sent = start(&producer, plain(&["a", "b"]));
    let waiting = start(&producer, plain(&["c"]));
    let before = Instant::now();
    timeout(LONG, producer.close()).await.unwrap();
    assert!(before.elapsed() <= seconds(8));
    assert!(matches!(
        failures(&answer(sent).await)[..],
        [(2, Error::SendTimeout)]
    ));
    assert!(matches!(
        failures(&answer(waiting).await)[..],
        [(1, Error::Closed)]
    ));
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

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_allowed_fails_and_others_go_on() {
    let broker = Broker::new();
    let (producer, events) = produce(&client(&broker), small_batches()).await;
    broker.fault(
        Fault::received(Type::Send)
            .nth(2)
            .fail(ServerError::NotAllowedError),
    );
    let runs = answer(start(&producer, plain(&numbers(0..30)))).await;
    let failed = failures(&runs);
    assert!(
        matches!(
            failed[..],
            [(
                10,
                Error::Broker {
                    code: ServerError::NotAllowedError,
                    ..
                }
            )]
        ),
        "{failed:?}"
    );
    assert_eq!(events.outages(), (0, 0));
    assert_eq!(stored(&broker, TOPIC).len(), 20);
    assert_eq!(producer.stats().pending_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn other_refusals_are_sent_again_in_order() {
    let errors = [
        ServerError::PersistenceError,
        ServerError::UnknownError,
        ServerError::MetadataError,
    ];
    for error in errors {
        let broker = Broker::new();
        broker.configure(|settings| settings.deduplication = true);
        let (producer, _) = produce(&client(&broker), small_batches()).await;
        broker.fault(Fault::received(Type::Send).times(3).fail(error));
        assert!(all_stored(
            &answer(start(&producer, plain(&numbers(0..10)))).await
        ));
        assert_eq!(stored(&broker, TOPIC), numbers(0..10));
        timeout(LONG, producer.close()).await.unwrap();
        assert!(broker.producers(TOPIC).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_refused_for_its_checksum_is_given_up_after_two_tries() {
    let broker = Broker::new();
    let (producer, _) = produce(&client(&broker), small_batches()).await;
    broker.fault(Fault::received(Type::Send).fail(ServerError::ChecksumError));
    assert!(all_stored(
        &answer(start(&producer, plain(&["once"]))).await
    ));
    broker.fault(
        Fault::received(Type::Send)
            .times(2)
            .fail(ServerError::ChecksumError),
    );
    let failed = failures(&answer(start(&producer, plain(&["twice"]))).await);
    assert!(matches!(
        failed[..],
        [(
            1,
            Error::Broker {
                code: ServerError::ChecksumError,
                ..
            }
        )]
    ));
    assert!(all_stored(
        &answer(start(&producer, plain(&["next"]))).await
    ));
    assert_eq!(stored(&broker, TOPIC), ["once", "next"]);
}
