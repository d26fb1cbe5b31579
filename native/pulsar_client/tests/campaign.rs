//! Hundreds of cuts under load: nothing acknowledged is lost, and every key keeps its order.

// Helpers of tests are tests to no lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fake_broker::{Broker, Fault};
use pulsar::message::proto::base_command::Type;
use pulsar_client::consumer::SubscriptionType;
use pulsar_client::consumer::SubscriptionType::{Failover, KeyShared, Shared};
use pulsar_client::{ConsumerOptions, ProducerOptions};
use support::*;

const KEYS: u64 = 8;
/// Connections lost in a campaign.
const CUTS: u64 = 200;

/// Cuts, unloads, restarts and lost answers, at random moments, until enough connections are lost.
async fn misfortunes(broker: Broker, mut random: Random) {
    // Connections are numbered, and there is one at a time.
    while broker.connections().last().is_none_or(|last| *last <= CUTS) {
        tokio::time::sleep(Duration::from_millis(100 + random.below(2000))).await;
        // Those that nothing has met yet would pile up, and hit every attempt to come back.
        broker.clear_faults();
        let kinds = [
            Type::Send,
            Type::Ack,
            Type::Producer,
            Type::Subscribe,
            Type::Flow,
        ];
        let kind = kinds[random.below(5) as usize];
        match random.below(8) {
            0 => broker.cut_all(),
            1 => broker.unload(&format!("{TOPIC}-partition-{}", random.below(2))),
            2 => {
                broker.stop();
                tokio::time::sleep(Duration::from_millis(random.below(3000))).await;
                broker.start();
            }
            3 => broker.fault(Fault::received(kind).cut_before()),
            4 => broker.fault(Fault::received(kind).cut_after()),
            5 => broker.fault(Fault::sent(Type::SendReceipt).cut_before()),
            6 => broker.fault(Fault::sent(Type::AckResponse).cut_before()),
            _ => broker.fault(Fault::sent(Type::Message).cut_after()),
        }
    }
    broker.clear_faults();
}

async fn campaign(seed: u64, kind: SubscriptionType, deduplication: bool) {
    let mut random = Random(seed);
    let broker = Broker::new();
    broker.configure(|settings| settings.deduplication = deduplication);
    broker.set_partitions(TOPIC, 2);
    let client = client(&broker);
    let producing = ProducerOptions {
        name: Some("p".to_owned()),
        batch_size: 7,
        max_pending_messages: 50,
        send_timeout: None,
        ..ProducerOptions::default()
    };
    let window = ConsumerOptions {
        receiver_queue_size: 40,
        ..options(kind)
    };
    let mut own = consume(&client, window).await;
    let (producer, _) = produce(&client, producing).await;
    let trouble = tokio::spawn(misfortunes(broker.clone(), Random(seed ^ 0xdead)));

    let done = AtomicBool::new(false);
    let sending = async {
        let mut sent: BTreeMap<String, u64> = BTreeMap::new();
        let mut answers = Vec::new();
        while !trouble.is_finished() {
            let count = 1 + random.below(12) as usize;
            let mut texts = Vec::new();
            for _ in 0..count {
                let key = format!("k{}", random.below(KEYS));
                let number = sent.entry(key.clone()).or_default();
                texts.push((format!("{key}:{number}"), key));
                *number += 1;
            }
            let messages = list(texts.iter().map(|(text, key)| (text.as_str(), keyed(key))));
            answers.push(start(&producer, messages));
            tokio::time::sleep(Duration::from_millis(random.below(2000))).await;
        }
        for sent in answers {
            assert!(all_stored(&answer(sent).await), "seed {seed}");
        }
        trouble.await.unwrap();
        done.store(true, Ordering::Relaxed);
        sent
    };
    let mut seen: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let receiving = async {
        let mut quiet = 0;
        while quiet < 120 || !done.load(Ordering::Relaxed) {
            let messages = own.inbox.within(Duration::from_millis(500)).await;
            quiet = if messages.is_empty() { quiet + 1 } else { 0 };
            for message in messages {
                let (key, number) = message.text.split_once(':').unwrap();
                assert_eq!(message.key.as_deref(), Some(key));
                let number: u64 = number.parse().unwrap();
                let known = seen.entry(key.to_owned()).or_default();
                // First occurrences come in order; on a shared subscription redelivery mixes them.
                if kind != Shared {
                    let next = known.last().map_or(0, |last| last + 1);
                    assert!(number <= next, "seed {seed}: {key}:{number} before {next}");
                }
                known.insert(number);
                own.ack(&message);
            }
        }
    };
    let (sent, ()) = tokio::join!(sending, receiving);
    let total: u64 = sent.values().sum();
    for (key, count) in &sent {
        assert_eq!(seen[key], (0..*count).collect(), "seed {seed}: {key}");
    }
    assert_eq!(producer.stats().messages_sent, total);
    assert!(
        own.events.outages().0 > CUTS as usize / 4,
        "the trouble passed the consumer by"
    );
    own.close().await;
    let mut stored_in_all = 0;
    for index in 0..2 {
        let topic = format!("{TOPIC}-partition-{index}");
        assert!(unacked(&broker, &topic).is_empty(), "seed {seed}");
        let texts = stored(&broker, &topic);
        stored_in_all += texts.len() as u64;
        // In the topic itself, too, the first occurrences of a key are in order.
        let mut next: BTreeMap<&str, u64> = BTreeMap::new();
        for text in &texts {
            let (key, number) = text.split_once(':').unwrap();
            let (number, next) = (number.parse::<u64>().unwrap(), next.entry(key).or_default());
            assert!(number <= *next, "seed {seed}: {text} stored before {next}");
            *next = (*next).max(number + 1);
        }
    }
    assert!(stored_in_all >= total);
    if deduplication {
        assert_eq!(stored_in_all, total, "seed {seed}: stored twice");
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_cuts_lose_and_reorder_nothing() {
    for seed in 0..4 {
        campaign(seed, Failover, false).await;
        campaign(seed, Shared, false).await;
        campaign(seed, KeyShared, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_deduplication_nothing_is_stored_twice_either() {
    for seed in 10..14 {
        campaign(seed, Failover, true).await;
    }
}
