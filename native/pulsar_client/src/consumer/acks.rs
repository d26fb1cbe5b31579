//! Acks on their way to the broker: grouped, sent, and kept until the broker confirms them.

use std::collections::{HashMap, HashSet, VecDeque};

use pulsar::message::proto::command_ack::AckType;
use pulsar::message::proto::{CommandAck, MessageIdData};

use super::tracker::{EntryKey, WireAck};

/// Acks in one command.
const GROUP: usize = 1000;

/// Acks kept at least, whatever the window: honest owners never have so many under way.
const KEPT: usize = 100_000;

/// Acks that the broker has not confirmed.
#[derive(Debug)]
pub(super) struct Acks {
    /// Ids kept at most, unsent and unconfirmed. Beyond it acks are dropped, so that made-up ids cannot
    /// fill the memory while the broker is away; what is not acked comes again.
    limit: usize,
    entries: Vec<EntryKey>,
    partial: HashMap<EntryKey, Vec<i64>>,
    cumulative: Option<EntryKey>,
    sent: VecDeque<(u64, Sent)>,
    /// Ids in `sent`.
    unconfirmed: usize,
    /// Entries that the broker will deliver again after the reconnect although they are acked.
    repeated: HashSet<EntryKey>,
    /// Everything up to here is acked, whatever the broker delivers again.
    stale_through: Option<EntryKey>,
    /// Entries un-acked at the reconnect and not delivered again yet: if the owner acks one before that,
    /// its redelivery is stale.
    owed: HashSet<EntryKey>,
}

#[derive(Debug)]
struct Sent {
    ids: Vec<MessageIdData>,
    kind: AckType,
}

impl Acks {
    /// None yet, for a window of so many messages.
    pub(super) fn new(window: usize) -> Self {
        Acks {
            limit: window.saturating_mul(4).max(KEPT),
            entries: Vec::new(),
            partial: HashMap::new(),
            cumulative: None,
            sent: VecDeque::new(),
            unconfirmed: 0,
            repeated: HashSet::new(),
            stale_through: None,
            owed: HashSet::new(),
        }
    }

    /// Ids kept.
    fn kept(&self) -> usize {
        self.entries.len() + self.partial.len() + self.unconfirmed
    }

    /// Adds one to the group.
    pub(super) fn add(&mut self, ack: WireAck) {
        if self.kept() >= self.limit && !matches!(ack, WireAck::Cumulative(_)) {
            return;
        }
        match ack {
            WireAck::Entry(key) => {
                self.partial.remove(&key);
                self.entries.push(key);
                if !self.owed.is_empty() && self.owed.remove(&key) {
                    self.repeated.insert(key);
                }
            }
            WireAck::Partial(key, ack_set) => {
                self.partial.insert(key, ack_set);
            }
            WireAck::Cumulative(key) => {
                self.entries.retain(|entry| *entry > key);
                self.partial.retain(|entry, _| *entry > key);
                self.cumulative = self.cumulative.max(Some(key));
                self.stale_through = self.stale_through.max(Some(key));
            }
        }
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.entries.is_empty() && self.partial.is_empty() && self.cumulative.is_none()
    }

    /// Whether everything sent is confirmed, and everything added is sent.
    pub(super) fn is_settled(&self) -> bool {
        self.is_flushed() && self.sent.is_empty()
    }

    /// Whether the group is worth sending before its time.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() + self.partial.len() >= GROUP
    }

    /// The commands that send the group. With `confirm`, each carries a request id from it and is kept
    /// until [`Self::confirmed`].
    pub(super) fn flush(
        &mut self,
        consumer_id: u64,
        mut confirm: Option<&mut dyn FnMut() -> u64>,
    ) -> Vec<CommandAck> {
        let mut groups = Vec::new();
        if let Some(key) = self.cumulative.take() {
            groups.push(Sent {
                ids: vec![wire_id(key, Vec::new())],
                kind: AckType::Cumulative,
            });
        }
        let mut ids: Vec<MessageIdData> = self
            .entries
            .drain(..)
            .map(|key| wire_id(key, Vec::new()))
            .collect();
        ids.extend(
            self.partial
                .drain()
                .map(|(key, ack_set)| wire_id(key, ack_set)),
        );
        let individual = |ids: &[MessageIdData]| Sent {
            ids: ids.to_vec(),
            kind: AckType::Individual,
        };
        groups.extend(ids.chunks(GROUP).map(individual));
        let mut commands = Vec::with_capacity(groups.len());
        for group in groups {
            let request_id = confirm.as_mut().map(|next| next());
            commands.push(CommandAck {
                consumer_id,
                ack_type: group.kind as i32,
                message_id: group.ids.clone(),
                request_id,
                ..Default::default()
            });
            if let Some(request_id) = request_id {
                self.unconfirmed += group.ids.len();
                self.sent.push_back((request_id, group));
            }
        }
        commands
    }

    /// The broker confirmed a command.
    pub(super) fn confirmed(&mut self, request_id: u64) {
        let found = self.sent.iter().position(|(id, _)| *id == request_id);
        if let Some((_, sent)) = found.and_then(|at| self.sent.remove(at)) {
            self.unconfirmed -= sent.ids.len();
        }
    }

    /// The connection was lost: what it did not confirm is to be sent again. `unacked` are the entries
    /// that the owner holds.
    pub(super) fn disconnected(&mut self, unacked: Vec<EntryKey>) {
        self.repeated.clear();
        self.unconfirmed = 0;
        // Newest first: of several partial acks of an entry the latest knows most.
        for (_, sent) in std::mem::take(&mut self.sent).into_iter().rev() {
            for id in sent.ids {
                let key = (id.ledger_id, id.entry_id);
                match sent.kind {
                    AckType::Cumulative => self.cumulative = self.cumulative.max(Some(key)),
                    AckType::Individual if id.ack_set.is_empty() => self.entries.push(key),
                    AckType::Individual => {
                        self.partial.entry(key).or_insert(id.ack_set);
                    }
                }
            }
        }
        let entries = &self.entries;
        self.repeated.extend(entries.iter().copied());
        let repeated = &self.repeated;
        self.partial.retain(|key, _| !repeated.contains(key));
        self.stale_through = self.cumulative;
        self.owed = unacked.into_iter().collect();
    }

    /// Whether a delivered entry was acked before: its redelivery crossed the ack.
    pub(super) fn is_stale(&self, key: EntryKey) -> bool {
        self.repeated.contains(&key) || self.stale_through.is_some_and(|through| key <= through)
    }

    /// An entry is delivered (again): acks of it that come now are for this delivery.
    pub(super) fn delivered(&mut self, key: EntryKey) {
        if !self.owed.is_empty() {
            self.owed.remove(&key);
        }
    }

    /// Forgets everything: the subscription's cursor was moved.
    pub(super) fn clear(&mut self) {
        *self = Acks::new(self.limit / 4);
    }
}

fn wire_id((ledger_id, entry_id): EntryKey, ack_set: Vec<i64>) -> MessageIdData {
    MessageIdData {
        ledger_id,
        entry_id,
        ack_set,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(command: &CommandAck) -> Vec<EntryKey> {
        command
            .message_id
            .iter()
            .map(|id| (id.ledger_id, id.entry_id))
            .collect()
    }

    #[test]
    fn what_was_not_confirmed_is_sent_again_and_its_redelivery_is_stale() {
        let mut acks = Acks::new(1000);
        let mut next = 0;
        let mut request = || {
            next += 1;
            next
        };
        acks.add(WireAck::Entry((1, 1)));
        acks.flush(7, Some(&mut request));
        acks.add(WireAck::Entry((1, 2)));
        acks.flush(7, Some(&mut request));
        acks.confirmed(1);
        assert!(!acks.is_settled());
        acks.disconnected(vec![(1, 3)]);
        assert!(acks.is_stale((1, 2)) && !acks.is_stale((1, 1)));
        // Acked by its owner after the reconnect and before the redelivery.
        assert!(!acks.is_stale((1, 3)));
        acks.add(WireAck::Entry((1, 3)));
        assert!(acks.is_stale((1, 3)));
        let again = acks.flush(7, Some(&mut request));
        assert_eq!(
            again.iter().map(ids).collect::<Vec<_>>(),
            [vec![(1, 2), (1, 3)]]
        );
    }

    #[test]
    fn a_whole_ack_replaces_the_partial_one_before_it() {
        let mut acks = Acks::new(1000);
        acks.add(WireAck::Partial((1, 1), vec![2]));
        acks.add(WireAck::Entry((1, 1)));
        let commands = acks.flush(7, None);
        assert_eq!(commands.len(), 1);
        assert!(commands[0].message_id[0].ack_set.is_empty());
        assert!(acks.is_settled());
    }

    #[test]
    fn made_up_ids_do_not_fill_the_memory_while_the_broker_is_away() {
        let mut acks = Acks::new(10);
        let mut next = 0;
        let mut request = || {
            next += 1;
            next
        };
        (0..KEPT as u64).for_each(|entry| acks.add(WireAck::Entry((1, entry))));
        acks.flush(7, Some(&mut request));
        acks.add(WireAck::Entry((2, 0)));
        assert!(acks.is_flushed());
        acks.confirmed(1);
        acks.add(WireAck::Entry((2, 0)));
        assert!(!acks.is_flushed());
    }

    #[test]
    fn groups_are_cut_at_the_bound() {
        let mut acks = Acks::new(1000);
        (0..2500).for_each(|entry| acks.add(WireAck::Entry((1, entry))));
        assert!(acks.is_full());
        let sizes: Vec<usize> = acks
            .flush(7, None)
            .iter()
            .map(|c| c.message_id.len())
            .collect();
        assert_eq!(sizes, [1000, 1000, 500]);
    }
}
