//! Creating fails at once where waiting does not help, and in time where it might.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use fake_broker::{Broker, Fault, LookupAnswer};
use pulsar::message::proto::base_command::Type;
use pulsar_client::consumer::SubscriptionType::Shared;
use pulsar_client::error::ServerError;
use pulsar_client::{Client, Error, ProducerOptions};
use support::*;
use tokio::time::{timeout, Instant};

fn forever() -> ProducerOptions {
    ProducerOptions {
        send_timeout: None,
        ..ProducerOptions::default()
    }
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
