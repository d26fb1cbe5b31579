//! What a pipeline holds: messages that arrived and are not acknowledged.
//!
//! The inbox is the consumer's sink while the pipeline runs. It never waits and needs no bound of its
//! own: the consumer delivers a window of un-acked messages and no more, and nothing is acked before it
//! is done. A reconnect or a rewind makes the broker deliver held messages a second time, for which the
//! consumer's window makes room again; those are dropped here, because the first copy is still on its
//! way. So however often that happens, each message is held once. (A seek is the exception: its window
//! comes on top of what is in flight.)

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pulsar_client::consumer::MessageSink;
use pulsar_client::wire::entry::{Entry, MessageView};
use tokio::sync::Notify;

use crate::batch::Part;
use crate::positions::Positions;

/// An entry that waits for the batcher.
pub(crate) struct Arrival {
    pub(crate) entry: Arc<Entry>,
    /// The consumer's number of the entry's topic.
    pub(crate) topic: usize,
}

/// Topic number, ledger and entry.
type HeldKey = (usize, u64, u64);

#[derive(Default)]
struct State {
    queue: VecDeque<Arrival>,
    held: HashMap<HeldKey, Positions>,
    messages: usize,
    duplicates: u64,
    closed: bool,
}

/// Takes a consumer's messages over.
pub(crate) struct Inbox {
    topics: HashMap<String, usize>,
    state: Mutex<State>,
    arrived: Notify,
}

impl Inbox {
    /// An inbox for the topics of a consumer, each with its number.
    pub(crate) fn new(topics: HashMap<String, usize>) -> Self {
        Inbox {
            topics,
            state: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something to take.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes all that waits.
    pub(crate) fn take(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut self.state().queue)
    }

    /// Forgets messages that were acknowledged or given up.
    pub(crate) fn release(&self, parts: &[Part]) {
        let mut guard = self.state();
        let state = &mut *guard;
        for part in parts {
            let Slot::Occupied(mut held) = state.held.entry(key(part.topic, &part.entry)) else {
                continue;
            };
            for message in part.messages() {
                state.messages -= usize::from(held.get_mut().remove(position(message)));
            }
            if held.get().is_empty() {
                held.remove();
            }
        }
    }

    /// Lets go of everything; what is still delivered is dropped, for its owner to get again.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        let duplicates = state.duplicates;
        *state = State {
            closed: true,
            duplicates,
            ..State::default()
        };
    }

    /// Messages that arrived and are not done.
    pub(crate) fn messages(&self) -> usize {
        self.state().messages
    }

    /// Messages dropped because they were still held.
    pub(crate) fn duplicates(&self) -> u64 {
        self.state().duplicates
    }
}

impl MessageSink for Inbox {
    fn deliver(&self, entries: Vec<Entry>) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        for mut entry in entries {
            // Of another consumer's topics nothing could be acked. None is ever delivered here.
            let Some(topic) = self.topics.get(&*entry.topic).copied() else {
                continue;
            };
            if state.closed || entry.messages.is_empty() {
                continue;
            }
            let held = state.held.entry(key(topic, &entry)).or_default();
            let before = entry.messages.len();
            entry
                .messages
                .retain(|message| held.insert(position(message)));
            state.messages += entry.messages.len();
            state.duplicates += (before - entry.messages.len()) as u64;
            if !entry.messages.is_empty() {
                let entry = Arc::new(entry);
                state.queue.push_back(Arrival { entry, topic });
            }
        }
        drop(guard);
        self.arrived.notify_one();
        true
    }
}

fn key(topic: usize, entry: &Entry) -> HeldKey {
    (topic, entry.ledger_id, entry.entry_id)
}

fn position(message: &MessageView) -> usize {
    message.batch_index.max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::entry;

    fn inbox() -> Inbox {
        Inbox::new(HashMap::from([("t".to_owned(), 0)]))
    }

    fn sizes(inbox: &Inbox) -> Vec<usize> {
        let taken = inbox.take();
        taken.iter().map(|a| a.entry.messages.len()).collect()
    }

    fn whole(entry: &Arc<Entry>) -> Part {
        Part {
            entry: entry.clone(),
            topic: 0,
            range: 0..entry.messages.len(),
        }
    }

    #[test]
    fn what_is_held_is_not_taken_twice_and_what_was_released_is() {
        let inbox = inbox();
        assert!(inbox.deliver(vec![entry(1, &[1, 1, 1]), entry(2, &[1])]));
        let taken = inbox.take();
        assert!(inbox.deliver(vec![entry(1, &[1, 1, 1]), entry(2, &[1])]));
        assert_eq!(sizes(&inbox), [0; 0]);
        assert_eq!((inbox.messages(), inbox.duplicates()), (4, 4));

        inbox.release(&[whole(&taken[0].entry)]);
        assert_eq!(inbox.messages(), 1);
        inbox.deliver(vec![entry(1, &[1, 1, 1]), entry(2, &[1])]);
        assert_eq!(sizes(&inbox), [3]);
    }

    #[test]
    fn the_part_of_an_entry_that_is_not_held_is_taken() {
        let inbox = inbox();
        let mut second_half = entry(1, &[1, 1, 1, 1]);
        second_half.messages.drain(..2);
        inbox.deliver(vec![second_half]);
        inbox.deliver(vec![entry(1, &[1, 1, 1, 1])]);
        assert_eq!(sizes(&inbox), [2, 2]);
        assert_eq!((inbox.messages(), inbox.duplicates()), (4, 2));
    }

    #[test]
    fn a_closed_inbox_drops_but_never_closes_its_consumer() {
        let inbox = inbox();
        inbox.deliver(vec![entry(1, &[1])]);
        inbox.close();
        assert!(inbox.deliver(vec![entry(2, &[1])]));
        assert_eq!((sizes(&inbox), inbox.messages()), (vec![], 0));
    }
}
