//! What is reported stored is stored, in order, whatever happens on the way.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fake_broker::{Broker, Fault};
use pulsar::message::proto::base_command::Type;
use pulsar_client::error::ServerError;
use pulsar_client::producer::{MessageOptions, Stored};
use pulsar_client::{Error, ProducerOptions};
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
