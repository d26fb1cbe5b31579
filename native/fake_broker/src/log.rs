//! What clients sent.

use std::collections::{HashMap, VecDeque};

use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{BaseCommand, MessageMetadata};

use crate::command;

/// How many commands are kept; older ones are forgotten.
const CAPACITY: usize = 200_000;

/// A command as it arrived, before any fault.
#[derive(Clone, Debug)]
pub struct Received {
    /// The connection it came on.
    pub connection: u64,
    /// The command.
    pub command: BaseCommand,
    /// The entry's metadata, for a `SEND` whose metadata can be read.
    pub metadata: Option<MessageMetadata>,
}

impl Received {
    /// The kind of the command, `None` for one that the protocol does not have.
    #[must_use]
    pub fn kind(&self) -> Option<Type> {
        command::kind(&self.command)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    commands: VecDeque<Received>,
    /// Commands of each kind, forgotten ones included.
    counts: HashMap<i32, usize>,
}

impl Log {
    pub(crate) fn push(&mut self, received: Received) {
        if self.commands.len() == CAPACITY {
            self.commands.pop_front();
        }
        *self.counts.entry(received.command.r#type).or_default() += 1;
        self.commands.push_back(received);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Received> {
        self.commands.iter()
    }

    pub(crate) fn count(&self, kind: Type) -> usize {
        self.counts.get(&(kind as i32)).copied().unwrap_or(0)
    }
}
