//! What a consumer has done and holds, in numbers.

use std::sync::atomic::AtomicU64;

/// Counted by the tasks of all partitions.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) acked: AtomicU64,
    pub(super) nacked: AtomicU64,
    pub(super) redelivered: AtomicU64,
    pub(super) undecodable: AtomicU64,
    pub(super) unacked: AtomicU64,
    pub(super) queued: AtomicU64,
}

/// What a consumer has done and holds.
#[derive(Debug, Clone)]
pub struct ConsumerStats {
    /// Full names of the topics and partitions.
    pub topics: Vec<String>,
    /// The subscription.
    pub subscription: String,
    /// Topics and partitions subscribed to.
    pub partitions: usize,
    /// Those connected now.
    pub connected: usize,
    /// Messages queued or delivered, and not acked.
    pub unacked: u64,
    /// Messages queued and not delivered: paused, or not requested.
    pub queued: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes received, decompressed.
    pub bytes_received: u64,
    /// Messages acked, cumulative acks not counted.
    pub acked: u64,
    /// Messages nacked.
    pub nacked: u64,
    /// Messages that the broker had delivered before.
    pub redelivered: u64,
    /// Entries that could not be decoded.
    pub undecodable: u64,
}
