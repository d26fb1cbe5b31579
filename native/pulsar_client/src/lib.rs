//! An Apache Pulsar client that keeps its promises: nothing acknowledged is lost, nothing is reported
//! stored that was not, and no outage stops a producer or a consumer.
//!
//! The wire's message types and the authentication trait are those of the `pulsar` crate; connection,
//! producer and consumer are our own. Reading order for a newcomer: [`client`] (what an application
//! holds), [`connection`] (one socket, many producers and consumers), [`producer`], [`consumer`].
//!
//! Every task keeps time by tokio's clock, and every byte passes a [`transport::Transport`]: outages of
//! hours are simulated in milliseconds over an in-memory stream.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod client;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod event;
pub mod lookup;
pub mod message_id;
pub mod producer;
pub mod topic;
pub mod transport;
pub mod wire;

mod supervise;
mod tls;

pub use client::Client;
pub use config::{ClientConfig, ServiceUrl};
pub use consumer::{Consumer, ConsumerOptions};
pub use error::Error;
pub use event::{Event, EventSink};
pub use message_id::MessageId;
pub use producer::{Producer, ProducerOptions};
