//! How a consumer subscribes and what bounds it.

use std::time::Duration;

use pulsar::message::proto::command_subscribe::{InitialPosition as WirePosition, SubType};

use crate::error::Error;

/// How consumers share a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubscriptionType {
    /// One consumer alone.
    Exclusive,
    /// Messages go to consumers in turn, without order.
    #[default]
    Shared,
    /// One consumer is active, the others stand by.
    Failover,
    /// Messages of one key go to one consumer, in order.
    KeyShared,
}

impl SubscriptionType {
    pub(crate) fn to_proto(self) -> SubType {
        match self {
            SubscriptionType::Exclusive => SubType::Exclusive,
            SubscriptionType::Shared => SubType::Shared,
            SubscriptionType::Failover => SubType::Failover,
            SubscriptionType::KeyShared => SubType::KeyShared,
        }
    }

    /// Whether the broker can bring back single entries, as opposed to all that is un-acked.
    pub fn redelivers_singly(self) -> bool {
        matches!(self, SubscriptionType::Shared | SubscriptionType::KeyShared)
    }
}

/// Where a new subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialPosition {
    /// With what is published from now on.
    #[default]
    Latest,
    /// With the oldest message that the topic keeps.
    Earliest,
}

impl InitialPosition {
    pub(crate) fn to_proto(self) -> WirePosition {
        match self {
            InitialPosition::Latest => WirePosition::Latest,
            InitialPosition::Earliest => WirePosition::Earliest,
        }
    }
}

/// When a delivered message's credit comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// When it is acked or nacked: an owner that does neither gets one window of messages.
    #[default]
    Ack,
    /// When the owner requests more.
    Manual,
}

/// A consumer's options; the defaults suit most.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// The consumer's name for the broker.
    pub name: Option<String>,
    /// How the subscription is shared.
    pub subscription_type: SubscriptionType,
    /// Where a new subscription starts.
    pub initial_position: InitialPosition,
    /// The window in messages: most messages delivered, queued or asked for, and not acked.
    pub receiver_queue_size: usize,
    /// The window in bytes.
    pub max_bytes: usize,
    /// When credits come back.
    pub flow: Flow,
    /// Whether to start without delivering, until resumed.
    pub paused: bool,
    /// How long after a nack the broker is asked to deliver again.
    pub nack_delay: Duration,
    /// How long acks may wait for company.
    pub ack_group_time: Duration,
    /// Shown in the topic's statistics.
    pub properties: Vec<(String, String)>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        ConsumerOptions {
            name: None,
            subscription_type: SubscriptionType::default(),
            initial_position: InitialPosition::default(),
            receiver_queue_size: 1000,
            max_bytes: 64 * 1024 * 1024,
            flow: Flow::default(),
            paused: false,
            nack_delay: Duration::from_secs(60),
            ack_group_time: Duration::from_millis(10),
            properties: Vec::new(),
        }
    }
}

impl ConsumerOptions {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let positive = [
            ("receiver_queue_size", self.receiver_queue_size),
            ("max_bytes", self.max_bytes),
        ];
        for (key, value) in positive {
            if value == 0 {
                let allowed = "a positive number";
                return Err(Error::InvalidOption {
                    key,
                    value: "0".to_owned(),
                    allowed,
                });
            }
        }
        Ok(())
    }
}
