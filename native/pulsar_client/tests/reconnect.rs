//! No outage ends a producer or a consumer.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fake_broker::{Broker, Fault, LookupAnswer};
use pulsar::message::proto::base_command::Type;
use pulsar_client::consumer::SubscriptionType::{Exclusive, Failover, Shared};
use pulsar_client::error::ServerError;
use pulsar_client::{ConsumerOptions, Error, Event, ProducerOptions};
use support::*;
use tokio::time::{timeout, Instant};

fn forever() -> ProducerOptions {
    ProducerOptions {
        send_timeout: None,
        ..ProducerOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn both_survive_outages_of_41_seconds_and_5_minutes() {
    for outage in [41, 300] {
        let broker = Broker::new();
        let client = client(&broker);
        let (producer, produced) = produce(&client, forever()).await;
        let mut own = consume(&client, options(Exclusive)).await;
        assert!(all_stored(
            &answer(start(&producer, plain(&["before"]))).await
        ));
        let before = own.inbox.next().await;
        own.ack(&before);
        tokio::time::sleep(seconds(1)).await;
        broker.stop();
        let during = start(&producer, plain(&["during"]));
        tokio::time::sleep(seconds(outage)).await;
        broker.start();
        assert!(all_stored(&answer(during).await));
        assert_eq!(own.inbox.next().await.text, "during");
        assert!(all_stored(
            &answer(start(&producer, plain(&["after"]))).await
        ));
        assert_eq!(own.inbox.next().await.text, "after");
        assert_eq!(stored(&broker, TOPIC), ["before", "during", "after"]);
        assert_eq!((produced.outages(), own.events.outages()), ((1, 1), (1, 1)));
        assert_eq!(
            (producer.stats().connected, own.consumer.stats().connected),
            (1, 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_cut_and_every_unload_is_told_once_and_survived() {
    let broker = Broker::new();
    let client = client(&broker);
    let (producer, produced) = produce(&client, forever()).await;
    let mut own = consume(&client, options(Failover)).await;
    for round in 0..10 {
        if round % 2 == 0 {
            broker.cut_all();
        } else {
            broker.unload(TOPIC);
        }
        let text = round.to_string();
        assert!(all_stored(&answer(start(&producer, plain(&[&text]))).await));
        let message = own.inbox.next().await;
        assert_eq!(message.text, text);
        own.ack(&message);
        tokio::time::sleep(seconds(20)).await;
    }
    assert_eq!(
        (produced.outages(), own.events.outages()),
        ((10, 10), (10, 10))
    );
    assert!(own.inbox.within(seconds(60)).await.is_empty());
    assert_eq!(client.open_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unload_costs_no_connection() {
    let broker = Broker::new();
    let client = client(&broker);
    let (producer, _) = produce(&client, forever()).await;
    let connections = broker.connections();
    broker.unload(TOPIC);
    assert!(all_stored(&answer(start(&producer, plain(&["x"]))).await));
    assert_eq!(broker.connections(), connections);
}

#[tokio::test(start_paused = true)]
async fn lookups_may_fail_for_long() {
    let broker = Broker::new();
    let client = client(&broker);
    let (producer, produced) = produce(&client, forever()).await;
    let mut own = consume(&client, options(Shared)).await;
    let failures = [
        ServerError::ServiceNotReady,
        ServerError::MetadataError,
        ServerError::TopicNotFound,
        ServerError::AuthorizationError,
    ];
    broker.script_lookups(
        TOPIC,
        failures
            .iter()
            .cycle()
            .take(40)
            .map(|e| LookupAnswer::Fail(*e)),
    );
    broker.unload(TOPIC);
    assert!(all_stored(&answer(start(&producer, plain(&["x"]))).await));
    assert_eq!(own.inbox.next().await.text, "x");
    assert_eq!((produced.outages(), own.events.outages()), ((1, 1), (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn refusals_on_reconnect_are_outlasted() {
    let broker = Broker::new();
    let client = client(&broker);
    let (producer, produced) = produce(&client, forever()).await;
    let mut own = consume(&client, options(Exclusive)).await;
    broker.fault(
        Fault::received(Type::Subscribe)
            .times(8)
            .fail(ServerError::ConsumerBusy),
    );
    broker.fault(
        Fault::received(Type::Producer)
            .times(8)
            .fail(ServerError::ProducerBusy),
    );
    broker.cut_all();
    assert!(all_stored(&answer(start(&producer, plain(&["x"]))).await));
    assert_eq!(own.inbox.next().await.text, "x");
    assert_eq!((produced.outages(), own.events.outages()), ((1, 1), (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_noticed_within_two_keepalives() {
    let broker = Broker::new();
    let client = client(&broker);
    let (producer, produced) = produce(&client, forever()).await;
    let own = consume(&client, options(Shared)).await;
    tokio::time::sleep(seconds(100)).await;
    broker.stall_all();
    let before = Instant::now();
    let sent = start(&producer, plain(&["x"]));
    assert!(all_stored(&answer(sent).await));
    assert!(before.elapsed() <= seconds(61), "{:?}", before.elapsed());
    tokio::time::sleep(seconds(1)).await;
    assert_eq!((produced.outages(), own.events.outages()), ((1, 1), (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_kept() {
    let broker = Broker::new();
    let (_producer, produced) = produce(&client(&broker), forever()).await;
    tokio::time::sleep(seconds(3600)).await;
    assert_eq!(produced.outages(), (0, 0));
    assert!(broker.count(Type::Ping) >= 100);
}

#[tokio::test(start_paused = true)]
async fn what_closes_while_it_reconnects_leaves_nothing_at_the_broker() {
    let broker = Broker::new();
    let client = client(&broker);
    let named = ProducerOptions {
        name: Some("p".to_owned()),
        ..forever()
    };
    let (producer, _) = produce(&client, named.clone()).await;
    let own = consume(&client, options(Exclusive)).await;
    // Both are being created again when they are closed.
    broker.fault(Fault::sent(Type::ProducerSuccess).drop());
    broker.fault(Fault::sent(Type::Success).drop());
    broker.clear_log();
    broker.unload(TOPIC);
    until(&broker, |b| {
        b.count(Type::Producer) == 1 && b.count(Type::Subscribe) == 1
    })
    .await;
    tokio::time::sleep(seconds(1)).await;
    timeout(seconds(40), producer.close()).await.unwrap();
    own.close().await;
    tokio::time::sleep(seconds(1)).await;
    assert!(broker.producers(TOPIC).is_empty());
    assert!(broker
        .subscription(TOPIC, SUB)
        .unwrap()
        .consumers
        .is_empty());
    produce(&client, named).await;
    consume(&client, options(Exclusive)).await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_dropped_without_close_leaves_the_broker() {
    let broker = Broker::new();
    let client = client(&broker);
    let own = consume(
        &client,
        ConsumerOptions {
            paused: true,
            ..options(Exclusive)
        },
    )
    .await;
    let (producer, _) = produce(&client, forever()).await;
    drop((own, producer));
    until(&broker, |b| {
        b.producers(TOPIC).is_empty() && b.subscription(TOPIC, SUB).unwrap().consumers.is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_topic_ends_its_producer_with_an_event() {
    let broker = Broker::new();
    let client = client(&broker);
    let (producer, events) = produce(&client, forever()).await;
    broker.fault(Fault::received(Type::Send).fail(ServerError::TopicTerminatedError));
    let failed = failures(&answer(start(&producer, plain(&["x"]))).await);
    assert!(
        matches!(failed[..], [(1, Error::TopicTerminated)]),
        "{failed:?}"
    );
    assert_eq!(
        events.count(|event| matches!(event, Event::Ended { .. })),
        1
    );
    let list = plain(&["y"]);
    assert!(matches!(
        producer.send(list, Box::new(|_| {}), None),
        Err(Error::Closed)
    ));
    timeout(LONG, producer.close()).await.unwrap();
}
