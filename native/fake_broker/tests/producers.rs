//! Handshake, lookup and producers.

mod client;

use client::{connect_command, ping, Client, TOPIC};
use fake_broker::{Broker, LookupAnswer};
use pulsar::message::proto::command_lookup_topic_response::LookupType;
use pulsar::message::proto::{
    CompressionType, MessageMetadata, ServerError, SingleMessageMetadata,
};

#[tokio::test(start_paused = true)]
async fn the_handshake_announces_the_settings() {
    let broker = Broker::new();
    broker.configure(|settings| {
        settings.protocol_version = 15;
        settings.max_message_size = Some(1000);
    });
    let mut client = Client::raw(broker.connect().unwrap());
    client.send(connect_command()).await;
    let connected = client.next().await.connected.unwrap();
    assert_eq!(connected.protocol_version(), 15);
    assert_eq!(connected.max_message_size, Some(1000));
    assert!(client.quiet().await);
    broker.configure(|settings| settings.answers_pings = false);
    client.send(ping()).await;
    assert_eq!(client.partitions().await.partitions(), 0);
}

#[tokio::test(start_paused = true)]
async fn commands_before_the_handshake_are_refused() {
    let mut client = Client::raw(Broker::new().connect().unwrap());
    client.send(ping()).await;
    assert!(client.closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_refused() {
    let broker = Broker::new();
    broker.configure(|settings| settings.token = Some("secret".to_owned()));
    for (token, welcome) in [
        (None, false),
        (Some("wrong"), false),
        (Some("secret"), true),
    ] {
        let mut client = Client::raw(broker.connect().unwrap());
        let mut command = connect_command();
        let connect = command.connect.as_mut().unwrap();
        connect.auth_method_name = token.map(|_| "token".to_owned());
        connect.auth_data = token.map(|token| token.as_bytes().to_vec());
        client.send(command).await;
        let answer = client.next().await;
        assert_eq!(answer.connected.is_some(), welcome);
        if !welcome {
            assert_eq!(
                answer.error.unwrap().error(),
                ServerError::AuthenticationError
            );
            assert!(client.closed().await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lookups_follow_their_script() {
    let broker = Broker::new();
    let redirect = LookupAnswer::Redirect {
        url: "pulsar://b:1".to_owned(),
        authoritative: true,
    };
    broker.script_lookups(
        "t",
        [redirect, LookupAnswer::Fail(ServerError::ServiceNotReady)],
    );
    broker.configure(|settings| settings.proxy_through_service_url = true);
    broker.set_partitions("t", 4);
    let mut client = Client::new(&broker).await;
    let first = client.look_up().await;
    assert_eq!(first.response(), LookupType::Redirect);
    assert_eq!(
        (first.broker_service_url(), first.authoritative()),
        ("pulsar://b:1", true)
    );
    let second = client.look_up().await;
    assert_eq!(
        (second.response(), second.error()),
        (LookupType::Failed, ServerError::ServiceNotReady)
    );
    let third = client.look_up().await;
    assert_eq!(third.response(), LookupType::Connect);
    assert!(third.proxy_through_service_url());
    assert_eq!(client.partitions().await.partitions(), 4);
}

#[tokio::test(start_paused = true)]
async fn messages_are_stored_in_order() {
    let broker = Broker::new();
    let mut client = Client::new(&broker).await;
    let success = client.producer(7, None).await.producer_success.unwrap();
    assert!(!success.producer_name.is_empty());
    assert_eq!(success.last_sequence_id(), -1);
    for (sequence_id, payload) in ["a", "b", "c"].into_iter().enumerate() {
        client.publish(7, sequence_id as u64, payload).await;
        assert_eq!(client.receipt().await.entry_id, sequence_id as u64);
    }
    let messages = broker.messages("t").unwrap();
    let payloads: Vec<_> = messages.into_iter().map(|m| m.payload.unwrap()).collect();
    assert_eq!(payloads, ["a", "b", "c"]);
    assert_eq!(broker.producers(TOPIC), [success.producer_name]);
    assert!(client.close_producer(7).await.success.is_some());
    assert!(broker.producers(TOPIC).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_producer_name_is_taken_while_its_connection_lives() {
    let broker = Broker::new();
    let mut first = Client::new(&broker).await;
    assert!(first
        .producer(1, Some("p"))
        .await
        .producer_success
        .is_some());
    let mut second = Client::new(&broker).await;
    let busy = second.producer(1, Some("p")).await.error.unwrap();
    assert_eq!(busy.error(), ServerError::ProducerBusy);
    drop(first);
    broker
        .until(|broker| broker.producers("t").is_empty())
        .await;
    assert!(second
        .producer(1, Some("p"))
        .await
        .producer_success
        .is_some());
}

#[tokio::test(start_paused = true)]
async fn deduplication_drops_what_it_has_seen() {
    let broker = Broker::new();
    broker.configure(|settings| settings.deduplication = true);
    let mut client = Client::new(&broker).await;
    client.producer(1, Some("p")).await;
    for (sequence_id, seen) in [(3, false), (3, true), (2, true), (4, false)] {
        client.publish(1, sequence_id, "x").await;
        assert_eq!(
            client.receipt().await.ledger_id == u64::MAX,
            seen,
            "{sequence_id}"
        );
    }
    assert_eq!(broker.entries("t").len(), 2);
    client.close_producer(1).await;
    let success = client
        .producer(2, Some("p"))
        .await
        .producer_success
        .unwrap();
    assert_eq!(success.last_sequence_id(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_message_is_not_stored() {
    let broker = Broker::new();
    let mut client = Client::new(&broker).await;
    client.producer(1, None).await;
    let mut bytes = Client::<tokio::io::DuplexStream>::message(1, 0, "payload").encode();
    *bytes.last_mut().unwrap() ^= 1;
    client.send_frame_bytes(&bytes).await;
    let error = client.next().await.send_error.unwrap();
    assert_eq!(error.error(), ServerError::ChecksumError);
    assert!(broker.entries("t").is_empty());
}

#[tokio::test(start_paused = true)]
async fn messages_come_out_of_compressed_batches() {
    let broker = Broker::new();
    let single = |key: &str| SingleMessageMetadata {
        partition_key: Some(key.to_owned()),
        ..Default::default()
    };
    broker.publish_batch(
        "t",
        &MessageMetadata::default(),
        [(single("a"), "one"), (single("b"), "two")],
    );
    let entry = broker.entries("t").remove(0);
    let body = entry.body();
    for codec in [
        CompressionType::Lz4,
        CompressionType::Zstd,
        CompressionType::Snappy,
    ] {
        let metadata = MessageMetadata {
            compression: Some(codec as i32),
            ..entry.metadata.clone()
        };
        let compressed = match codec {
            CompressionType::Lz4 => lz4_flex::block::compress(&body),
            CompressionType::Zstd => zstd::bulk::compress(&body, 3).unwrap(),
            _ => snap::raw::Encoder::new().compress_vec(&body).unwrap(),
        };
        broker.publish("t", &metadata, compressed);
    }
    let messages = broker.messages("t").unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.key.as_deref().unwrap(), m.payload.clone().unwrap()))
        .collect();
    assert_eq!(seen.len(), 8);
    for pair in seen.chunks(2) {
        assert_eq!(pair, [("a", "one".into()), ("b", "two".into())]);
    }
}
