//! Consumers. A partition's task ([`partition`]) owns its subscription: entries arrive ([`arrival`])
//! under the bound of a [`window`], are delivered to a [`sink`], and leave through the [`tracker`]
//! (which messages of an entry are acked) and [`acks`] (what the broker has not confirmed yet).

mod acking;
mod acks;
mod arrival;
mod bits;
mod link;
mod nacks;
mod options;
mod partition;
mod position;
mod sink;
mod stats;
mod tracker;
mod window;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{timeout_at, Instant};

pub use options::{ConsumerOptions, Flow, InitialPosition, SubscriptionType};
pub use position::SeekTarget;
pub use sink::MessageSink;
pub use stats::ConsumerStats;
pub use tracker::{AckRange, EntryKey, UNKNOWN_SIZE};

use partition::{Command, Partition};
use position::Move;
use stats::Counters;

use crate::client::Ids;
use crate::connection::pool::Pool;
use crate::error::Error;
use crate::event::EventSink;
use crate::lookup;
use crate::message_id::MessageId;
use crate::supervise;
use crate::topic::TopicName;
use crate::wire::entry::Origin;

/// What all partitions of a consumer share.
pub(crate) struct Shared {
    pool: Arc<Pool>,
    ids: Arc<Ids>,
    subscription: Arc<str>,
    options: Arc<ConsumerOptions>,
    events: Arc<dyn EventSink>,
    sink: RwLock<Arc<dyn MessageSink>>,
    paused: AtomicBool,
    /// Messages that the owner has requested and not got (manual flow).
    credits: AtomicI64,
    counters: Counters,
    connected: AtomicUsize,
    tasks: AtomicUsize,
    /// Whether the sink takes no more: every partition then ends.
    abandoned: watch::Sender<bool>,
}

impl Shared {
    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    fn is_abandoned(&self) -> bool {
        *self.abandoned.borrow()
    }

    fn sink(&self) -> Arc<dyn MessageSink> {
        self.sink
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes up to `wanted` of the owner's credits.
    fn take_credits(&self, wanted: usize) -> usize {
        let wanted = wanted as i64;
        let taken = self
            .credits
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |credits| {
                (credits > 0).then(|| credits - credits.min(wanted))
            });
        taken.map_or(0, |before| before.min(wanted) as usize)
    }

    fn left(&self) {
        self.tasks.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A consumer of one or many topics. Clones share it; it closes when it is told to or the last clone is
/// dropped.
#[derive(Clone)]
pub struct Consumer {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    topics: Vec<Arc<str>>,
    indices: HashMap<Arc<str>, usize>,
    partitions: Vec<mpsc::UnboundedSender<Command>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.ask(Command::Close);
    }
}

impl Handle {
    fn ask<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<oneshot::Receiver<T>> {
        let ask = |partition: &mpsc::UnboundedSender<Command>| {
            let (done, answer) = oneshot::channel();
            // Where the task has ended the answer channel closes, which is an answer too.
            let _ = partition.send(command(done));
            answer
        };
        self.partitions.iter().map(ask).collect()
    }

    fn wake(&self) {
        for partition in &self.partitions {
            let _ = partition.send(Command::Wake);
        }
    }
}

/// What creation needs from the client.
pub(crate) struct Context {
    pub(crate) pool: Arc<Pool>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) sink: Arc<dyn MessageSink>,
}

impl Consumer {
    /// Subscribes to every partition of every topic, retrying what may pass until the operation timeout.
    pub(crate) async fn subscribe(
        context: Context,
        topics: Vec<TopicName>,
        subscription: &str,
        options: ConsumerOptions,
    ) -> Result<Self, Error> {
        options.validate()?;
        if topics.is_empty() || subscription.is_empty() {
            let key = if topics.is_empty() {
                "topics"
            } else {
                "subscription"
            };
            let allowed = "not empty";
            return Err(Error::InvalidOption {
                key,
                value: String::new(),
                allowed,
            });
        }
        let give_up = Instant::now() + context.pool.config().operation_timeout;
        let origins = origins(&context.pool, &topics, give_up).await?;
        let shared = Arc::new(Shared {
            pool: context.pool,
            ids: context.ids,
            subscription: subscription.into(),
            paused: AtomicBool::new(options.paused),
            options: Arc::new(options),
            events: context.events,
            sink: RwLock::new(context.sink),
            credits: AtomicI64::new(0),
            counters: Counters::default(),
            connected: AtomicUsize::new(0),
            tasks: AtomicUsize::new(origins.len()),
            abandoned: watch::Sender::new(false),
        });
        let topics: Vec<Arc<str>> = origins.iter().map(|origin| origin.topic.clone()).collect();
        let share = origins.len();
        let mut partitions = Vec::new();
        let mut readiness = Vec::new();
        for origin in origins {
            let (sender, commands) = mpsc::unbounded_channel();
            let (ready, is_ready) = oneshot::channel();
            let task = Partition::new(shared.clone(), origin, share, commands, (ready, give_up));
            supervise::spawn("consumer", shared.events.clone(), task.run());
            partitions.push(sender);
            readiness.push(is_ready);
        }
        let indices = topics.iter().cloned().zip(0..).collect();
        let handle = Arc::new(Handle {
            shared,
            topics,
            indices,
            partitions,
        });
        let consumer = Consumer { handle };
        for ready in readiness {
            let ready = timeout_at(give_up, ready).await;
            let late = |_| Error::Timeout("the subscription");
            ready.map_err(late)?.unwrap_or(Err(Error::Closed))?;
        }
        Ok(consumer)
    }

    /// The number of a topic (or partition) of this consumer, for [`Self::ack`] and [`Self::nack`].
    pub fn topic_index(&self, topic: &str) -> Option<usize> {
        self.handle.indices.get(topic).copied()
    }

    /// Acknowledges messages of one topic or partition.
    pub fn ack(&self, topic: usize, ranges: Vec<AckRange>) -> Result<(), Error> {
        self.count(&self.handle.shared.counters.acked, &ranges);
        self.tell(topic, Command::Ack(ranges))
    }

    /// Asks for messages again after the nack delay.
    pub fn nack(&self, topic: usize, ranges: Vec<AckRange>) -> Result<(), Error> {
        self.count(&self.handle.shared.counters.nacked, &ranges);
        self.tell(topic, Command::Nack(ranges))
    }

    /// Acknowledges everything up to and including a message of one topic or partition.
    pub fn ack_cumulative(&self, topic: usize, range: AckRange) -> Result<(), Error> {
        if self
            .handle
            .shared
            .options
            .subscription_type
            .redelivers_singly()
        {
            return Err(Error::NotAllowed(
                "cumulative acks on shared and key_shared subscriptions",
            ));
        }
        self.tell(topic, Command::Cumulative(range))
    }

    fn count(&self, counter: &AtomicU64, ranges: &[AckRange]) {
        let messages: u64 = ranges
            .iter()
            .map(|r| u64::from(r.last.saturating_sub(r.first)) + 1)
            .sum();
        counter.fetch_add(messages, Ordering::Relaxed);
    }

    fn tell(&self, topic: usize, command: Command) -> Result<(), Error> {
        let partition = self.handle.partitions.get(topic).ok_or(Error::Closed)?;
        partition.send(command).map_err(|_| Error::Closed)
    }

    /// Lets `messages` more be delivered (manual flow).
    pub fn request(&self, messages: u32) -> Result<(), Error> {
        if self.handle.shared.options.flow != Flow::Manual {
            return Err(Error::NotAllowed("requests without flow: :manual"));
        }
        self.handle
            .shared
            .credits
            .fetch_add(i64::from(messages), Ordering::AcqRel);
        self.handle.wake();
        Ok(())
    }

    /// Stops delivering; what the broker still sends is kept, within the window.
    pub fn pause(&self) {
        self.handle.shared.paused.store(true, Ordering::Release);
    }

    /// Delivers again.
    pub fn resume(&self) {
        self.handle.shared.paused.store(false, Ordering::Release);
        self.handle.wake();
    }

    /// Sends deliveries elsewhere from now on; returns where they went.
    pub fn replace_sink(&self, sink: Arc<dyn MessageSink>) -> Arc<dyn MessageSink> {
        let mut current = self
            .handle
            .shared
            .sink
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, sink)
    }

    /// Brings back everything delivered and not acked, as if it were nacked with no delay.
    pub fn redeliver_unacked(&self) {
        for partition in &self.handle.partitions {
            let _ = partition.send(Command::RedeliverAll);
        }
    }

    /// Moves the subscription's cursor; by message id on the topic of that id alone.
    pub async fn seek(&self, target: SeekTarget, topic: Option<usize>) -> Result<(), Error> {
        let answers = match topic {
            None => self
                .handle
                .ask(|done| Command::Move(Move::Seek(target.clone(), done))),
            Some(topic) => {
                let (done, answer) = oneshot::channel();
                self.tell(topic, Command::Move(Move::Seek(target, done)))?;
                vec![answer]
            }
        };
        all(answers).await
    }

    /// Removes the subscription from the broker and closes.
    pub async fn unsubscribe(&self) -> Result<(), Error> {
        all(self
            .handle
            .ask(|done| Command::Move(Move::Unsubscribe(done))))
        .await
    }

    /// Flushes acks and closes.
    pub async fn close(&self) {
        for done in self.handle.ask(Command::Close) {
            let _ = done.await;
        }
    }

    /// Starts to close without waiting for it.
    pub fn close_soon(&self) {
        drop(self.handle.ask(Command::Close));
    }

    /// Whether every task of the consumer has ended.
    pub fn is_closed(&self) -> bool {
        self.handle.shared.tasks.load(Ordering::Acquire) == 0
    }

    /// What the consumer has done and holds.
    pub fn stats(&self) -> ConsumerStats {
        let shared = &self.handle.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConsumerStats {
            topics: self.handle.topics.iter().map(ToString::to_string).collect(),
            subscription: shared.subscription.to_string(),
            partitions: self.handle.partitions.len(),
            connected: shared.connected.load(Ordering::Relaxed),
            unacked: read(&shared.counters.unacked),
            queued: read(&shared.counters.queued),
            messages_received: read(&shared.counters.messages),
            bytes_received: read(&shared.counters.bytes),
            acked: read(&shared.counters.acked),
            nacked: read(&shared.counters.nacked),
            redelivered: read(&shared.counters.redelivered),
            undecodable: read(&shared.counters.undecodable),
        }
    }
}

async fn all(answers: Vec<oneshot::Receiver<Result<(), Error>>>) -> Result<(), Error> {
    let mut result = Ok(());
    for answer in answers {
        let answer = answer.await.unwrap_or(Err(Error::Closed));
        result = result.and(answer);
    }
    result
}

/// Every topic's partitions, or the topic itself where it has none.
async fn origins(
    pool: &Pool,
    topics: &[TopicName],
    give_up: Instant,
) -> Result<Vec<Origin>, Error> {
    let mut origins = Vec::new();
    for topic in topics {
        let count = match topic.partition_index() {
            Some(_) => 0,
            None => lookup::partitions_until(pool, topic.as_str(), give_up).await?,
        };
        if count == 0 {
            let partition = topic.partition_index().map_or(-1, |index| index as i32);
            origins.push(Origin {
                topic: topic.as_str().into(),
                partition,
            });
        }
        for index in 0..count {
            origins.push(Origin {
                topic: topic.partition(index).into(),
                partition: index as i32,
            });
        }
    }
    Ok(origins)
}

/// The range that a message id names.
pub fn ack_range(id: &MessageId) -> AckRange {
    let at = id.batch_index.max(0) as u32;
    let unknown = id.batch_index >= 0 && id.batch_size <= 0;
    AckRange {
        key: (id.ledger_id, id.entry_id),
        batch_size: if unknown {
            UNKNOWN_SIZE
        } else {
            id.batch_size.max(0) as u32
        },
        first: at,
        last: at,
    }
}
