//! A client on an in-memory broker, a sink and an event sink that remember.

// Each test file uses its part.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fake_broker::Broker;
use pulsar_client::consumer::{
    ack_range, AckRange, InitialPosition, MessageSink, SubscriptionType,
};
use pulsar_client::producer::{Key, MessageList, MessageOptions, Outgoing, ReceiptRun, Stored};
use pulsar_client::transport::{Connecting, Stream, Transport};
use pulsar_client::wire::entry::Entry;
use pulsar_client::{
    Client, ClientConfig, Consumer, ConsumerOptions, Error, Event, EventSink, MessageId, Producer,
    ProducerOptions,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

pub const TOPIC: &str = "persistent://public/default/t";
pub const SUB: &str = "s";

/// Longer than anything here takes, in the tests' own time.
pub const LONG: Duration = Duration::from_secs(3600);

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub struct Memory(pub Broker);

impl Transport for Memory {
    fn connect<'a>(&'a self, _: &'a pulsar_client::config::BrokerAddress) -> Connecting<'a> {
        Box::pin(async move { Ok(Stream::split(self.0.connect()?)) })
    }
}

/// A network that swallows every connection attempt.
pub struct BlackHole;

impl Transport for BlackHole {
    fn connect<'a>(&'a self, _: &'a pulsar_client::config::BrokerAddress) -> Connecting<'a> {
        Box::pin(std::future::pending::<io::Result<Stream>>())
    }
}

pub fn config() -> ClientConfig {
    ClientConfig::new("pulsar://fake-broker:6650").unwrap()
}

pub fn client(broker: &Broker) -> Client {
    Client::with_transport(config(), Arc::new(Memory(broker.clone())))
}

/// A message as its owner got it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    pub topic: String,
    pub id: MessageId,
    pub text: String,
    pub key: Option<String>,
    pub redeliveries: u32,
}

pub struct Inbox {
    messages: mpsc::UnboundedReceiver<Delivered>,
}

struct Sink {
    to: mpsc::UnboundedSender<Delivered>,
}

pub fn inbox() -> (Arc<dyn MessageSink>, Inbox) {
    let (to, messages) = mpsc::unbounded_channel();
    (Arc::new(Sink { to }), Inbox { messages })
}

impl MessageSink for Sink {
    fn deliver(&self, entries: Vec<Entry>) -> bool {
        let messages = entries.iter().flat_map(delivered);
        messages
            .into_iter()
            .all(|message| self.to.send(message).is_ok())
    }
}

fn delivered(entry: &Entry) -> Vec<Delivered> {
    let of = |view: &pulsar_client::wire::entry::MessageView| Delivered {
        topic: entry.topic.to_string(),
        id: MessageId {
            ledger_id: entry.ledger_id,
            entry_id: entry.entry_id,
            partition: entry.partition,
            batch_index: view.batch_index,
            batch_size: entry.batch_size,
        },
        text: view.payload.clone().map_or_else(String::new, |range| {
            String::from_utf8_lossy(&entry.buffer[range]).into_owned()
        }),
        key: view
            .key
            .as_ref()
            .map(|key| String::from_utf8_lossy(key).into_owned()),
        redeliveries: entry.redelivery_count,
    };
    entry.messages.iter().map(of).collect()
}

impl Inbox {
    pub async fn next(&mut self) -> Delivered {
        let next = timeout(LONG, self.messages.recv()).await;
        next.expect("no message came")
            .expect("the consumer is gone")
    }

    pub async fn take(&mut self, count: usize) -> Vec<Delivered> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match timeout(LONG, self.messages.recv()).await {
                Ok(Some(message)) => taken.push(message),
                other => panic!("{other:?} after {} of {count}: {taken:?}", taken.len()),
            }
        }
        taken
    }

    /// What comes within a time.
    pub async fn within(&mut self, time: Duration) -> Vec<Delivered> {
        tokio::time::sleep(time).await;
        std::iter::from_fn(|| self.messages.try_recv().ok()).collect()
    }

    /// Nobody takes messages any more.
    pub fn close(&mut self) {
        self.messages.close();
    }
}

pub fn texts(messages: &[Delivered]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.text.as_str())
        .collect()
}

/// The numbers of a range, as texts.
pub fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Event>>>);

impl EventSink for Events {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    pub fn sink(&self) -> Arc<dyn EventSink> {
        Arc::new(self.clone())
    }

    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.all().iter().filter(|event| of(event)).count()
    }

    /// How often the connection was lost, and how often it came back.
    pub fn outages(&self) -> (usize, usize) {
        (
            self.count(|event| matches!(event, Event::Disconnected { .. })),
            self.count(|event| matches!(event, Event::Reconnected { .. })),
        )
    }
}

/// A consumer, its messages and its events.
pub struct Consuming {
    pub consumer: Consumer,
    pub inbox: Inbox,
    pub events: Events,
}

pub fn options(subscription_type: SubscriptionType) -> ConsumerOptions {
    ConsumerOptions {
        subscription_type,
        initial_position: InitialPosition::Earliest,
        ..ConsumerOptions::default()
    }
}

pub async fn try_consume(
    client: &Client,
    topics: &[&str],
    options: ConsumerOptions,
) -> Result<Consuming, Error> {
    let (sink, inbox) = inbox();
    let events = Events::default();
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let subscribed = client.subscribe(&topics, SUB, options, sink, events.sink());
    let consumer = timeout(LONG, subscribed)
        .await
        .expect("subscribing hangs")?;
    Ok(Consuming {
        consumer,
        inbox,
        events,
    })
}

pub async fn consume(client: &Client, options: ConsumerOptions) -> Consuming {
    try_consume(client, &[TOPIC], options).await.unwrap()
}

impl Consuming {
    pub fn ack(&self, message: &Delivered) {
        let topic = self.consumer.topic_index(&message.topic).unwrap();
        self.consumer
            .ack(topic, vec![ack_range(&message.id)])
            .unwrap();
    }

    pub fn nack(&self, message: &Delivered) {
        let topic = self.consumer.topic_index(&message.topic).unwrap();
        self.consumer
            .nack(topic, vec![ack_range(&message.id)])
            .unwrap();
    }

    pub fn ack_cumulative(&self, message: &Delivered) {
        let topic = self.consumer.topic_index(&message.topic).unwrap();
        let range: AckRange = ack_range(&message.id);
        self.consumer.ack_cumulative(topic, range).unwrap();
    }

    pub async fn close(&self) {
        timeout(LONG, self.consumer.close())
            .await
            .expect("closing hangs");
    }
}

/// The texts that a subscription has not acknowledged.
pub fn unacked(broker: &Broker, topic: &str) -> Vec<String> {
    let messages = broker.unacked(topic, SUB).unwrap();
    messages
        .into_iter()
        .filter_map(|message| message.payload.map(text))
        .collect()
}

/// The texts of a topic.
pub fn stored(broker: &Broker, topic: &str) -> Vec<String> {
    let messages = broker.messages(topic).unwrap();
    messages
        .into_iter()
        .filter_map(|message| message.payload.map(text))
        .collect()
}

pub fn text(bytes: Bytes) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until the broker is in some state.
pub async fn until(broker: &Broker, holds: impl FnMut(&Broker) -> bool) {
    timeout(LONG, broker.until(holds))
        .await
        .expect("the broker never got there");
}

pub async fn produce(client: &Client, options: ProducerOptions) -> (Producer, Events) {
    let events = Events::default();
    let producer = client.create_producer(TOPIC, options, events.sink());
    let producer = timeout(LONG, producer)
        .await
        .expect("creation hangs")
        .unwrap();
    (producer, events)
}

/// A list of texts, each with options.
pub fn list<'a>(
    messages: impl IntoIterator<Item = (&'a str, Option<MessageOptions>)>,
) -> MessageList {
    let mut buffer = Vec::new();
    let mut outgoing = Vec::new();
    for (text, options) in messages {
        let start = buffer.len();
        buffer.extend_from_slice(text.as_bytes());
        outgoing.push(Outgoing {
            payload: Some(start..buffer.len()),
            options: options.map(Box::new),
        });
    }
    MessageList {
        buffer: buffer.into(),
        messages: outgoing,
    }
}

pub fn plain<S: AsRef<str>>(texts: &[S]) -> MessageList {
    list(texts.iter().map(|text| (text.as_ref(), None)))
}

pub fn keyed(key: &str) -> Option<MessageOptions> {
    Some(MessageOptions {
        key: Some(Key::from(key.as_bytes())),
        ..Default::default()
    })
}

pub type Answer = tokio::sync::oneshot::Receiver<Vec<ReceiptRun>>;

/// Sends without waiting for the answer.
pub fn start(producer: &Producer, list: MessageList) -> Answer {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let sent = producer.send(
        list,
        Box::new(move |runs| drop(answer.send(runs))),
        Some(Box::new(|| {})),
    );
    sent.unwrap();
    answered
}

pub async fn answer(answer: Answer) -> Vec<ReceiptRun> {
    timeout(LONG, answer)
        .await
        .expect("no answer came")
        .expect("the answer was dropped")
}

/// Whether every message of an answer was stored.
pub fn all_stored(runs: &[ReceiptRun]) -> bool {
    runs.iter().all(|run| run.result.is_ok())
}

/// The errors of an answer, each with how many messages it hit.
pub fn failures(runs: &[ReceiptRun]) -> Vec<(u32, Error)> {
    let failed = runs
        .iter()
        .filter_map(|run| Some((run.count, run.result.clone().err()?)));
    failed.collect()
}

/// Where an answer says that each text is stored: by position in the list.
pub fn positions(runs: &[ReceiptRun]) -> BTreeMap<u32, (u64, u64, i32)> {
    let mut positions = BTreeMap::new();
    for run in runs {
        if let Ok(Stored::At {
            ledger_id,
            entry_id,
            first_index,
            ..
        }) = &run.result
        {
            for offset in 0..run.count {
                let index = if *first_index < 0 {
                    -1
                } else {
                    first_index + offset as i32
                };
                positions.insert(run.first + offset, (*ledger_id, *entry_id, index));
            }
        }
    }
    positions
}

/// A small generator for seeded campaigns.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
