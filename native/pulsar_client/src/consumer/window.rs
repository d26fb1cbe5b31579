//! The credits between broker and owner: how many more messages to ask the broker for. Pure.
//!
//! The window bounds messages and bytes that are held here (queued, or delivered and not acked) plus
//! those the broker may still send. The broker counts permits in messages only, so bytes are bounded by
//! an estimate of the message size that rises at once and falls slowly.

use super::tracker::Released;

/// Credits of one partition.
#[derive(Debug)]
pub(super) struct Window {
    max_messages: i64,
    max_bytes: i64,
    held_messages: i64,
    held_bytes: i64,
    /// Permits that the broker has and has not used; below zero when a batch overran them.
    outstanding: i64,
    /// Entries in a row that came although the broker had no permits.
    unasked: usize,
    estimate: i64,
    sampled: bool,
}

/// A broker reads entries ahead, by default a hundred, and sends them all even where the first uses up the
/// permits. One that sends so many more does not count.
const MAX_UNASKED: usize = 1000;

impl Window {
    /// A window; until the first message arrives each is taken to be of the size `first_guess`.
    pub(super) fn new(max_messages: usize, max_bytes: usize, first_guess: usize) -> Self {
        Window {
            max_messages: max_messages as i64,
            max_bytes: max_bytes as i64,
            held_messages: 0,
            held_bytes: 0,
            outstanding: 0,
            unasked: 0,
            estimate: first_guess.max(1) as i64,
            sampled: false,
        }
    }

    /// The broker used permits for an entry, whatever became of its messages.
    pub(super) fn used(&mut self, permits: usize) {
        if self.outstanding <= 0 {
            self.unasked += 1;
        }
        self.outstanding -= permits as i64;
    }

    /// Messages arrived and are held from now on.
    pub(super) fn hold(&mut self, messages: usize, bytes: usize) {
        self.held_messages += messages as i64;
        self.held_bytes += bytes as i64;
        if let Some(size) = bytes.checked_div(messages) {
            let size = (size as i64).max(1);
            if !self.sampled || size > self.estimate {
                self.estimate = size;
            } else {
                self.estimate -= (self.estimate - size) / 16;
            }
            self.sampled = true;
        }
    }

    /// Credits came back.
    pub(super) fn release(&mut self, released: Released) {
        self.held_messages -= released.messages as i64;
        self.held_bytes -= released.bytes as i64;
    }

    /// The connection is new: the broker has no permits of ours.
    pub(super) fn reset_outstanding(&mut self) {
        self.outstanding = 0;
        self.unasked = 0;
    }

    /// Whether the broker sends without being asked.
    pub(super) fn is_overrun(&self) -> bool {
        self.unasked > MAX_UNASKED
    }

    /// How many permits to give the broker now. Gives only when that at least doubles what the broker
    /// has, so that flow commands stay rare.
    pub(super) fn grant(&mut self) -> Option<u32> {
        let by_bytes = (self.max_bytes - self.held_bytes) / self.estimate;
        let mut room = (self.max_messages - self.held_messages).min(by_bytes);
        if room <= 0 && self.held_messages == 0 {
            // Nothing is held, so even a message larger than the window must be let in.
            room = 1;
        }
        let free = room - self.outstanding;
        if free <= 0 || free < self.outstanding || room <= 0 {
            return None;
        }
        let permits = u32::try_from(free).unwrap_or(u32::MAX);
        self.outstanding += i64::from(permits);
        self.unasked = 0;
        Some(permits)
    }

    /// Whether the owner holds so much that the broker cannot send.
    pub(super) fn is_exhausted(&self) -> bool {
        self.outstanding <= 0 && self.held_messages > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn released(messages: usize, bytes: usize) -> Released {
        Released { messages, bytes }
    }

    #[test]
    fn starts_carefully_then_opens() {
        let mut window = Window::new(1000, 64 << 20, 5 << 20);
        assert_eq!(window.grant(), Some(12));
        window.used(1);
        window.hold(1, 100);
        assert_eq!(window.grant(), Some(988));
        assert_eq!(window.grant(), None);
    }

    #[test]
    fn an_entry_larger_than_the_window_does_not_stall() {
        let mut window = Window::new(10, 1 << 20, 1000);
        assert_eq!(window.grant(), Some(10));
        window.used(1000);
        window.hold(1000, 100_000);
        assert_eq!(window.grant(), None);
        assert!(window.is_exhausted());
        window.release(released(1000, 100_000));
        assert_eq!(window.grant(), Some(1000));
        // What the broker now has: 10 - 1000 + 1000.
        assert_eq!(window.outstanding, 10);
    }

    #[test]
    fn a_message_larger_than_the_bytes_is_let_in_alone() {
        let mut window = Window::new(10, 100, 1000);
        assert_eq!(window.grant(), Some(1));
        window.used(1);
        window.hold(1, 1000);
        assert_eq!(window.grant(), None);
        window.release(released(1, 1000));
        assert_eq!(window.grant(), Some(1));
    }

    proptest! {
        /// Against a broker that sends all it may: held stays within the window, give or take one
        /// batch, and the exchange never stalls while the owner holds nothing.
        #[test]
        fn bounded_and_never_stuck(window_size in 1usize..50, batches in prop::collection::vec((1usize..80, 0usize..100), 1..200)) {
            let mut window = Window::new(window_size, 1 << 30, 100);
            let mut permits = 0i64;
            let mut held = 0usize;
            for (batch, acked) in batches {
                if let Some(granted) = window.grant() { permits += i64::from(granted); }
                prop_assert!(permits > 0 || held > 0);
                if permits > 0 {
                    permits -= batch as i64;
                    held += batch;
                    window.used(batch);
                    window.hold(batch, batch);
                }
                prop_assert!(held <= window_size + 80);
                let acked = acked.min(held);
                held -= acked;
                window.release(released(acked, acked));
            }
        }
    }
}
