//! The shapes of terms that go in and out.

pub(crate) mod describe;
pub(crate) mod list;
pub(crate) mod message_id;
pub(crate) mod options;
pub(crate) mod outgoing;
pub(crate) mod payload;
pub(crate) mod processing;
