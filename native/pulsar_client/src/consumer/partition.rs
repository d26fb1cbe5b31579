//! The task that owns one partition's subscription: its link, its window, its acks.
//!
//! Invariants: commands never wait behind messages; what the broker may send is bounded by the window;
//! an ack is kept until the broker confirms it; no failure of the link ends the task.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use pulsar::message::proto::{CommandFlow, CommandMessage};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::acks::Acks;
use super::link::{Established, Link, LinkEvent, Request};
use super::nacks::Nacks;
use super::position::{Move, SkipThrough};
use super::tracker::{AckRange, Tracker};
use super::window::Window;
use super::Shared;
use crate::backoff::{Backoff, SETTLED};
use crate::connection::ConsumerSignal;
use crate::error::Error;
use crate::event::Event;
use crate::wire::command;
use crate::wire::entry::{Entry, Origin};
use crate::wire::frame::DEFAULT_MAX_MESSAGE_SIZE;

/// Signals handled before commands get their turn.
const SIGNALS: usize = 64;

/// How long an owner may sit on a full window before it is called stalled.
const STALL: Duration = Duration::from_secs(5);

/// What the handle asks of the task.
pub(super) enum Command {
    /// Acknowledge messages.
    Ack(Vec<AckRange>),
    /// Acknowledge everything up to a message.
    Cumulative(AckRange),
    /// Bring messages back after the nack delay.
    Nack(Vec<AckRange>),
    /// Bring back everything that is un-acked.
    RedeliverAll,
    /// Credits, pause or sink changed: look at the queue again.
    Wake,
    /// Move the subscription's cursor, or remove the subscription.
    Move(Move),
    /// Flush acks and end.
    Close(oneshot::Sender<()>),
}

/// An entry that waits to be delivered.
pub(super) struct Queued {
    pub(super) entry: Entry,
    /// Bytes that each of its messages takes in the window.
    pub(super) bytes_each: usize,
}

pub(super) struct Partition {
    pub(super) shared: Arc<Shared>,
    pub(super) origin: Origin,
    pub(super) consumer_id: u64,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Whether anybody can still send commands.
    attended: bool,
    pub(super) link: Link,
    backoff: Backoff,
    up_since: Instant,
    /// Waits for the first success or failure.
    ready: Option<(oneshot::Sender<Result<(), Error>>, Instant)>,
    pub(super) tracker: Tracker,
    pub(super) window: Window,
    pub(super) acks: Acks,
    pub(super) acks_due: Option<Instant>,
    pub(super) nacks: Nacks,
    /// Arrived and not delivered: the consumer is paused, or the owner has requested no more.
    pub(super) queue: VecDeque<Queued>,
    pub(super) epoch: u64,
    /// Entries counted here, on a topic whose entries the broker does not store: it gives all of them the
    /// same id, and neither takes them back nor acks for them.
    pub(super) unstored: Option<u64>,
    pub(super) skip: Option<SkipThrough>,
    /// Seeks and unsubscriptions that wait for a connection, each until its time is up.
    pub(super) moves: VecDeque<(Move, Instant)>,
    pub(super) stall: Option<Instant>,
    pub(super) stall_told: bool,
    pub(super) closing: Option<(oneshot::Sender<()>, Instant)>,
    pub(super) ended: bool,
}

impl Partition {
    pub(super) fn new(
        shared: Arc<Shared>,
        origin: Origin,
        share: usize,
        commands: mpsc::UnboundedReceiver<Command>,
        (ready, give_up): (oneshot::Sender<Result<(), Error>>, Instant),
    ) -> Self {
        let config = shared.pool.config();
        let options = &shared.options;
        let (initial, max) = config.reconnect_backoff;
        let unstored = origin.topic.starts_with("non-persistent:");
        let max_messages = (options.receiver_queue_size / share).max(1);
        let max_bytes = (options.max_bytes / share).max(1);
        // What the broker does not store it drops when there is no permit for it: no careful start then.
        let first_guess = if unstored {
            max_bytes / max_messages
        } else {
            DEFAULT_MAX_MESSAGE_SIZE
        };
        let window = Window::new(max_messages, max_bytes, first_guess);
        let mut partition = Partition {
            origin,
            consumer_id: shared.ids.next(),
            commands,
            attended: true,
            link: Link::Connecting(Box::pin(std::future::pending())),
            backoff: Backoff::new(initial, max),
            up_since: Instant::now(),
            ready: Some((ready, give_up)),
            tracker: Tracker::default(),
            window,
            acks: Acks::new(options.receiver_queue_size),
            acks_due: None,
            nacks: Nacks::new(options.nack_delay, options.receiver_queue_size),
            queue: VecDeque::new(),
            epoch: 0,
            unstored: unstored.then_some(0),
            skip: None,
            moves: VecDeque::new(),
            stall: None,
            stall_told: false,
            closing: None,
            ended: false,
            shared,
        };
        partition.link = Link::connect(partition.request(), Duration::ZERO);
        partition
    }

    pub(super) async fn run(mut self) {
        let mut inbox = Vec::with_capacity(SIGNALS);
        let mut commands = Vec::with_capacity(SIGNALS);
        let mut abandoned = self.shared.abandoned.subscribe();
        while !self.ended && !self.shared.is_abandoned() {
            let timer = self.timer();
            tokio::select! {
                biased;
                received = self.commands.recv_many(&mut commands, SIGNALS), if self.attended => {
                    self.attended = received > 0;
                }
                event = self.link.next(&mut inbox, SIGNALS) => self.on_link(event),
                _ = abandoned.changed() => {}
                () = sleep_until(timer) => {}
            }
            for command in commands.drain(..) {
                self.on_command(command);
            }
            self.on_signals(&mut inbox);
            self.deliver_queued();
            self.make_moves().await;
            self.on_time();
            self.grant();
            if self.closing.is_some() {
                self.try_close().await;
            }
        }
        self.leave();
    }

    fn request(&self) -> Request {
        Request {
            pool: self.shared.pool.clone(),
            topic: self.origin.topic.clone(),
            subscription: self.shared.subscription.clone(),
            consumer_id: self.consumer_id,
            epoch: self.epoch,
            options: self.shared.options.clone(),
        }
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Established(Ok(established)) => self.on_established(established),
            LinkEvent::Established(Err(error)) => self.on_connect_failed(error),
            LinkEvent::Signals => {}
            LinkEvent::Lost(reason) => self.lost(reason),
        }
    }

    fn on_established(&mut self, established: Established) {
        self.up_since = Instant::now();
        let Established {
            connection,
            signals,
        } = established;
        self.link = Link::Up {
            connection,
            signals,
        };
        self.shared.connected.fetch_add(1, Ordering::Relaxed);
        self.window.reset_outstanding();
        // The broker brings back all that is un-acked by itself: ask for nothing twice.
        self.nacks.clear();
        self.flush_acks();
        match self.ready.take() {
            Some((ready, _)) => drop(ready.send(Ok(()))),
            None if self.closing.is_none() => {
                self.shared.events.emit(Event::Reconnected {
                    topic: self.origin.topic.clone(),
                });
            }
            None => {}
        }
    }

    fn on_connect_failed(&mut self, error: Error) {
        let delay = self.backoff.next_delay();
        let hopeless = match &self.ready {
            Some((_, give_up)) => !error.is_retryable() || Instant::now() + delay >= *give_up,
            None => false,
        };
        if hopeless {
            if let Some((ready, _)) = self.ready.take() {
                let _ = ready.send(Err(error));
            }
            self.ended = true;
        } else {
            self.reconnect(delay);
        }
    }

    pub(super) fn lost(&mut self, reason: String) {
        self.shared.connected.fetch_sub(1, Ordering::Relaxed);
        if self.up_since.elapsed() >= SETTLED {
            self.backoff.reset();
        }
        self.acks.disconnected(self.tracker.unacked_entries());
        // The broker sends again what is queued here: deliver it once.
        self.forget_deliveries();
        if self.closing.is_none() {
            let topic = self.origin.topic.clone();
            self.shared
                .events
                .emit(Event::Disconnected { topic, reason });
        }
        let delay = self.backoff.next_delay();
        self.reconnect(delay);
    }

    /// Under a new number, so that nothing meant for the old consumer reaches the new one.
    fn reconnect(&mut self, delay: Duration) {
        self.consumer_id = self.shared.ids.next();
        self.link = Link::connect(self.request(), delay);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Ack(ranges) => ranges.into_iter().for_each(|range| self.ack(range)),
            Command::Cumulative(range) => {
                let (released, acks) = self.tracker.ack_cumulative(range);
                self.released(released);
                acks.into_iter().for_each(|ack| self.acks.add(ack));
                self.acks_added();
            }
            // What is not stored cannot come again.
            Command::Nack(ranges) if self.unstored.is_some() => {
                ranges.into_iter().for_each(|range| self.ack(range));
            }
            Command::Nack(ranges) => {
                for range in ranges {
                    let released = self.tracker.nack(range);
                    self.released(released);
                    self.nacks.add(range.key);
                }
            }
            Command::RedeliverAll => {
                self.forget_deliveries();
                let keys = self.tracker.unacked_entries();
                let released = self.tracker.rewind();
                self.released(released);
                self.redeliver(keys);
            }
            Command::Wake => {}
            Command::Move(what) => {
                let give_up = Instant::now() + self.shared.pool.config().operation_timeout;
                self.moves.push_back((what, give_up));
            }
            Command::Close(done) => {
                let give_up = Instant::now() + self.shared.pool.config().operation_timeout;
                self.closing = Some((done, give_up));
            }
        }
    }

    fn on_signals(&mut self, inbox: &mut Vec<ConsumerSignal>) {
        for signal in inbox.drain(..) {
            match signal {
                ConsumerSignal::Message { command, payload } => self.on_message(&command, payload),
                ConsumerSignal::AckConfirmed(request_id) => self.acks.confirmed(request_id),
                ConsumerSignal::Closed => {
                    self.lost("closed by the broker".to_owned());
                }
                ConsumerSignal::EndOfTopic => {
                    let topic = self.origin.topic.clone();
                    self.shared.events.emit(Event::EndOfTopic { topic });
                }
                ConsumerSignal::Active(_) => {}
            }
        }
        if self.window.is_overrun() {
            self.window.reset_outstanding();
            if let Some(connection) = self.link.connection() {
                let reason = "the broker sent more than it was asked for";
                connection.close(reason);
                self.lost(reason.to_owned());
            }
        }
    }

    /// Whether a delivery belongs to an epoch before the last rewind.
    pub(super) fn is_outdated(&self, command: &CommandMessage) -> bool {
        command
            .consumer_epoch
            .is_some_and(|epoch| epoch < self.epoch)
    }

    fn grant(&mut self) {
        let wanted = self.closing.is_none();
        let Some(connection) = self.link.connection().filter(|_| wanted) else {
            return;
        };
        if let Some(message_permits) = self.window.grant() {
            let consumer_id = self.consumer_id;
            connection.command(&command::flow(CommandFlow {
                consumer_id,
                message_permits,
            }));
        }
        let idle = self.queue.is_empty() && self.tracker.held() > 0;
        let stalled = idle && self.window.is_exhausted();
        if !stalled {
            self.stall = None;
        } else if self.stall.is_none() && !self.stall_told {
            self.stall = Some(Instant::now() + STALL);
        }
    }

    fn timer(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|(_, give_up)| *give_up);
        let moving = self.moves.front().map(|(_, give_up)| *give_up);
        // Without a link there is nobody to ask: a due time in the past would spin.
        let nacks = self.link.connection().and_then(|_| self.nacks.due());
        [self.acks_due, nacks, self.stall, closing, moving]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.acks_due.is_some_and(|due| due <= now) {
            self.flush_acks();
        }
        if self.link.connection().is_some() {
            let due = self.nacks.take_due(now);
            if !due.is_empty() {
                self.redeliver(due);
            }
        }
        if self.stall.is_some_and(|due| due <= now) {
            self.stall = None;
            self.stall_told = true;
            let (topic, unacked) = (self.origin.topic.clone(), self.tracker.held());
            self.shared.events.emit(Event::Stalled { topic, unacked });
        }
    }
}

/// The messages of an entry as ranges.
pub(super) fn ranges(entry: &Entry) -> impl Iterator<Item = AckRange> + '_ {
    let key = (entry.ledger_id, entry.entry_id);
    let batch_size = entry.batch_size.max(0) as u32;
    entry.messages.iter().map(move |message| {
        let at = message.batch_index.max(0) as u32;
        AckRange {
            key,
            batch_size,
            first: at,
            last: at,
        }
    })
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
