//! From a consumer's messages, through a compute device, to an output: acknowledged after effect.
//!
//! A [`Pipeline`] takes a consumer over. Its messages gather in batches, the batches run on the
//! devices of a [`gpu_processor::Processor`], the results go to an [`Output`] and to a
//! [`ResultSink`], and only then are the inputs acknowledged. Reading order for a newcomer:
//! [`Pipeline`] (start and stop), `inbox` (what is held), `batcher` (when a batch closes), `compute`
//! (retrying and splitting), `commit` (order, outputs, acknowledgments).
//!
//! # What is promised
//!
//! - At least once: an input is acknowledged when its result is confirmed by the output. Whatever ends
//!   a pipeline leaves the rest un-acked, and it comes back.
//! - Order: the results of one partition leave in the order of its inputs, although several batches are
//!   computed at the same time. (Where an output takes a part of a write and refuses the rest, the rest
//!   follows before anything newer.)
//! - Nothing vanishes: a message that cannot be processed is an error result, told to the sink, written
//!   to the output (see [`TopicOutput`] for its form) and acknowledged like any other.
//! - Bounded: the consumer's window bounds what a pipeline holds, because nothing is acknowledged
//!   before it is done, and a second delivery of what it still holds is dropped.

#![forbid(unsafe_code)]

mod batch;
mod batcher;
mod commit;
mod compute;
mod config;
mod events;
mod failure;
mod inbox;
mod intake;
mod output;
mod pipeline;
mod positions;
mod record;
mod results;
mod stats;

pub use config::PipelineConfig;
pub use events::{BatchCompleted, NoEvents, PipelineEvents, StopReason};
pub use failure::Failure;
pub use output::{NoOutput, Output, OutputError, Rejection, TopicOutput, Writing};
pub use pipeline::Pipeline;
pub use record::{Record, Run};
pub use results::{NoResults, Processed, ResultSink};
pub use stats::PipelineStats;
