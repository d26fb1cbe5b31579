//! What a producer holds is bounded, and so is how long a send, a flush and a close may take.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fake_broker::{Broker, Fault};
use pulsar::message::proto::base_command::Type;
use pulsar_client::{Error, ProducerOptions};
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
