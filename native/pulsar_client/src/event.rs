//! What happens to a producer or consumer between its calls.

use std::sync::Arc;

use crate::message_id::MessageId;

/// Something that the holder of a producer or consumer may want to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// The connection behind the topic was lost; the client reconnects by itself.
    Disconnected {
        /// Full name of the topic or partition.
        topic: Arc<str>,
        /// Why, in words.
        reason: String,
    },
    /// The topic is served again after [`Event::Disconnected`].
    Reconnected {
        /// Full name of the topic or partition.
        topic: Arc<str>,
    },
    /// The consumer's window is used up by messages that its owner has neither acked nor nacked.
    Stalled {
        /// Full name of the topic or partition.
        topic: Arc<str>,
        /// Messages that the owner holds.
        unacked: usize,
    },
    /// An entry could not be decoded; it was skipped and stays un-acked.
    Undecodable {
        /// Full name of the topic or partition.
        topic: Arc<str>,
        /// The entry's id.
        message_id: MessageId,
        /// What is wrong with it.
        reason: String,
    },
    /// The topic is terminated and has been read to its end.
    EndOfTopic {
        /// Full name of the topic or partition.
        topic: Arc<str>,
    },
    /// What a producer had confirmed or failed since the last such event: at most one a second.
    Published {
        /// Messages confirmed.
        count: u64,
        /// Payload bytes confirmed.
        bytes: u64,
        /// Messages failed.
        failed: u64,
    },
    /// The producer or consumer ended by itself: the topic is terminated, or the producer was fenced.
    Ended {
        /// Why, in words.
        reason: String,
    },
}

/// Receives events. Called on the client's own tasks: must not block.
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// Drops every event.
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _event: Event) {}
}
