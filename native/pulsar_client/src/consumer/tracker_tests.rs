use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn range(entry: u64, batch_size: u32, first: u32, last: u32) -> AckRange {
    AckRange {
        key: (1, entry),
        batch_size,
        first,
        last,
    }
}

fn deliver(tracker: &mut Tracker, entry: u64, size: usize) {
    tracker.deliver((1, entry), &mut Bits::full(size), size * 10);
}

#[test]
fn an_entry_is_acked_when_its_last_message_is() {
    let mut tracker = Tracker::default();
    deliver(&mut tracker, 1, 10);
    for index in 0..9 {
        let (_, ack) = tracker.ack(range(1, 10, index, index));
        assert!(
            matches!(ack, Some(WireAck::Partial(..))),
            "{index}: {ack:?}"
        );
    }
    let (released, ack) = tracker.ack(range(1, 10, 9, 9));
    assert_eq!(ack, Some(WireAck::Entry((1, 1))));
    assert_eq!(
        released,
        Released {
            messages: 1,
            bytes: 10
        }
    );
    assert_eq!(tracker.held(), 0);
}

#[test]
fn a_cumulative_ack_inside_a_batch_keeps_the_rest_of_the_batch() {
    let mut tracker = Tracker::default();
    (1..=3).for_each(|entry| deliver(&mut tracker, entry, 10));
    let (released, acks) = tracker.ack_cumulative(range(2, 10, 4, 4));
    assert_eq!(released.messages, 15);
    let rest: i64 = 0b11_1110_0000;
    assert_eq!(
        acks,
        [
            WireAck::Cumulative((1, 1)),
            WireAck::Partial((1, 2), vec![rest])
        ]
    );
    assert_eq!(tracker.held(), 15);
}

#[test]
fn a_nacked_batch_comes_back_without_what_was_acked() {
    let mut tracker = Tracker::default();
    deliver(&mut tracker, 1, 10);
    tracker.ack(range(1, 10, 3, 3));
    assert_eq!(tracker.nack(range(1, 10, 5, 5)).messages, 1);
    let mut again = Bits::full(10);
    let released = tracker.deliver((1, 1), &mut again, 100);
    assert_eq!(released.messages, 8);
    assert_eq!(again.count(), 9);
    assert!(!again.contains(3));
    assert_eq!(tracker.held(), 9);
}

#[test]
fn made_up_ids_do_not_grow_the_tracker_without_bound() {
    let mut tracker = Tracker::default();
    for entry in 0..(MAX_FOREIGN as u64 + 500) {
        tracker.ack(range(entry, 10, 0, 0));
    }
    assert!(tracker.entries.len() <= MAX_FOREIGN);
}

#[derive(Debug, Clone)]
enum Step {
    Deliver(u64),
    Ack(u64, u32),
    Cumulative(u64, u32),
    Nack(u64, u32),
    Rewind,
}

fn step() -> impl Strategy<Value = Step> {
    let at = (0u64..6, 0u32..5);
    prop_oneof![
        at.clone().prop_map(|(entry, _)| Step::Deliver(entry)),
        at.clone().prop_map(|(entry, at)| Step::Ack(entry, at)),
        at.clone()
            .prop_map(|(entry, at)| Step::Cumulative(entry, at)),
        at.prop_map(|(entry, at)| Step::Nack(entry, at)),
        Just(Step::Rewind),
    ]
}

/// The reference: sets of messages.
#[derive(Default)]
struct Model {
    known: BTreeMap<u64, BTreeSet<u32>>,
    held: BTreeSet<(u64, u32)>,
}

const SIZE: u32 = 5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Never gives a message up for acked that was not, never delivers an acked one again, and counts
    /// exactly what the owner holds.
    #[test]
    fn agrees_with_sets_of_messages(steps in prop::collection::vec(step(), 1..60)) {
        let mut tracker = Tracker::default();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Deliver(entry) => {
                    let mut bits = Bits::full(SIZE as usize);
                    tracker.deliver((1, entry), &mut bits, 50);
                    let unacked = model.known.entry(entry).or_insert_with(|| (0..SIZE).collect());
                    for at in 0..SIZE {
                        prop_assert_eq!(bits.contains(at as usize), unacked.contains(&at));
                        if unacked.contains(&at) { model.held.insert((entry, at)); }
                    }
                }
                Step::Ack(entry, at) => {
                    let (_, ack) = tracker.ack(range(entry, SIZE, at, at));
                    let unacked = model.known.entry(entry).or_insert_with(|| (0..SIZE).collect());
                    let changed = unacked.remove(&at);
                    model.held.remove(&(entry, at));
                    match ack {
                        Some(WireAck::Entry(key)) => prop_assert!(key == (1, entry) && unacked.is_empty()),
                        Some(WireAck::Partial(key, set)) => {
                            prop_assert!(key == (1, entry) && changed);
                            for at in 0..SIZE {
                                prop_assert_eq!(set[0] >> at & 1 == 1, unacked.contains(&at));
                            }
                        }
                        other => prop_assert!(other.is_none() && !changed),
                    }
                    if unacked.is_empty() { model.known.remove(&entry); }
                }
                Step::Cumulative(entry, at) => {
                    let (_, acks) = tracker.ack_cumulative(range(entry, SIZE, at, at));
                    for ack in acks {
                        if let WireAck::Cumulative((_, upto)) = ack {
                            prop_assert!(upto < entry || (upto == entry && at == SIZE - 1
                                || model.known.get(&entry).is_some_and(|left| left.iter().all(|i| *i <= at))));
                        }
                    }
                    model.known.retain(|known, _| *known >= entry);
                    model.held.retain(|(known, _)| *known >= entry);
                    let unacked = model.known.entry(entry).or_insert_with(|| (0..SIZE).collect());
                    unacked.retain(|left| *left > at);
                    if unacked.is_empty() { model.known.remove(&entry); }
                    model.held.retain(|(e, i)| *e != entry || *i > at);
                }
                Step::Nack(entry, at) => {
                    tracker.nack(range(entry, SIZE, at, at));
                    model.held.remove(&(entry, at));
                }
                Step::Rewind => {
                    tracker.rewind();
                    model.held.clear();
                }
            }
            prop_assert_eq!(tracker.held(), model.held.len());
        }
    }
}
