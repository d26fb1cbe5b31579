//! No outage ends a producer or a consumer, and no broker makes a call hang.

mod support;

use std::sync::Arc;

use fake_broker::{Broker, Fault, LookupAnswer};
use pulsar::message::proto::base_command::Type;
use pulsar_client::consumer::SubscriptionType::{Exclusive, Failover, Shared};
use pulsar_client::error::ServerError;
use pulsar_client::{Client, ConsumerOptions, Error, Event, ProducerOptions};
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
async fn redirects_are_followed_but_not_for_ever() {
    let broker = Broker::new();
    let redirect = |n: u32| LookupAnswer::Redirect {
        url: format!("pulsar://b{n}:6650"),
        authoritative: true,
    };
    broker.script_lookups(TOPIC, (0..5).map(redirect));
    let (producer, _) = produce(&client(&broker), forever()).await;
    assert!(all_stored(&answer(start(&producer, plain(&["x"]))).await));
    broker.script_lookups(TOPIC, (0..100).map(redirect));
    let endless = client(&broker)
        .create_producer(TOPIC, forever(), Events::default().sink())
        .await;
    assert!(matches!(endless.err(), Some(Error::Protocol(_))));
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
async fn the_brokers_pings_and_challenges_are_answered() {
    let broker = Broker::new();
    broker.configure(|settings| settings.token = Some("secret".to_owned()));
    let mut config = config();
    config.authentication = Some(pulsar_client::config::Token::shared("secret"));
    let client = Client::with_transport(config, Arc::new(Memory(broker.clone())));
    let (_producer, _) = produce(&client, forever()).await;
    broker.ping_all();
    broker.challenge_all();
    until(&broker, |b| {
        b.count(Type::Pong) == 1 && b.count(Type::AuthResponse) == 1
    })
    .await;
    let refused = support::client(&broker)
        .create_producer(TOPIC, forever(), Events::default().sink())
        .await;
    let refused = refused.err();
    assert!(matches!(
        refused,
        Some(Error::Broker {
            code: ServerError::AuthenticationError,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn creation_fails_at_once_where_waiting_does_not_help() {
    let broker = Broker::new();
    let client = client(&broker);
    for error in [
        ServerError::ProducerBusy,
        ServerError::AuthorizationError,
        ServerError::TopicNotFound,
    ] {
        broker.fault(Fault::received(Type::Producer).fail(error));
        let before = Instant::now();
        let events = Events::default();
        let failed = client
            .create_producer(TOPIC, forever(), events.sink())
            .await
            .err();
        assert!(
            matches!(&failed, Some(Error::Broker { code, .. }) if *code == error),
            "{failed:?}"
        );
        assert_eq!(before.elapsed(), seconds(0));
        tokio::time::sleep(seconds(100)).await;
        assert_eq!(events.all().len(), 0, "{:?}", events.all());
    }
    for error in [ServerError::ConsumerBusy, ServerError::IncompatibleSchema] {
        broker.fault(Fault::received(Type::Subscribe).fail(error));
        let failed = try_consume(&client, &[TOPIC], options(Shared)).await.err();
        assert!(
            matches!(&failed, Some(Error::Broker { code, .. }) if *code == error),
            "{failed:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn creation_outlasts_what_passes_and_is_bounded_by_the_operation_timeout() {
    let broker = Broker::new();
    let client = client(&broker);
    for kind in [Type::PartitionedMetadata, Type::Lookup, Type::Producer] {
        broker.fault(
            Fault::received(kind)
                .times(3)
                .fail(ServerError::ServiceNotReady),
        );
        let (producer, _) = produce(&client, forever()).await;
        producer.close().await;
    }
    for kind in [
        Type::PartitionedMetadata,
        Type::Lookup,
        Type::Producer,
        Type::Subscribe,
    ] {
        for fault in [
            Fault::received(kind)
                .always()
                .fail(ServerError::ServiceNotReady),
            Fault::received(kind).always().drop(),
            Fault::received(kind).always().stall(),
        ] {
            broker.fault(fault.clone());
            let before = Instant::now();
            let failed = if kind == Type::Subscribe {
                try_consume(&client, &[TOPIC], options(Shared)).await.err()
            } else {
                let created = client.create_producer(TOPIC, forever(), Events::default().sink());
                timeout(LONG, created).await.unwrap().err()
            };
            assert!(failed.is_some());
            assert!(
                before.elapsed() <= seconds(31),
                "{fault:?}: {:?}",
                before.elapsed()
            );
            broker.clear_faults();
            broker.cut_all();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn creation_in_an_outage_waits_for_its_end() {
    let broker = Broker::new();
    broker.stop();
    let client = client(&broker);
    let before = Instant::now();
    let failed = client
        .create_producer(TOPIC, forever(), Events::default().sink())
        .await
        .err();
    assert!(matches!(failed, Some(Error::Connect { .. })), "{failed:?}");
    assert!(before.elapsed() > seconds(20) && before.elapsed() <= seconds(31));
    let starting = broker.clone();
    tokio::spawn(async move {
        tokio::time::sleep(seconds(15)).await;
        starting.start();
    });
    let (producer, _) = produce(&client, forever()).await;
    assert!(all_stored(&answer(start(&producer, plain(&["x"]))).await));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_swallows_packets_bounds_creation_too() {
    let client = Client::with_transport(config(), Arc::new(BlackHole));
    let before = Instant::now();
    let failed = client
        .create_producer(TOPIC, forever(), Events::default().sink())
        .await;
    assert!(failed.is_err());
    assert!(try_consume(&client, &[TOPIC], options(Shared))
        .await
        .is_err());
    assert!(before.elapsed() <= seconds(62), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_when_one_swallows_packets() {
    let broker = Broker::new();
    let mut config = config();
    config.service_url =
        pulsar_client::ServiceUrl::parse("pulsar://hole:6650,fake-broker:6650").unwrap();
    let client = Client::with_transport(config, Arc::new(Half(Memory(broker.clone()))));
    let first = client
        .create_producer(TOPIC, forever(), Events::default().sink())
        .await;
    assert!(first.is_ok(), "{:?}", first.err());
    broker.cut_all();
    // The address that answered comes first from now on.
    let before = Instant::now();
    let second = client
        .create_producer(TOPIC, forever(), Events::default().sink())
        .await;
    assert!(
        second.is_ok() && before.elapsed() <= seconds(1),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_swallows_packets_holds_up_all_its_topics_at_once_not_in_turn() {
    let broker = Broker::new();
    broker.set_partitions(TOPIC, 10);
    let client = Client::with_transport(config(), Arc::new(Half(Memory(broker.clone()))));
    let (producer, events) = produce(&client, forever()).await;
    let topics: Vec<String> = (0..10)
        .map(|index| format!("{TOPIC}-partition-{index}"))
        .collect();
    for topic in &topics {
        let url = "pulsar://hole:6650".to_owned();
        broker.script_lookups(topic, [LookupAnswer::Connect { url, proxy: false }]);
        broker.unload(topic);
    }
    tokio::time::sleep(seconds(65)).await;
    assert_eq!(
        (producer.stats().connected, events.outages()),
        (10, (10, 10))
    );
}

/// Of its addresses only the broker's answers.
struct Half(Memory);

impl pulsar_client::transport::Transport for Half {
    fn connect<'a>(
        &'a self,
        address: &'a pulsar_client::config::BrokerAddress,
    ) -> pulsar_client::transport::Connecting<'a> {
        if address.host == "hole" {
            BlackHole.connect(address)
        } else {
            self.0.connect(address)
        }
    }
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
