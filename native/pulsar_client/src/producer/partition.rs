//! The task that owns one partition's batch and everything in flight to it.
//!
//! Invariants: batches leave in the order of their sequence ids and are confirmed in that order; what
//! was not confirmed is sent again, in order, after every reconnect; each message is answered once.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pulsar::message::proto::CommandCloseProducer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::batch::{Batch, InFlight, Item, Sender};
use super::link::{Established, Link, LinkEvent, Request};
use super::message::Outgoing;
use super::receipt::ListReceipt;
use super::Shared;
use crate::backoff::{Backoff, SETTLED};
use crate::connection::ProducerSignal;
use crate::error::Error;
use crate::event::Event;
use crate::wire::command;
use crate::wire::frame::DEFAULT_MAX_MESSAGE_SIZE;

/// What the handle asks of the task.
pub(super) enum Command {
    /// Messages of one list, with their positions in it.
    Send {
        buffer: Bytes,
        messages: Vec<(u32, Outgoing)>,
        receipt: Arc<ListReceipt>,
        deadline: Option<Instant>,
    },
    /// Answer when all that came before is confirmed or failed.
    Flush(oneshot::Sender<()>),
    /// Flush, close and end.
    Close(oneshot::Sender<()>),
}

pub(super) struct Partition {
    pub(super) shared: Arc<Shared>,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) producer_id: u64,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Whether anybody can still send commands.
    attended: bool,
    pub(super) link: Link,
    backoff: Backoff,
    up_since: Instant,
    /// Waits for the first success or failure.
    ready: Option<(oneshot::Sender<Result<(), Error>>, Instant)>,
    name: Option<String>,
    epoch: u64,
    max_message_size: usize,
    next_sequence: u64,
    batch: Batch,
    pub(super) in_flight: VecDeque<InFlight>,
    /// Ordinal of the front of `in_flight`: how many batches were answered so far.
    pub(super) answered: u64,
    pub(super) flushes: VecDeque<(u64, oneshot::Sender<()>)>,
    closing: Vec<oneshot::Sender<()>>,
    pub(super) ended: bool,
}

impl Partition {
    pub(super) fn new(
        shared: Arc<Shared>,
        topic: Arc<str>,
        partition: i32,
        commands: mpsc::UnboundedReceiver<Command>,
        (ready, give_up): (oneshot::Sender<Result<(), Error>>, Instant),
    ) -> Self {
        let config = shared.pool.config();
        let (initial, max) = config.reconnect_backoff;
        let producer_id = shared.ids.next();
        let name = shared.options.name.clone();
        let mut partition = Partition {
            topic,
            partition,
            producer_id,
            commands,
            attended: true,
            link: Link::Connecting(Box::pin(std::future::pending())),
            backoff: Backoff::new(initial, max),
            up_since: Instant::now(),
            ready: Some((ready, give_up)),
            name,
            epoch: 0,
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
            next_sequence: 0,
            batch: Batch::default(),
            in_flight: VecDeque::new(),
            answered: 0,
            flushes: VecDeque::new(),
            closing: Vec::new(),
            ended: false,
            shared,
        };
        partition.link = Link::connect(partition.request(), Duration::ZERO);
        partition
    }

    pub(super) async fn run(mut self) {
        let mut inbox = Vec::with_capacity(64);
        while !self.ended {
            let timer = self.timer();
            tokio::select! {
                biased;
                event = self.link.next() => self.on_link(event),
                received = self.commands.recv_many(&mut inbox, 64), if self.attended => {
                    self.attended = received > 0;
                    inbox.drain(..).for_each(|command| self.on_command(command));
                }
                () = sleep_until(timer) => self.expire(),
            }
            self.close_batch_if_due();
            self.answer_flushes();
            if !self.closing.is_empty() && self.in_flight.is_empty() {
                self.close().await;
            }
        }
    }

    fn request(&self) -> Request {
        Request {
            pool: self.shared.pool.clone(),
            topic: self.topic.clone(),
            producer_id: self.producer_id,
            name: self.name.clone(),
            user_named: self.shared.options.name.is_some(),
            epoch: self.epoch,
            properties: self.shared.options.properties.clone(),
        }
    }

    fn reconnect(&mut self, delay: Duration) {
        self.epoch += 1;
        self.link = Link::connect(self.request(), delay);
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Established(Ok(established)) => self.on_established(established),
            LinkEvent::Established(Err(error)) => self.on_connect_failed(error),
            LinkEvent::Signal(ProducerSignal::Receipt(receipt)) => self.on_receipt(&receipt),
            LinkEvent::Signal(ProducerSignal::SendError(error)) => {
                self.on_send_error(error.sequence_id, Error::broker(error.error, error.message));
            }
            LinkEvent::Signal(ProducerSignal::Closed) => {
                self.lost("closed by the broker".to_owned())
            }
            LinkEvent::Lost(reason) => self.lost(reason),
        }
    }

    fn on_established(&mut self, established: Established) {
        self.up_since = Instant::now();
        let Established {
            connection,
            signals,
            success,
        } = established;
        self.max_message_size = connection.max_message_size();
        self.name = Some(success.producer_name.clone());
        self.shared.note_name(&success.producer_name);
        if let Some((ready, _)) = self.ready.take() {
            self.next_sequence = success.last_sequence_id().wrapping_add(1) as u64;
            let _ = ready.send(Ok(()));
        } else {
            self.shared.events.emit(Event::Reconnected {
                topic: self.topic.clone(),
            });
        }
        self.shared.connected.fetch_add(1, Ordering::Relaxed);
        for batch in &mut self.in_flight {
            connection.send(batch.frame.clone());
            batch.times_written += 1;
        }
        self.link = Link::Up {
            connection,
            signals,
        };
    }

    fn on_connect_failed(&mut self, error: Error) {
        let delay = self.backoff.next_delay();
        let hopeless = match &self.ready {
            Some((_, give_up)) => !error.is_retryable() || Instant::now() + delay >= *give_up,
            None => error.is_final(),
        };
        if !hopeless {
            return self.reconnect(delay);
        }
        match self.ready.take() {
            // Nothing that ever was can end.
            Some((ready, _)) => {
                let _ = ready.send(Err(error));
                self.ended = true;
            }
            None => self.end(error),
        }
    }

    fn lost(&mut self, reason: String) {
        self.tell_lost(reason);
        let delay = self.backoff.next_delay();
        self.reconnect(delay);
    }

    fn tell_lost(&mut self, reason: String) {
        if self.up_since.elapsed() >= SETTLED {
            self.backoff.reset();
        }
        self.shared.connected.fetch_sub(1, Ordering::Relaxed);
        self.shared.events.emit(Event::Disconnected {
            topic: self.topic.clone(),
            reason,
        });
    }

    /// Leaves the broker and comes again: all that is in flight is sent once more, in order.
    pub(super) fn drop_link(&mut self, reason: &str) {
        let Some(connection) = self.link.connection().cloned() else {
            return;
        };
        self.tell_lost(reason.to_owned());
        self.epoch += 1;
        self.link = Link::leave(connection, self.request(), self.backoff.next_delay());
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Send {
                buffer,
                messages,
                receipt,
                deadline,
            } => {
                for (list_index, message) in &messages {
                    self.add(&buffer, *list_index, message, &receipt, deadline);
                }
            }
            Command::Flush(done) => {
                self.close_batch();
                self.flushes
                    .push_back((self.answered + self.in_flight.len() as u64, done));
            }
            Command::Close(done) => {
                self.close_batch();
                self.closing.push(done);
            }
        }
    }

    fn add(
        &mut self,
        buffer: &Bytes,
        list_index: u32,
        message: &Outgoing,
        list: &Arc<ListReceipt>,
        deadline: Option<Instant>,
    ) {
        let options = message.options.as_deref();
        let alone = options.is_some_and(|options| options.deliver_at.is_some());
        // Together they must not exceed what the broker takes of each alone.
        let batch_bytes = self.shared.options.batch_bytes.min(self.max_message_size);
        let full = self.batch.messages() >= self.shared.options.batch_size
            || self.batch.size() + message.batched_size() > batch_bytes;
        if !self.batch.is_empty() && (alone || full) {
            self.close_batch();
        }
        let given = options.and_then(|options| options.sequence_id);
        let sequence_id = given.unwrap_or(self.next_sequence);
        self.next_sequence = self.next_sequence.max(sequence_id.wrapping_add(1));
        let payload = message.payload.clone().and_then(|range| buffer.get(range));
        self.batch.push(&Item {
            list,
            list_index,
            payload,
            options,
            sequence_id,
            deadline,
        });
        if alone || self.batch.messages() >= self.shared.options.batch_size {
            self.close_batch();
        }
    }

    fn close_batch_if_due(&mut self) {
        let due =
            self.in_flight.is_empty() || self.batch_due().is_some_and(|at| at <= Instant::now());
        if due {
            self.close_batch();
        }
    }

    fn batch_due(&self) -> Option<Instant> {
        self.batch
            .opened()
            .map(|opened| opened + self.shared.options.batch_delay)
    }

    pub(super) fn close_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let sender = Sender {
            producer_id: self.producer_id,
            producer_name: self.name.as_deref().unwrap_or_default(),
            compression: self.shared.options.compression,
            max_message_size: self.max_message_size,
            publish_time: unix_millis(),
        };
        match self.batch.close(&sender) {
            Ok(mut batch) => {
                if let Some(connection) = self.link.connection() {
                    connection.send(batch.frame.clone());
                    batch.times_written += 1;
                }
                self.in_flight.push_back(batch);
            }
            Err((fate, error)) => self.fail(fate, error),
        }
    }

    /// The next moment at which something is due.
    fn timer(&self) -> Option<Instant> {
        let deadline = match self.in_flight.front() {
            Some(batch) => batch.deadline,
            None => self.batch.deadline(),
        };
        let due = self.batch_due().filter(|_| !self.in_flight.is_empty());
        [deadline, due].into_iter().flatten().min()
    }

    async fn close(&mut self) {
        if let Some(connection) = self.link.connection().cloned() {
            let producer_id = self.producer_id;
            let closed = connection.request("the closing of a producer", |request_id| {
                command::close_producer(CommandCloseProducer {
                    producer_id,
                    request_id,
                })
            });
            // Whatever the answer: the broker forgets the producer with the connection at the latest.
            let _ = closed.await;
            connection.remove_producer(producer_id);
            self.shared.connected.fetch_sub(1, Ordering::Relaxed);
        }
        self.ended = true;
        for done in self.closing.drain(..) {
            let _ = done.send(());
        }
    }
}

impl Drop for Partition {
    /// Without this task nothing makes room any more: whoever waits for it must hear so.
    fn drop(&mut self) {
        drop(self.shared.admission.close());
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
