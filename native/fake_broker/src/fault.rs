//! What goes wrong, and when.

use std::time::Duration;

use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{BaseCommand, ServerError};

use crate::command;

/// One scripted misfortune: a command, which of its occurrences, and what happens there.
///
/// Occurrences are counted from the moment the fault is given to the broker, over all connections
/// unless [`Fault::connection`] names one. A builder without an action does nothing.
///
/// ```
/// use fake_broker::Fault;
/// use pulsar::message::proto::base_command::Type;
/// // The third message from now is stored, but its producer never hears of it.
/// let fault = Fault::received(Type::Send).nth(3).cut_after();
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    direction: Direction,
    kind: Type,
    nth: usize,
    times: usize,
    connection: Option<u64>,
    seen: usize,
    action: Option<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Received,
    Sent,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    CutBefore,
    CutAfter,
    Stall,
    Drop,
    Delay(Duration),
    Fail(ServerError),
    Corrupt,
    Garbage(Vec<u8>),
}

impl Fault {
    /// A fault at commands of this kind from a client.
    #[must_use]
    pub fn received(kind: Type) -> Self {
        Self::new(Direction::Received, kind)
    }

    /// A fault at commands of this kind to a client.
    #[must_use]
    pub fn sent(kind: Type) -> Self {
        Self::new(Direction::Sent, kind)
    }

    fn new(direction: Direction, kind: Type) -> Self {
        Self {
            direction,
            kind,
            nth: 1,
            times: 1,
            connection: None,
            seen: 0,
            action: None,
        }
    }

    /// The first occurrence that is hit, counted from 1; the very next one by default.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth.max(1);
        self
    }

    /// How many occurrences in a row are hit; one by default.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Every occurrence from the first one on is hit.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Counts and hits only commands of this connection.
    #[must_use]
    pub fn connection(mut self, id: u64) -> Self {
        self.connection = Some(id);
        self
    }

    /// Cuts the connection instead of handling or writing the command.
    #[must_use]
    pub fn cut_before(self) -> Self {
        self.act(Action::CutBefore)
    }

    /// Cuts the connection once the command is handled, before any answer, or is written.
    #[must_use]
    pub fn cut_after(self) -> Self {
        self.act(Action::CutAfter)
    }

    /// From here on the connection is open but neither read nor written.
    #[must_use]
    pub fn stall(self) -> Self {
        self.act(Action::Stall)
    }

    /// The command is neither handled nor written.
    #[must_use]
    pub fn drop(self) -> Self {
        self.act(Action::Drop)
    }

    /// The command, and all after it on this connection, wait so long.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.act(Action::Delay(delay))
    }

    /// A received command is answered with this error and not handled. (A command that expects no
    /// answer is dropped.)
    #[must_use]
    pub fn fail(self, error: ServerError) -> Self {
        self.act(Action::Fail(error))
    }

    /// The last byte of a sent frame is damaged, so that an entry fails its checksum.
    #[must_use]
    pub fn corrupt(self) -> Self {
        self.act(Action::Corrupt)
    }

    /// These bytes are written in place of a sent command.
    #[must_use]
    pub fn garbage(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.act(Action::Garbage(bytes.into()))
    }

    /// The header of a frame of `size` bytes is written in place of a sent command.
    #[must_use]
    pub fn oversized(self, size: u32) -> Self {
        self.act(Action::Garbage(size.to_be_bytes().to_vec()))
    }

    fn act(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    fn hits(&mut self, direction: Direction, kind: Type, connection: u64) -> bool {
        if self.direction != direction
            || self.kind != kind
            || self.connection.is_some_and(|only| only != connection)
        {
            return false;
        }
        self.seen += 1;
        self.seen >= self.nth && self.seen - self.nth < self.times
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens at this command. Every fault counts it; the oldest that hits decides.
    pub(crate) fn at(
        &mut self,
        direction: Direction,
        command: &BaseCommand,
        connection: u64,
    ) -> Option<Action> {
        let kind = command::kind(command)?;
        let mut action = None;
        for fault in &mut self.0 {
            if fault.hits(direction, kind, connection) && action.is_none() {
                action = fault.action.clone();
            }
        }
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(fault: Fault, connections: &[u64]) -> Vec<bool> {
        let mut faults = Faults::default();
        faults.add(fault);
        let ping = command::ping();
        connections
            .iter()
            .map(|id| faults.at(Direction::Received, &ping, *id) == Some(Action::Drop))
            .collect()
    }

    #[test]
    fn counts_occurrences() {
        let fault = Fault::received(Type::Ping).drop();
        assert_eq!(hits(fault.clone(), &[0; 3]), [true, false, false]);
        assert_eq!(
            hits(fault.clone().nth(2).times(2), &[0; 4]),
            [false, true, true, false]
        );
        assert_eq!(
            hits(fault.clone().nth(2).always(), &[0; 4]),
            [false, true, true, true]
        );
        assert_eq!(hits(fault.connection(7), &[0, 7, 7]), [false, true, false]);
        assert_eq!(
            hits(Fault::sent(Type::Ping).drop(), &[0; 2]),
            [false, false]
        );
        assert_eq!(
            hits(Fault::received(Type::Pong).drop(), &[0; 2]),
            [false, false]
        );
    }

    #[test]
    fn the_oldest_fault_decides() {
        let mut faults = Faults::default();
        faults.add(Fault::received(Type::Ping).nth(2).cut_before());
        faults.add(Fault::received(Type::Ping).always().drop());
        let mut at = || faults.at(Direction::Received, &command::ping(), 0);
        assert_eq!(at(), Some(Action::Drop));
        assert_eq!(at(), Some(Action::CutBefore));
        assert_eq!(at(), Some(Action::Drop));
    }
}
