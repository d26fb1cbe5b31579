//! Who waits for what on a connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pulsar::message::proto::BaseCommand;
use tokio::sync::{mpsc, oneshot};

use super::{ConsumerSignal, ProducerSignal};

/// Tables of waiting requests, producers and consumers. Emptied for good when the connection dies.
#[derive(Default)]
pub(crate) struct Routes {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    dead: bool,
    requests: HashMap<u64, oneshot::Sender<Box<BaseCommand>>>,
    producers: HashMap<u64, mpsc::UnboundedSender<ProducerSignal>>,
    consumers: HashMap<u64, mpsc::Sender<ConsumerSignal>>,
}

/// A consumer was sent more than its permits allow.
#[derive(Debug)]
pub(crate) struct Overrun;

impl Routes {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if the connection is dead.
    pub(crate) fn add_request(&self, id: u64, answer: oneshot::Sender<Box<BaseCommand>>) -> bool {
        let mut table = self.table();
        if !table.dead {
            table.requests.insert(id, answer);
        }
        !table.dead
    }

    pub(crate) fn forget_request(&self, id: u64) {
        self.table().requests.remove(&id);
    }

    pub(crate) fn answer(&self, id: u64, command: Box<BaseCommand>) {
        let waiting = self.table().requests.remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.send(command);
        }
    }

    pub(crate) fn add_producer(&self, id: u64, to: mpsc::UnboundedSender<ProducerSignal>) -> bool {
        let mut table = self.table();
        if !table.dead {
            table.producers.insert(id, to);
        }
        !table.dead
    }

    pub(crate) fn remove_producer(&self, id: u64) {
        self.table().producers.remove(&id);
    }

    /// Receipts are bounded by what the producer has in flight.
    pub(crate) fn to_producer(&self, id: u64, signal: ProducerSignal) {
        let mut table = self.table();
        let closed = matches!(signal, ProducerSignal::Closed);
        if let Some(producer) = table.producers.get(&id) {
            let _ = producer.send(signal);
        }
        if closed {
            table.producers.remove(&id);
        }
    }

    pub(crate) fn add_consumer(&self, id: u64, to: mpsc::Sender<ConsumerSignal>) -> bool {
        let mut table = self.table();
        if !table.dead {
            table.consumers.insert(id, to);
        }
        !table.dead
    }

    pub(crate) fn remove_consumer(&self, id: u64) {
        self.table().consumers.remove(&id);
    }

    pub(crate) fn to_consumer(&self, id: u64, signal: ConsumerSignal) -> Result<(), Overrun> {
        let mut table = self.table();
        let closed = matches!(signal, ConsumerSignal::Closed);
        let sent = match table.consumers.get(&id) {
            Some(consumer) => match consumer.try_send(signal) {
                Err(mpsc::error::TrySendError::Full(_)) => Err(Overrun),
                _ => Ok(()),
            },
            None => Ok(()),
        };
        if closed {
            table.consumers.remove(&id);
        }
        sent
    }

    /// Drops every sender: each waiter sees its channel closed. Nothing can be added afterwards.
    pub(crate) fn die(&self) {
        let emptied = {
            let mut table = self.table();
            std::mem::replace(
                &mut *table,
                Table {
                    dead: true,
                    ..Table::default()
                },
            )
        };
        drop(emptied);
    }
}
