//! Producers: what an application sends goes through [`admission`] (the bound), [`routing`] (the
//! partition), a partition's task ([`partition`]: batch, flight, receipt), and comes back through
//! [`receipt`].

mod admission;
mod batch;
pub mod hash;
mod link;
mod message;
mod options;
mod partition;
mod receipt;
mod routing;
mod settle;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout_at, Instant};

pub use admission::{Admitted, Ticket};
pub use message::{Key, MessageList, MessageOptions, Outgoing};
pub use options::{ProducerOptions, Routing};
pub use receipt::{ReceiptRun, Stored};

use admission::{Admission, Submission};
use partition::{Command, Partition};
use receipt::ListReceipt;
use routing::Router;

use crate::client::Ids;
use crate::connection::pool::Pool;
use crate::error::Error;
use crate::event::{Event, EventSink};
use crate::lookup;
use crate::supervise;
use crate::topic::TopicName;

/// How often a producer sums up what it published.
const SUMMARY: Duration = Duration::from_secs(1);

/// What all partitions of a producer share.
pub(crate) struct Shared {
    pool: Arc<Pool>,
    ids: Arc<Ids>,
    options: ProducerOptions,
    events: Arc<dyn EventSink>,
    admission: Admission,
    counters: Counters,
    connected: AtomicUsize,
    name: OnceLock<String>,
}

impl Shared {
    fn note_name(&self, name: &str) {
        let _ = self.name.set(name.to_owned());
    }
}

#[derive(Default)]
struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    fn sent(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn failed(&self, messages: usize) {
        self.failed.fetch_add(messages as u64, Ordering::Relaxed);
    }

    fn read(&self) -> [u64; 3] {
        [&self.messages, &self.bytes, &self.failed].map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// What a producer has done and holds.
#[derive(Debug, Clone)]
pub struct ProducerStats {
    /// Full name of the topic.
    pub topic: String,
    /// The name the broker knows it by.
    pub name: String,
    /// Partitions of the topic; 0 if it has none.
    pub partitions: usize,
    /// Partitions (or the topic itself) that are connected now.
    pub connected: usize,
    /// Messages sent and not confirmed.
    pub pending_messages: usize,
    /// Payload bytes sent and not confirmed.
    pub pending_bytes: usize,
    /// Messages confirmed.
    pub messages_sent: u64,
    /// Payload bytes confirmed.
    pub bytes_sent: u64,
    /// Messages failed.
    pub messages_failed: u64,
}

/// A producer. Clones share it; it closes when it is told to or the last clone is dropped.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

struct Handle {
    topic: TopicName,
    partitioned: bool,
    shared: Arc<Shared>,
    partitions: Vec<mpsc::UnboundedSender<Command>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.begin_close();
    }
}

impl Handle {
    fn begin_close(&self) -> Vec<oneshot::Receiver<()>> {
        // Dropping a submission answers its caller with `Closed`.
        drop(self.shared.admission.close());
        self.ask(Command::Close)
    }

    fn ask(&self, command: fn(oneshot::Sender<()>) -> Command) -> Vec<oneshot::Receiver<()>> {
        let ask = |partition: &mpsc::UnboundedSender<Command>| {
            let (done, answer) = oneshot::channel();
            // Where the task has ended the answer channel closes, which is an answer too.
            let _ = partition.send(command(done));
            answer
        };
        self.partitions.iter().map(ask).collect()
    }
}

/// What creation needs from the client.
pub(crate) struct Context {
    pub(crate) pool: Arc<Pool>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) events: Arc<dyn EventSink>,
}

impl Producer {
    /// Creates a producer on every partition of the topic, retrying what may pass until the operation
    /// timeout.
    pub(crate) async fn create(
        context: Context,
        topic: TopicName,
        options: ProducerOptions,
    ) -> Result<Self, Error> {
        options.validate()?;
        let give_up = Instant::now() + context.pool.config().operation_timeout;
        let count = lookup::partitions_until(&context.pool, topic.as_str(), give_up).await?;
        let partitioned = count > 0;
        if let Routing::Partition(partition) = options.routing {
            if partition >= count.max(1) {
                let (key, value) = ("routing", format!("partition {partition}"));
                let allowed = "a partition that the topic has, counted from 0";
                return Err(Error::InvalidOption {
                    key,
                    value,
                    allowed,
                });
            }
        }
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count.max(1)).map(|_| mpsc::unbounded_channel()).unzip();
        let router = Router::new(options.routing, count.max(1));
        let partitions = senders.clone();
        let dispatch = move |submission| dispatch(&router, &partitions, submission);
        let shared = Arc::new(Shared {
            admission: Admission::new(
                options.max_pending_messages,
                options.max_pending_bytes,
                Box::new(dispatch),
            ),
            pool: context.pool,
            ids: context.ids,
            options,
            events: context.events,
            counters: Counters::default(),
            connected: AtomicUsize::new(0),
            name: OnceLock::new(),
        });
        let mut readiness = Vec::new();
        for (index, commands) in receivers.into_iter().enumerate() {
            let (name, partition) = if partitioned {
                (topic.partition(index as u32), index as i32)
            } else {
                (
                    topic.as_str().to_owned(),
                    topic.partition_index().map_or(-1, |i| i as i32),
                )
            };
            let (ready, is_ready) = oneshot::channel();
            let task = Partition::new(
                shared.clone(),
                name.into(),
                partition,
                commands,
                (ready, give_up),
            );
            supervise::spawn("producer", shared.events.clone(), task.run());
            readiness.push(is_ready);
        }
        let handle = Arc::new(Handle {
            topic,
            partitioned,
            shared,
            partitions: senders,
        });
        let producer = Producer { handle };
        for ready in readiness {
            let ready = timeout_at(give_up, ready).await;
            let late = |_| Error::Timeout("the creation of a producer");
            ready.map_err(late)?.unwrap_or(Err(Error::Closed))?;
        }
        tokio::spawn(summarise(Arc::downgrade(&producer.handle)));
        Ok(producer)
    }

    /// Sends a list; `answer` is called once with the fate of each message. Where the producer's bounds
    /// are reached the list waits its turn if `admitted` is given, else it is refused and `answer` is
    /// never called. Never blocks.
    pub fn send(
        &self,
        list: MessageList,
        answer: Box<dyn FnOnce(Vec<ReceiptRun>) + Send>,
        admitted: Option<Box<dyn FnOnce() + Send>>,
    ) -> Result<Admitted, Error> {
        let Handle { shared, .. } = &*self.handle;
        if list.messages.is_empty() {
            answer(Vec::new());
            return Ok(Admitted::Now);
        }
        let deadline = shared
            .options
            .send_timeout
            .map(|timeout| Instant::now() + timeout);
        let receipt = ListReceipt::new(list.messages.len() as u32, answer);
        let submission = Submission {
            list,
            receipt,
            deadline,
        };
        shared.admission.submit(submission, admitted)
    }

    /// Withdraws a list that still waits: nothing of it is sent and its answer is never called.
    pub fn withdraw(&self, ticket: Ticket) -> bool {
        self.handle.shared.admission.withdraw(ticket)
    }

    /// Sends a list, waiting for its turn and for the fate of each message.
    pub async fn send_and_wait(&self, list: MessageList) -> Result<Vec<ReceiptRun>, Error> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(move |runs| {
            let _ = answer.send(runs);
        });
        self.send(list, answer, Some(Box::new(|| {})))?;
        answered.await.map_err(|_| Error::Closed)
    }

    /// Waits until all that was sent before is confirmed or failed.
    pub async fn flush(&self) {
        let admission = &self.handle.shared.admission;
        let last = admission.last_ticket();
        loop {
            // Asked first: what is admitted in between is part of this round.
            let waits = admission.waits(last);
            let mut ended = false;
            for done in self.handle.ask(Command::Flush) {
                ended |= done.await.is_err();
            }
            if !waits || ended {
                return;
            }
        }
    }

    /// Drains and closes. What still waits for its turn is answered with `Closed`; the drain takes at
    /// most the send timeout.
    pub async fn close(&self) {
        for done in self.handle.begin_close() {
            let _ = done.await;
        }
    }

    /// Starts to close without waiting for it.
    pub fn close_soon(&self) {
        drop(self.handle.begin_close());
    }

    /// Full name of the topic.
    pub fn topic(&self) -> &str {
        self.handle.topic.as_str()
    }

    /// What the producer has done and holds.
    pub fn stats(&self) -> ProducerStats {
        let Handle {
            topic,
            partitioned,
            shared,
            partitions,
        } = &*self.handle;
        let (pending_messages, pending_bytes) = shared.admission.pending();
        let [messages_sent, bytes_sent, messages_failed] = shared.counters.read();
        ProducerStats {
            topic: topic.as_str().to_owned(),
            name: shared.name.get().cloned().unwrap_or_default(),
            partitions: if *partitioned { partitions.len() } else { 0 },
            connected: shared.connected.load(Ordering::Relaxed),
            pending_messages,
            pending_bytes,
            messages_sent,
            bytes_sent,
            messages_failed,
        }
    }
}

/// Splits a list over the partitions. Runs under the admission's lock, so that the order of admission is
/// the order in which each partition sees its messages.
fn dispatch(
    router: &Router,
    partitions: &[mpsc::UnboundedSender<Command>],
    submission: Submission,
) {
    let Submission {
        list: MessageList { buffer, messages },
        receipt,
        deadline,
    } = submission;
    let keyless = router.keyless(messages.len()) as usize;
    let mut shares: Vec<Vec<(u32, Outgoing)>> = vec![Vec::new(); partitions.len()];
    if let Some(share) = shares.get_mut(keyless) {
        share.reserve(messages.len());
    }
    for (index, message) in messages.into_iter().enumerate() {
        let partition = router.route(message.options.as_deref(), keyless as u32) as usize;
        if let Some(share) = shares.get_mut(partition) {
            share.push((index as u32, message));
        }
    }
    for (partition, messages) in partitions.iter().zip(shares) {
        if !messages.is_empty() {
            let (buffer, receipt) = (buffer.clone(), receipt.clone());
            // A task that ended drops the receipt, which answers the caller.
            let _ = partition.send(Command::Send {
                buffer,
                messages,
                receipt,
                deadline,
            });
        }
    }
}

async fn summarise(handle: Weak<Handle>) {
    let mut interval = tokio::time::interval(SUMMARY);
    let mut before = [0; 3];
    loop {
        interval.tick().await;
        let Some(handle) = handle.upgrade() else {
            return;
        };
        let now = handle.shared.counters.read();
        if now != before {
            let [count, bytes, failed] = [0, 1, 2].map(|i: usize| now[i] - before[i]);
            before = now;
            handle.shared.events.emit(Event::Published {
                count,
                bytes,
                failed,
            });
        }
    }
}
