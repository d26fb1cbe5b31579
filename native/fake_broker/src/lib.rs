#![doc = include_str!("../README.md")]

mod ack_set;
mod broker;
mod command;
mod connection;
mod consumers;
mod cursor;
mod dispatch;
mod entry;
mod fault;
mod frame;
mod inspect;
mod log;
mod producers;
mod publish;
mod session;
mod settings;
mod state;
mod subscription;
mod topic;

pub use broker::{Broker, Listening};
pub use entry::{EntryError, StoredEntry, StoredMessage};
pub use fault::Fault;
pub use frame::{Frame, FrameError, Payload};
pub use inspect::{ConsumerView, SubscriptionView, UnackedEntry};
pub use log::Received;
pub use settings::{LookupAnswer, Settings};
