//! Subscriptions: dispatch, permits, acknowledgment, redelivery, seek.

mod client;

use client::{Client, TOPIC};
use fake_broker::Broker;
use pulsar::message::proto::command_ack::AckType::{Cumulative, Individual};
use pulsar::message::proto::command_subscribe::{InitialPosition, SubType};
use pulsar::message::proto::{MessageIdData, MessageMetadata, ServerError};

fn keyed(broker: &Broker, key: &str, publish_time: u64) -> MessageIdData {
    let metadata = MessageMetadata {
        partition_key: Some(key.to_owned()),
        publish_time,
        ..Default::default()
    };
    broker.publish("t", &metadata, "x")
}

fn singles(broker: &Broker, count: u64) -> Vec<MessageIdData> {
    (0..count).map(|time| keyed(broker, "k", time)).collect()
}

fn batch_of(broker: &Broker, count: u8) -> MessageIdData {
    broker.publish_payloads("t", (0..count).map(|i| [i]))
}

fn unacked(broker: &Broker) -> Vec<u8> {
    let messages = broker.unacked("t", "s").into_iter().flatten();
    messages
        .filter_map(|message| message.payload?.first().copied())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn permits_bound_what_is_sent() {
    let broker = Broker::new();
    singles(&broker, 5);
    let mut client = Client::subscribed(&broker, SubType::Exclusive, 2).await;
    assert_eq!(client.deliveries(2).await, [(0, 0), (1, 0)]);
    assert!(client.quiet().await);
    client.flow(1, 2).await;
    assert_eq!(client.deliveries(2).await, [(2, 0), (3, 0)]);
    assert!(client.quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_as_many_permits_as_messages() {
    let broker = Broker::new();
    batch_of(&broker, 10);
    batch_of(&broker, 1);
    let mut client = Client::subscribed(&broker, SubType::Shared, 4).await;
    assert_eq!(client.deliveries(1).await, [(0, 0)]);
    assert_eq!(
        broker.subscription("t", "s").unwrap().consumers[0].permits,
        -6
    );
    client.flow(1, 6).await;
    assert!(client.quiet().await);
    client.flow(1, 1).await;
    assert_eq!(client.deliveries(1).await, [(1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn the_initial_position_counts_for_a_new_subscription() {
    let broker = Broker::new();
    singles(&broker, 2);
    let mut client = Client::new(&broker).await;
    let latest = InitialPosition::Latest as i32;
    client
        .subscribe_with(1, SubType::Shared, |c| c.initial_position = Some(latest))
        .await;
    client.flow(1, 10).await;
    assert!(client.quiet().await);
    singles(&broker, 1);
    assert_eq!(client.deliveries(1).await, [(2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_subscription_has_one_consumer() {
    let broker = Broker::new();
    let mut first = Client::subscribed(&broker, SubType::Exclusive, 1).await;
    let mut second = Client::new(&broker).await;
    for kind in [SubType::Exclusive, SubType::Shared] {
        let error = second.subscribe(1, kind).await.error.unwrap();
        assert_eq!(error.error(), ServerError::ConsumerBusy);
    }
    assert!(first.close_consumer().await.success.is_some());
    assert!(second.subscribe(1, SubType::Shared).await.success.is_some());
    drop(second);
    broker
        .until(|broker| broker.subscription("t", "s").unwrap().consumers.is_empty())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_partial_ack_leaves_the_rest_of_the_batch() {
    let broker = Broker::new();
    let id = batch_of(&broker, 10);
    let mut client = Client::subscribed(&broker, SubType::Shared, 100).await;
    client.delivery().await;
    assert!(client
        .ack(Individual, &id, &[0b11_1111_0111])
        .await
        .ack_response
        .is_some());
    assert_eq!(unacked(&broker), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    client.ack(Individual, &id, &[0b11_1111_1110]).await;
    client.redeliver(std::slice::from_ref(&id), None).await;
    let again = client.delivery().await;
    assert_eq!(
        (again.redelivery_count(), &again.ack_set[..]),
        (1, &[0b11_1111_0110][..])
    );
    client.ack(Individual, &id, &[]).await;
    assert_eq!(unacked(&broker), []);
}

#[tokio::test(start_paused = true)]
async fn an_older_broker_takes_whole_entries_only() {
    let broker = Broker::new();
    broker.configure(|settings| settings.batch_index_acknowledgment = false);
    singles(&broker, 1);
    let id = batch_of(&broker, 3);
    let mut client = Client::subscribed(&broker, SubType::Exclusive, 100).await;
    client.deliveries(2).await;
    client.ack(Individual, &id, &[0b110]).await;
    client.ack(Cumulative, &id, &[0b100]).await;
    assert_eq!(unacked(&broker), [0, 1, 2]);
    client.ack(Cumulative, &id, &[]).await;
    assert_eq!(unacked(&broker), []);
}

#[tokio::test(start_paused = true)]
async fn a_cumulative_ack_inside_a_batch() {
    let broker = Broker::new();
    batch_of(&broker, 2);
    let id = batch_of(&broker, 4);
    let mut client = Client::subscribed(&broker, SubType::Failover, 100).await;
    client.deliveries(2).await;
    client.ack(Cumulative, &id, &[0b1100]).await;
    assert_eq!(unacked(&broker), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn shared_subscriptions_have_no_cumulative_ack() {
    let broker = Broker::new();
    let id = batch_of(&broker, 1);
    let mut client = Client::subscribed(&broker, SubType::Shared, 100).await;
    client.delivery().await;
    let response = client.ack(Cumulative, &id, &[]).await.ack_response.unwrap();
    assert_eq!(response.error(), ServerError::NotAllowedError);
    assert_eq!(unacked(&broker), [0]);
}

#[tokio::test(start_paused = true)]
async fn shared_consumers_take_turns() {
    let broker = Broker::new();
    let mut first = Client::subscribed(&broker, SubType::Shared, 10).await;
    let mut second = Client::subscribed(&broker, SubType::Shared, 10).await;
    assert!(first.quiet().await && second.quiet().await);
    singles(&broker, 6);
    let first = first.deliveries(3).await;
    let second = second.deliveries(3).await;
    assert_eq!(
        (first, second),
        (vec![(0, 0), (2, 0), (4, 0)], vec![(1, 0), (3, 0), (5, 0)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_goes_gives_its_messages_back() {
    let broker = Broker::new();
    let ids = singles(&broker, 3);
    let mut first = Client::subscribed(&broker, SubType::Shared, 10).await;
    first.deliveries(3).await;
    first.ack(Individual, &ids[1], &[]).await;
    let mut second = Client::subscribed(&broker, SubType::Shared, 10).await;
    assert!(second.quiet().await);
    drop(first);
    assert_eq!(second.deliveries(2).await, [(0, 1), (2, 1)]);
    drop(second);
    broker.until(|broker| broker.connections().is_empty()).await;
    // The last consumer takes the counts with it.
    let mut third = Client::subscribed(&broker, SubType::Shared, 10).await;
    assert_eq!(third.deliveries(2).await, [(0, 0), (2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn exclusive_redelivery_rewinds_and_marks_the_epoch() {
    let broker = Broker::new();
    let ids = singles(&broker, 3);
    let mut client = Client::subscribed(&broker, SubType::Exclusive, 10).await;
    client.deliveries(3).await;
    client.ack(Individual, &ids[0], &[]).await;
    client.redeliver(&[], Some(5)).await;
    for entry in [1, 2] {
        let message = client.delivery().await;
        assert_eq!(message.message_id.entry_id, entry);
        assert_eq!(
            (message.consumer_epoch, message.redelivery_count),
            (Some(5), None)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn failover_follows_priority_and_name() {
    let broker = Broker::new();
    singles(&broker, 2);
    let mut first = Client::new(&broker).await;
    let name = |name: &'static str| {
        move |c: &mut pulsar::message::proto::CommandSubscribe| {
            c.consumer_name = Some(name.to_owned())
        }
    };
    let change = first.subscribe_with(1, SubType::Failover, name("b")).await;
    assert!(change.active_consumer_change.unwrap().is_active());
    assert!(first.next().await.success.is_some());
    let mut second = Client::new(&broker).await;
    let change = second.subscribe_with(1, SubType::Failover, name("a")).await;
    assert!(change.active_consumer_change.unwrap().is_active());
    assert!(!first
        .next()
        .await
        .active_consumer_change
        .unwrap()
        .is_active());
    assert!(second.next().await.success.is_some());
    first.flow(1, 10).await;
    second.flow(1, 1).await;
    assert_eq!(second.deliveries(1).await, [(0, 0)]);
    assert!(first.quiet().await);
    drop(second);
    assert!(first
        .next()
        .await
        .active_consumer_change
        .unwrap()
        .is_active());
    assert_eq!(first.deliveries(2).await, [(0, 0), (1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_key_stays_with_its_consumer_while_it_holds_messages() {
    let broker = Broker::new();
    let mut first = Client::subscribed(&broker, SubType::KeyShared, 1000).await;
    assert!(first.quiet().await);
    let held: Vec<_> = (0..20)
        .map(|i| keyed(&broker, &format!("key{i}"), 0))
        .collect();
    first.deliveries(20).await;
    let mut second = Client::subscribed(&broker, SubType::KeyShared, 1000).await;
    (0..20).for_each(|i| drop(keyed(&broker, &format!("key{i}"), 0)));
    // Keys that belong to the second consumer now wait for the first to acknowledge.
    assert!(second.quiet().await);
    for id in &held {
        first.send_ack(id).await;
    }
    let mut seen = Vec::new();
    first.send(client::ping()).await;
    while let Some(message) = first.next().await.message {
        seen.push(message.message_id.entry_id);
    }
    assert!(!seen.is_empty() && seen.len() < 20, "{seen:?}");
    for (entry, _) in second.deliveries(20 - seen.len()).await {
        assert!(!seen.contains(&entry));
    }
}

#[tokio::test(start_paused = true)]
async fn seek_goes_to_an_entry_or_a_time() {
    let broker = Broker::new();
    broker.configure(|settings| settings.seek_closes_consumers = false);
    let ids = singles(&broker, 5);
    let mut client = Client::subscribed(&broker, SubType::Exclusive, 100).await;
    client.deliveries(5).await;
    client.ack(Cumulative, &ids[4], &[]).await;
    client.seek(Some(ids[3].clone()), None).await;
    assert!(client.next().await.success.is_some());
    assert_eq!(client.deliveries(2).await, [(3, 0), (4, 0)]);
    client.seek(None, Some(2)).await;
    assert!(client.next().await.success.is_some());
    assert_eq!(client.deliveries(3).await, [(2, 0), (3, 0), (4, 0)]);
}

#[tokio::test(start_paused = true)]
async fn seek_closes_the_consumers_first() {
    let broker = Broker::new();
    let ids = singles(&broker, 2);
    let mut client = Client::subscribed(&broker, SubType::Shared, 100).await;
    client.deliveries(2).await;
    client.seek(Some(ids[1].clone()), None).await;
    assert_eq!(client.next().await.close_consumer.unwrap().consumer_id, 1);
    assert!(client.next().await.success.is_some());
    assert!(client.subscribe(2, SubType::Shared).await.success.is_some());
    client.flow(2, 10).await;
    assert_eq!(client.deliveries(1).await, [(1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_starts_at_its_message_and_leaves_no_trace() {
    let broker = Broker::new();
    let ids = singles(&broker, 3);
    let mut client = Client::new(&broker).await;
    let start = ids[1].clone();
    client
        .subscribe_with(1, SubType::Exclusive, |c| {
            c.durable = Some(false);
            c.start_message_id = Some(start);
        })
        .await;
    client.flow(1, 10).await;
    assert_eq!(client.deliveries(2).await, [(1, 0), (2, 0)]);
    client.close_consumer().await;
    assert_eq!(broker.subscription(TOPIC, "s"), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_message_id_names_the_last_of_a_batch() {
    let broker = Broker::new();
    let mut client = Client::subscribed(&broker, SubType::Shared, 0).await;
    assert_eq!(
        client.last_message_id().await.last_message_id.entry_id,
        u64::MAX
    );
    let id = batch_of(&broker, 3);
    let last = client.last_message_id().await;
    assert_eq!(last.last_message_id.batch_index(), 2);
    assert_eq!(last.last_message_id.entry_id, id.entry_id);
    assert_eq!(
        last.consumer_mark_delete_position.unwrap().entry_id,
        u64::MAX
    );
}

#[tokio::test(start_paused = true)]
async fn unsubscribe_forgets_the_subscription() {
    let broker = Broker::new();
    singles(&broker, 1);
    let mut client = Client::subscribed(&broker, SubType::Shared, 0).await;
    assert!(client.unsubscribe().await.success.is_some());
    assert_eq!(broker.subscription("t", "s"), None);
}
