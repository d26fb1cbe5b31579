//! Where results go.

mod none;
mod topic;

use std::future::Future;
use std::pin::Pin;

pub use none::NoOutput;
pub use topic::TopicOutput;

use crate::failure::Failure;
use crate::record::Record;

/// A write under way.
pub type Writing<'a> = Pin<Box<dyn Future<Output = Result<(), OutputError>> + Send + 'a>>;

/// Takes results. An input is acknowledged when its result is confirmed here, so `Ok` means that the
/// result will outlive this process as far as the output promises anything.
pub trait Output: Send + Sync + 'static {
    /// Writes records, in order, and waits for their confirmation. One call at a time; what a call did
    /// not confirm is written again by a later one. A record whose result is an error has to be taken
    /// too: it is how a message that could not be processed is kept.
    fn write<'a>(&'a self, records: &'a [Record]) -> Writing<'a>;
}

/// A write that was not confirmed in full. One that names no record at all counts as not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{} results not written: {reason}", unconfirmed.len() + rejected.len())]
pub struct OutputError {
    /// Why, in words.
    pub reason: String,
    /// Records, by their place in the call, that a later attempt may write.
    pub unconfirmed: Vec<usize>,
    /// Records that no attempt can write as they are.
    pub rejected: Vec<Rejection>,
}

/// A record that an output never takes as it is. It is written again as an error result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The record's place in the call.
    pub index: usize,
    /// What is wrong with its result.
    pub failure: Failure,
}
