//! The shapes of terms that go in and out.

pub(crate) mod message_id;
pub(crate) mod options;
pub(crate) mod outgoing;
