//! What becomes of batches in flight: stored, refused, late, or given up. Each message is answered once.

use std::sync::atomic::Ordering;

use pulsar::message::proto::{CommandSendReceipt, MessageIdData, ServerError};
use tokio::time::Instant;

use super::batch::{Fate, InFlight, Position};
use super::partition::Partition;
use super::receipt::{ReceiptRun, Stored};
use crate::error::Error;
use crate::event::Event;

/// A batch that the broker refuses for its checksum this often is broken on our side.
const MAX_REFUSALS: u32 = 2;

impl Partition {
    pub(super) fn on_receipt(&mut self, receipt: &CommandSendReceipt) {
        let found = self
            .in_flight
            .iter()
            .position(|b| b.sequence_id == receipt.sequence_id);
        match found {
            // Its messages were answered before: they had timed out.
            None => {}
            Some(0) => {
                if let Some(batch) = self.in_flight.pop_front() {
                    self.answered += 1;
                    self.confirm(batch, receipt.message_id.as_ref());
                }
            }
            Some(_) => self.drop_link("a receipt out of order"),
        }
    }

    pub(super) fn confirm(&mut self, batch: InFlight, id: Option<&MessageIdData>) {
        let (messages, bytes) = (batch.fate.messages, batch.fate.payload_bytes);
        let duplicate = id.is_none_or(|id| id.ledger_id == u64::MAX && id.entry_id == u64::MAX);
        match id {
            Some(id) if !duplicate => {
                let (ledger_id, entry_id) = (id.ledger_id, id.entry_id);
                let topic = &self.topic;
                batch.fate.stored(&Position {
                    topic,
                    partition: self.partition,
                    ledger_id,
                    entry_id,
                });
                self.shared.counters.sent(messages, bytes);
            }
            _ if batch.times_written <= 1 => {
                batch.fate.all(Err(Error::Duplicate));
                self.shared.counters.failed(messages);
            }
            _ => {
                batch.fate.all(Ok(Stored::Already));
                self.shared.counters.sent(messages, bytes);
            }
        }
        self.shared.admission.release(messages, bytes);
    }

    pub(super) fn on_send_error(&mut self, sequence_id: u64, error: Error) {
        if error.is_final() {
            return self.end(error);
        }
        let found = self
            .in_flight
            .iter()
            .position(|batch| batch.sequence_id == sequence_id);
        let Some(at) = found else { return };
        let refused = match &error {
            Error::Broker {
                code: ServerError::NotAllowedError,
                ..
            } => true,
            Error::Broker {
                code: ServerError::ChecksumError,
                ..
            } => self.in_flight.get_mut(at).is_some_and(|batch| {
                batch.refusals += 1;
                batch.refusals >= MAX_REFUSALS
            }),
            _ => false,
        };
        if refused {
            if let Some(batch) = self.in_flight.remove(at) {
                self.answered += 1;
                self.fail(batch.fate, error);
            }
        } else {
            self.drop_link(&error.to_string());
        }
    }

    pub(super) fn fail(&mut self, fate: Fate, error: Error) {
        let (messages, bytes) = (fate.messages, fate.payload_bytes);
        fate.all(Err(error));
        self.shared.counters.failed(messages);
        self.shared.admission.release(messages, bytes);
    }

    /// Fails what has waited for its receipt for too long.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let late = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        while self
            .in_flight
            .front()
            .is_some_and(|batch| late(batch.deadline))
        {
            if let Some(batch) = self.in_flight.pop_front() {
                self.answered += 1;
                self.fail(batch.fate, Error::SendTimeout);
            }
        }
    }

    pub(super) fn answer_flushes(&mut self) {
        while self
            .flushes
            .front()
            .is_some_and(|(until, _)| *until <= self.answered)
        {
            if let Some((_, done)) = self.flushes.pop_front() {
                let _ = done.send(());
            }
        }
    }

    /// Gives up for good: everything pending fails for the same reason.
    pub(super) fn end(&mut self, error: Error) {
        self.close_batch();
        while let Some(batch) = self.in_flight.pop_front() {
            self.answered += 1;
            self.fail(batch.fate, error.clone());
        }
        for waiting in self.shared.admission.close() {
            let count = waiting.list.messages.len() as u32;
            let run = ReceiptRun {
                first: 0,
                count,
                result: Err(error.clone()),
            };
            waiting.receipt.resolve(run);
        }
        if let Some(connection) = self.link.connection() {
            connection.remove_producer(self.producer_id);
            self.shared.connected.fetch_sub(1, Ordering::Relaxed);
        }
        self.shared.events.emit(Event::Ended {
            reason: error.to_string(),
        });
        self.ended = true;
    }
}
