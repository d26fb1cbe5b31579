//! What is acknowledged stays acknowledged, and nothing else is.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fake_broker::{Broker, Fault};
use pulsar::message::proto::base_command::Type;
use pulsar_client::consumer::{ack_range, SubscriptionType};
use pulsar_client::{ConsumerOptions, Error};
use support::*;

use SubscriptionType::{Exclusive, Failover, KeyShared, Shared};

fn patient(subscription_type: SubscriptionType) -> ConsumerOptions {
    ConsumerOptions {
        nack_delay: seconds(10),
        ..options(subscription_type)
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_ten_acked_the_other_nine_come_back() {
    for kind in [Shared, Exclusive, Failover, KeyShared] {
        let broker = Broker::new();
        broker.publish_payloads(TOPIC, numbers(0..10));
        let client = client(&broker);
        let mut first = consume(&client, options(kind)).await;
        let messages = first.inbox.take(10).await;
        first.ack(&messages[3]);
        first.close().await;
        let mut second = consume(&client, options(kind)).await;
        let again = second.inbox.take(9).await;
        let expected: Vec<String> = numbers(0..10).into_iter().filter(|n| n != "3").collect();
        assert_eq!(texts(&again), expected, "{kind:?}");
        assert!(second.inbox.within(seconds(300)).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn without_batch_index_acks_the_batch_comes_back_until_its_last_message_is_acked() {
    let broker = Broker::new();
    broker.configure(|settings| settings.batch_index_acknowledgment = false);
    broker.publish_payloads(TOPIC, numbers(0..10));
    let client = client(&broker);
    let mut first = consume(&client, options(Shared)).await;
    let messages = first.inbox.take(10).await;
    messages[..9].iter().for_each(|message| first.ack(message));
    first.close().await;
    assert_eq!(unacked(&broker, TOPIC), numbers(0..10));
    let mut second = consume(&client, options(Shared)).await;
    let messages = second.inbox.take(10).await;
    messages.iter().for_each(|message| second.ack(message));
    second.close().await;
    assert!(unacked(&broker, TOPIC).is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_batch_index_acks_a_nack_still_brings_back_only_what_is_unacked() {
    let broker = Broker::new();
    broker.configure(|settings| settings.batch_index_acknowledgment = false);
    broker.publish_payloads(TOPIC, numbers(0..4));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(4).await;
    own.ack(&messages[0]);
    own.nack(&messages[2]);
    let again = own.inbox.take(3).await;
    assert_eq!(texts(&again), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_cumulative_ack_inside_a_batch_keeps_the_rest_of_the_batch() {
    for kind in [Exclusive, Failover] {
        let broker = Broker::new();
        broker.publish_payloads(TOPIC, numbers(0..10));
        broker.publish_payloads(TOPIC, numbers(10..20));
        broker.publish_payloads(TOPIC, numbers(20..30));
        let client = client(&broker);
        let mut first = consume(&client, options(kind)).await;
        let messages = first.inbox.take(30).await;
        first.ack_cumulative(&messages[14]);
        first.close().await;
        assert_eq!(unacked(&broker, TOPIC), numbers(15..30));
        let mut second = consume(&client, options(kind)).await;
        assert_eq!(texts(&second.inbox.take(15).await), numbers(15..30));
        assert!(second.inbox.within(seconds(300)).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn cumulative_acks_on_shared_subscriptions_are_refused() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..2));
    for kind in [Shared, KeyShared] {
        let mut own = consume(&client(&broker), options(kind)).await;
        let message = own.inbox.next().await;
        let refused = own.consumer.ack_cumulative(0, ack_range(&message.id));
        assert!(matches!(refused, Err(Error::NotAllowed(_))));
        own.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_nack_brings_back_what_is_unacked_of_its_entry_after_its_delay() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..5));
    broker.publish_payloads(TOPIC, numbers(5..10));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(10).await;
    own.ack(&messages[1]);
    own.nack(&messages[2]);
    assert!(own.inbox.within(seconds(9)).await.is_empty());
    let again = own.inbox.within(seconds(2)).await;
    assert_eq!(texts(&again), ["0", "2", "3", "4"]);
    assert!(again.iter().all(|message| message.redeliveries == 1));
    assert_eq!(own.consumer.stats().unacked, 9);
}

#[tokio::test(start_paused = true)]
async fn a_nack_on_an_exclusive_subscription_rewinds_and_drops_what_was_on_its_way() {
    let broker = Broker::new();
    for entry in 0..6 {
        broker.publish_payloads(TOPIC, numbers(entry * 5..entry * 5 + 5));
    }
    // A slow broker: deliveries of the old epoch arrive after the rewind was asked for.
    broker.fault(Fault::sent(Type::Message).nth(4).delay(seconds(20)));
    let mut own = consume(&client(&broker), patient(Exclusive)).await;
    let messages = own.inbox.take(15).await;
    own.ack(&messages[0]);
    own.ack(&messages[7]);
    own.nack(&messages[3]);
    let again = own.inbox.take(28).await;
    let expected: Vec<String> = numbers(0..30)
        .into_iter()
        .filter(|n| n != "0" && n != "7")
        .collect();
    assert_eq!(texts(&again), expected);
    assert!(own.inbox.within(seconds(300)).await.is_empty());
    assert_eq!(own.consumer.stats().unacked, 28);
    let asked = broker.received(Type::RedeliverUnacknowledgedMessages);
    let asked = asked[0]
        .command
        .redeliver_unacknowledged_messages
        .as_ref()
        .unwrap();
    assert_eq!(asked.consumer_epoch, Some(1));
}

#[tokio::test(start_paused = true)]
async fn acks_not_confirmed_at_a_cut_are_sent_again_and_stay_undelivered() {
    for kind in [Shared, Exclusive] {
        let broker = Broker::new();
        broker.publish_payloads(TOPIC, numbers(0..3));
        broker.publish_payloads(TOPIC, numbers(3..6));
        let mut own = consume(&client(&broker), patient(kind)).await;
        let messages = own.inbox.take(6).await;
        // The broker never sees the first ack command.
        broker.fault(Fault::received(Type::Ack).cut_before());
        messages[..3].iter().for_each(|message| own.ack(message));
        own.ack(&messages[3]);
        let again = own.inbox.within(seconds(60)).await;
        assert_eq!(texts(&again), ["4", "5"], "{kind:?}");
        own.close().await;
        assert_eq!(unacked(&broker, TOPIC), ["4", "5"], "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_unconfirmed_acks_of_one_batch_all_are_sent_again() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..4));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(4).await;
    broker.fault(Fault::received(Type::Ack).times(2).drop());
    own.ack(&messages[0]);
    tokio::time::sleep(seconds(1)).await;
    own.ack(&messages[1]);
    tokio::time::sleep(seconds(1)).await;
    broker.cut_all();
    assert_eq!(texts(&own.inbox.take(2).await), ["2", "3"]);
    own.close().await;
    assert_eq!(unacked(&broker, TOPIC), ["2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_that_crosses_an_ack_is_dropped() {
    for kind in [Shared, Exclusive] {
        let broker = Broker::new();
        broker.publish_payloads(TOPIC, ["0"]);
        broker.publish_payloads(TOPIC, numbers(1..4));
        let mut own = consume(&client(&broker), patient(kind)).await;
        let messages = own.inbox.take(4).await;
        broker.cut_all();
        broker.fault(Fault::sent(Type::Message).delay(seconds(5)));
        // Connected again, and what was not acked is on its way.
        tokio::time::sleep(seconds(2)).await;
        messages[..3].iter().for_each(|message| own.ack(message));
        assert_eq!(
            texts(&own.inbox.within(seconds(60)).await),
            ["3"],
            "{kind:?}"
        );
        assert_eq!(own.consumer.stats().unacked, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_ack_is_not_sent_again() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..2));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(2).await;
    own.ack(&messages[0]);
    until(&broker, |broker| broker.count(Type::Ack) == 1).await;
    tokio::time::sleep(seconds(1)).await;
    broker.cut_all();
    own.inbox.take(1).await;
    assert_eq!(broker.count(Type::Ack), 1);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_confirmation_of_acks() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..2));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(2).await;
    // Lost with its connection: only a close that waits notices.
    broker.fault(Fault::received(Type::Ack).cut_before());
    messages.iter().for_each(|message| own.ack(message));
    own.close().await;
    assert!(own.consumer.is_closed());
    assert!(unacked(&broker, TOPIC).is_empty());
    assert!(broker
        .subscription(TOPIC, SUB)
        .unwrap()
        .consumers
        .is_empty());
}

#[tokio::test(start_paused = true)]
async fn close_gives_up_on_a_broker_that_confirms_nothing() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..2));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(2).await;
    broker.fault(Fault::sent(Type::AckResponse).always().drop());
    own.ack(&messages[0]);
    let before = tokio::time::Instant::now();
    own.close().await;
    assert!(before.elapsed() <= seconds(31), "{:?}", before.elapsed());
    broker.stop();
}

#[tokio::test(start_paused = true)]
async fn an_old_broker_gets_acks_that_ask_for_no_confirmation() {
    let broker = Broker::new();
    broker.configure(|settings| settings.protocol_version = 15);
    broker.publish_payloads(TOPIC, numbers(0..2));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(2).await;
    messages.iter().for_each(|message| own.ack(message));
    own.close().await;
    let acks = broker.received(Type::Ack);
    assert!(acks
        .iter()
        .all(|ack| ack.command.ack.as_ref().unwrap().request_id.is_none()));
    assert!(unacked(&broker, TOPIC).is_empty());
}

#[tokio::test(start_paused = true)]
async fn acks_travel_in_groups() {
    let broker = Broker::new();
    for number in numbers(0..500) {
        broker.publish_payloads(TOPIC, [number]);
    }
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(500).await;
    messages.iter().for_each(|message| own.ack(message));
    until(&broker, |broker| {
        broker.unacked(TOPIC, SUB).unwrap().is_empty()
    })
    .await;
    assert!(broker.count(Type::Ack) <= 2, "{}", broker.count(Type::Ack));
    let stats = own.consumer.stats();
    assert_eq!(
        (stats.unacked, stats.acked, stats.messages_received),
        (0, 500, 500)
    );
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_forgets_nacks_that_it_has_fulfilled() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..2));
    let mut own = consume(&client(&broker), patient(Shared)).await;
    let messages = own.inbox.take(2).await;
    own.nack(&messages[0]);
    tokio::time::sleep(seconds(5)).await;
    broker.cut_all();
    // All that is un-acked comes back with the connection; the old nack must not bring it once more.
    assert_eq!(own.inbox.take(2).await.len(), 2);
    assert!(own.inbox.within(seconds(60)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn redelivery_asked_for_in_an_outage_does_not_deafen_an_exclusive_consumer() {
    let broker = Broker::new();
    broker.publish_payloads(TOPIC, numbers(0..3));
    let mut own = consume(&client(&broker), patient(Exclusive)).await;
    own.inbox.take(3).await;
    broker.stop();
    tokio::time::sleep(seconds(5)).await;
    own.consumer.redeliver_unacked();
    tokio::time::sleep(seconds(5)).await;
    own.consumer.redeliver_unacked();
    tokio::task::yield_now().await;
    broker.start();
    assert_eq!(texts(&own.inbox.take(3).await), ["0", "1", "2"]);
    broker.publish_payloads(TOPIC, ["3"]);
    assert_eq!(texts(&own.inbox.take(1).await), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn redeliver_unacked_brings_back_all_that_is_unacked_and_nothing_acked() {
    for kind in [Shared, Exclusive] {
        let broker = Broker::new();
        broker.publish_payloads(TOPIC, numbers(0..3));
        broker.publish_payloads(TOPIC, numbers(3..6));
        let mut own = consume(&client(&broker), patient(kind)).await;
        let messages = own.inbox.take(6).await;
        own.ack(&messages[1]);
        own.consumer.redeliver_unacked();
        assert_eq!(
            texts(&own.inbox.take(5).await),
            ["0", "2", "3", "4", "5"],
            "{kind:?}"
        );
        assert_eq!(own.consumer.stats().unacked, 5);
    }
}
