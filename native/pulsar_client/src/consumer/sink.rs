//! Where a consumer's messages go: an Erlang process, a pipeline, a test.

use crate::wire::entry::Entry;

/// Takes messages. Called on the consumer's own tasks, one call at a time for each partition: must not
/// block.
pub trait MessageSink: Send + Sync + 'static {
    /// Takes messages of one partition, in order. `false` says that nobody takes them any more: the
    /// consumer closes, and they stay un-acked.
    fn deliver(&self, entries: Vec<Entry>) -> bool;
}
