//! From an ack of the owner's to the command that tells the broker, and the credits it gives back.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::options::Flow;
use super::partition::Partition;
use super::tracker::{AckRange, Released};
use crate::wire::command;

impl Partition {
    pub(super) fn ack(&mut self, range: AckRange) {
        let (released, ack) = self.tracker.ack(range);
        self.released(released);
        if let Some(ack) = ack {
            self.acks.add(ack);
            self.acks_added();
        }
    }

    pub(super) fn acks_added(&mut self) {
        if self.unstored.is_some() {
            self.acks.clear();
        } else if self.acks.is_full() {
            self.flush_acks();
        } else if self.acks_due.is_none() && !self.acks.is_flushed() {
            self.acks_due = Some(Instant::now() + self.shared.options.ack_group_time);
        }
    }

    pub(super) fn flush_acks(&mut self) {
        self.acks_due = None;
        let Some(connection) = self.link.connection() else {
            return;
        };
        let mut next = || connection.request_id();
        let confirm: Option<&mut dyn FnMut() -> u64> = if connection.confirms_acks() {
            Some(&mut next)
        } else {
            None
        };
        for ack in self.acks.flush(self.consumer_id, confirm) {
            connection.command(&command::ack(ack));
        }
    }

    pub(super) fn released(&mut self, released: Released) {
        if released.messages == 0 {
            return;
        }
        self.shared
            .counters
            .unacked
            .fetch_sub(released.messages as u64, Ordering::Relaxed);
        if self.shared.options.flow == Flow::Ack {
            self.window.release(released);
        }
        self.stall = None;
        self.stall_told = false;
    }
}
