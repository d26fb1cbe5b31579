//! Everything that can go wrong on purpose.

mod client;

use std::time::Duration;

use client::{connect_command, ping, Client};
use fake_broker::{Broker, Fault, Frame};
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::command_subscribe::SubType;
use pulsar::message::proto::ServerError;
use tokio::net::TcpStream;
use tokio::time::{timeout, Instant};

async fn producing(broker: &Broker) -> Client {
    let mut client = Client::new(broker).await;
    client.producer(1, Some("p")).await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_a_message_loses_it() {
    let broker = Broker::new();
    broker.fault(Fault::received(Type::Send).nth(2).cut_before());
    let mut client = producing(&broker).await;
    client.publish(1, 0, "a").await;
    client.receipt().await;
    client.publish(1, 1, "b").await;
    assert!(client.closed().await);
    broker.until(|broker| broker.connections().is_empty()).await;
    assert_eq!(broker.entries("t").len(), 1);
    assert_eq!(broker.count(Type::Send), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_a_message_loses_its_receipt() {
    let broker = Broker::new();
    broker.fault(Fault::received(Type::Send).cut_after());
    let mut client = producing(&broker).await;
    client.publish(1, 0, "a").await;
    assert!(client.closed().await);
    assert_eq!(broker.entries("t").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_around_a_sent_command() {
    let broker = Broker::new();
    broker.fault(Fault::sent(Type::SendReceipt).cut_after());
    broker.fault(Fault::sent(Type::SendReceipt).nth(2).cut_before());
    for receives in [true, false] {
        let mut client = producing(&broker).await;
        client.publish(1, 0, "a").await;
        if receives {
            client.receipt().await;
        }
        assert!(client.closed().await);
        broker.until(|broker| broker.connections().is_empty()).await;
    }
    assert_eq!(broker.entries("t").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_connection_is_open_and_dead() {
    let broker = Broker::new();
    let mut client = producing(&broker).await;
    broker.fault(Fault::received(Type::Send).stall());
    client.publish(1, 0, "a").await;
    client.publish(1, 1, "b").await;
    client.send(ping()).await;
    assert!(timeout(Duration::from_secs(3600), client.frame())
        .await
        .is_err());
    assert!(broker.entries("t").is_empty());
    assert_eq!(broker.connections().len(), 1);
    broker.cut_all();
    assert!(client.closed().await);
}

#[tokio::test(start_paused = true)]
async fn all_connections_can_stall() {
    let broker = Broker::new();
    let mut client = Client::new(&broker).await;
    broker.stall_all();
    client.send(ping()).await;
    assert!(timeout(Duration::from_secs(3600), client.frame())
        .await
        .is_err());
    assert_eq!(broker.count(Type::Ping), 0);
}

#[tokio::test(start_paused = true)]
async fn commands_can_be_dropped_and_delayed() {
    let broker = Broker::new();
    let mut client = Client::new(&broker).await;
    broker.fault(Fault::received(Type::Ping).drop());
    client.send(ping()).await;
    broker.fault(Fault::sent(Type::Pong).delay(Duration::from_secs(5)));
    let before = Instant::now();
    client.send(ping()).await;
    assert!(client.next().await.pong.is_some());
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    broker.fault(Fault::sent(Type::Pong).drop());
    client.send(ping()).await;
    assert_eq!(client.partitions().await.partitions(), 0);
    broker.fault(Fault::received(Type::Ping).delay(Duration::from_secs(7)));
    let before = Instant::now();
    assert!(client.quiet().await);
    assert_eq!(before.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn errors_have_the_form_of_their_request() {
    let broker = Broker::new();
    let code = ServerError::ServiceNotReady;
    for kind in [
        Type::Producer,
        Type::Subscribe,
        Type::Lookup,
        Type::PartitionedMetadata,
        Type::Send,
        Type::Connect,
    ] {
        broker.fault(Fault::received(kind).fail(code));
    }
    let mut refused = Client::raw(broker.connect().unwrap());
    refused.send(connect_command()).await;
    assert_eq!(refused.next().await.error.unwrap().error(), code);
    assert!(refused.closed().await);

    let mut client = Client::new(&broker).await;
    assert_eq!(client.producer(1, None).await.error.unwrap().error(), code);
    assert_eq!(
        client
            .subscribe(1, SubType::Shared)
            .await
            .error
            .unwrap()
            .error(),
        code
    );
    assert_eq!(client.look_up().await.error(), code);
    assert_eq!(client.partitions().await.error(), code);
    client.producer(1, None).await.producer_success.unwrap();
    client.publish(1, 9, "a").await;
    let error = client.next().await.send_error.unwrap();
    assert_eq!((error.sequence_id, error.error()), (9, code));
    client.publish(1, 9, "a").await;
    client.receipt().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_can_arrive_damaged() {
    let broker = Broker::new();
    broker.publish_payloads("t", ["a"]);
    broker.publish_payloads("t", ["b"]);
    broker.fault(Fault::sent(Type::Message).corrupt());
    let mut client = Client::subscribed(&broker, SubType::Shared, 10).await;
    assert!(!client.frame().await.unwrap().payload.unwrap().intact);
    assert!(client.frame().await.unwrap().payload.unwrap().intact);
}

#[tokio::test(start_paused = true)]
async fn garbage_takes_the_place_of_a_command() {
    let broker = Broker::new();
    let mut client = Client::new(&broker).await;
    broker.fault(Fault::sent(Type::Pong).garbage(*b"nonsense"));
    broker.fault(Fault::sent(Type::Pong).nth(2).oversized(u32::MAX));
    client.send(ping()).await;
    client.send(ping()).await;
    assert_eq!(client.bytes(12).await, *b"nonsense\xff\xff\xff\xff");
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_what_is_stored() {
    let broker = Broker::new();
    let mut client = producing(&broker).await;
    client.publish(1, 0, "a").await;
    let before = client.receipt().await;
    broker.stop();
    assert!(client.closed().await);
    let refused = broker.connect().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(broker.producers("t").is_empty());
    broker.start();
    let mut client = producing(&broker).await;
    client.publish(1, 1, "b").await;
    let after = client.receipt().await;
    assert!(after.ledger_id > before.ledger_id && after.entry_id == 0);
    assert_eq!(broker.messages("t").unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_topic_can_move_away() {
    let broker = Broker::new();
    let mut client = producing(&broker).await;
    client.subscribe(4, SubType::Shared).await;
    broker.unload("t");
    assert_eq!(client.next().await.close_producer.unwrap().producer_id, 1);
    assert_eq!(client.next().await.close_consumer.unwrap().consumer_id, 4);
    // Messages for a closed producer go unanswered.
    client.publish(1, 0, "a").await;
    assert!(client.quiet().await);
    assert!(broker.entries("t").is_empty() && broker.producers("t").is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_broker_asks_for_life_and_credentials() {
    let broker = Broker::new();
    let mut client = Client::new(&broker).await;
    broker.ping_all();
    assert!(client.next().await.ping.is_some());
    broker.challenge_all();
    assert!(client.next().await.auth_challenge.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_fault_can_wait_for_its_connection() {
    let broker = Broker::new();
    let mut first = Client::new(&broker).await;
    let mut second = Client::new(&broker).await;
    let ids = broker.connections();
    broker.fault(Fault::received(Type::Ping).connection(ids[1]).cut_before());
    assert!(first.quiet().await);
    second.send(ping()).await;
    assert!(second.closed().await);
    broker.fault(Fault::received(Type::Ping).cut_before());
    broker.clear_faults();
    assert!(first.quiet().await);
    let log = broker.received(Type::Ping);
    assert_eq!(
        log.iter().map(|r| r.connection).collect::<Vec<_>>(),
        [ids[0], ids[1], ids[0]]
    );
    broker.clear_log();
    assert!(broker.log().is_empty());
}

#[tokio::test]
async fn serves_tcp() {
    let broker = Broker::new();
    let listening = broker.listen("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listening.address()).await.unwrap();
    let mut client = Client::raw(stream);
    client.send(connect_command()).await;
    assert!(client.next().await.connected.is_some());
    broker.stop();
    assert!(client.closed().await);
    let mut refused = Client::raw(TcpStream::connect(listening.address()).await.unwrap());
    assert!(refused.closed().await);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_close_the_connection() {
    let broker = Broker::new();
    let mut client = Client::new(&broker).await;
    client.send_frame_bytes(&[0xff; 8]).await;
    assert!(client.closed().await);
    // A message without its entry is no better.
    let mut client = producing(&broker).await;
    let command = *Client::<tokio::io::DuplexStream>::message(1, 0, "a").command;
    client.send_frame(Frame::simple(command)).await;
    assert!(client.closed().await);
}
