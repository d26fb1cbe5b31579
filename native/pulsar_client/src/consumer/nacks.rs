//! Nacked entries, waiting for their delay to pass. Pure but for tokio's clock.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::tracker::EntryKey;

/// Nacked entries kept back at most, as a multiple of the window: more come back early.
const WINDOWS: usize = 10;

/// Entries to ask for again.
#[derive(Debug)]
pub(super) struct Nacks {
    delay: Duration,
    limit: usize,
    waiting: VecDeque<(Instant, EntryKey)>,
}

impl Nacks {
    /// None yet.
    pub(super) fn new(delay: Duration, window: usize) -> Self {
        Nacks {
            delay,
            limit: window.saturating_mul(WINDOWS),
            waiting: VecDeque::new(),
        }
    }

    /// Adds an entry, due after the delay.
    pub(super) fn add(&mut self, key: EntryKey) {
        // A batch is nacked message by message, and comes back as one.
        if self.waiting.back().is_some_and(|(_, last)| *last == key) {
            return;
        }
        self.waiting.push_back((Instant::now() + self.delay, key));
    }

    /// When the next is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (due, _) = self.waiting.front()?;
        Some(if self.waiting.len() > self.limit {
            Instant::now()
        } else {
            *due
        })
    }

    /// Those that are due, each entry once.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<EntryKey> {
        let mut due = BTreeSet::new();
        while self.waiting.len() > self.limit
            || self.waiting.front().is_some_and(|(at, _)| *at <= now)
        {
            due.extend(self.waiting.pop_front().map(|(_, key)| key));
        }
        due.into_iter().collect()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
