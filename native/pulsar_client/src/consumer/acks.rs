//! Acks on their way to the broker: grouped, sent, and kept until the broker confirms them.

use std::collections::{HashMap, HashSet, VecDeque};

use pulsar::message::proto::command_ack::AckType;
use pulsar::message::proto::{CommandAck, MessageIdData};

use super::tracker::{EntryKey, WireAck};

/// Acks in one command.
const GROUP: usize = 1000;

/// Acks that the broker has not confirmed.
#[derive(Debug, Default)]
pub(super) struct Acks {
    entries: Vec<EntryKey>,
    partial: HashMap<EntryKey, Vec<i64>>,
    cumulative: Option<EntryKey>,
    sent: VecDeque<(u64, Sent)>,
    /// Entries whose acks had to be sent again after a reconnect: a redelivery of one is stale.
    repeated: HashSet<EntryKey>,
}

#[derive(Debug)]
struct Sent {
    ids: Vec<MessageIdData>,
    kind: AckType,
}

impl Acks {
    /// Adds one to the group.
    pub(super) fn add(&mut self, ack: WireAck) {
        match ack {
            WireAck::Entry(key) => {
                self.partial.remove(&key);
                self.entries.push(key);
            }
            WireAck::Partial(key, ack_set) => {
                self.partial.insert(key, ack_set);
            }
            WireAck::Cumulative(key) => {
                self.entries.retain(|entry| *entry > key);
                self.partial.retain(|entry, _| *entry > key);
                self.cumulative = self.cumulative.max(Some(key));
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
                self.sent.push_back((request_id, group));
            }
        }
        commands
    }

    /// The broker confirmed a command.
    pub(super) fn confirmed(&mut self, request_id: u64) {
        if let Some(at) = self.sent.iter().position(|(id, _)| *id == request_id) {
            self.sent.remove(at);
        }
    }

    /// The connection was lost: what it did not confirm is to be sent again.
    pub(super) fn disconnected(&mut self) {
        self.repeated.clear();
        for (_, sent) in std::mem::take(&mut self.sent) {
            for id in sent.ids {
                let key = (id.ledger_id, id.entry_id);
                match sent.kind {
                    AckType::Cumulative => self.cumulative = self.cumulative.max(Some(key)),
                    AckType::Individual if id.ack_set.is_empty() => self.entries.push(key),
                    // A later ack of the same entry knows more.
                    AckType::Individual => {
                        self.partial.entry(key).or_insert(id.ack_set);
                    }
                }
            }
        }
        let Acks {
            entries,
            partial,
            repeated,
            ..
        } = self;
        repeated.extend(entries.iter().copied());
        partial.retain(|key, _| !repeated.contains(key));
    }

    /// Whether a delivered entry was acked before the reconnect that brought it back.
    pub(super) fn is_stale(&self, key: EntryKey) -> bool {
        self.repeated.contains(&key) || self.cumulative.is_some_and(|cumulative| key <= cumulative)
    }

    /// Forgets everything: the subscription's cursor was moved.
    pub(super) fn clear(&mut self) {
        *self = Acks::default();
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
        let mut acks = Acks::default();
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
        acks.disconnected();
        assert!(acks.is_stale((1, 2)) && !acks.is_stale((1, 1)));
        let again = acks.flush(7, Some(&mut request));
        assert_eq!(again.iter().map(ids).collect::<Vec<_>>(), [vec![(1, 2)]]);
    }

    #[test]
    fn a_whole_ack_replaces_the_partial_one_before_it() {
        let mut acks = Acks::default();
        acks.add(WireAck::Partial((1, 1), vec![2]));
        acks.add(WireAck::Entry((1, 1)));
        let commands = acks.flush(7, None);
        assert_eq!(commands.len(), 1);
        assert!(commands[0].message_id[0].ack_set.is_empty());
        assert!(acks.is_settled());
    }

    #[test]
    fn groups_are_cut_at_the_bound() {
        let mut acks = Acks::default();
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
