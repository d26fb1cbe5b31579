//! The bound on what a producer holds: messages and bytes that are sent but not confirmed.
//!
//! Lists that do not fit wait in order of arrival. A list larger than the whole bound is admitted when
//! nothing else is pending, so that it is slow but not refused for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::message::MessageList;
use super::receipt::ListReceipt;
use crate::error::Error;

/// Identifies a waiting list to whoever may withdraw it.
pub type Ticket = u64;

/// A list on its way to the partitions.
pub(crate) struct Submission {
    pub(crate) list: MessageList,
    pub(crate) receipt: Arc<ListReceipt>,
    pub(crate) deadline: Option<tokio::time::Instant>,
}

struct Waiting {
    ticket: Ticket,
    submission: Submission,
    admitted: Box<dyn FnOnce() + Send>,
}

#[derive(Default)]
struct State {
    messages: usize,
    bytes: usize,
    closed: bool,
    next_ticket: Ticket,
    waiting: VecDeque<Waiting>,
}

/// What became of a list at the door.
pub enum Admitted {
    /// It is on its way.
    Now,
    /// It waits; the callback given with it says when it is on its way.
    Later(Ticket),
}

pub(crate) struct Admission {
    max_messages: usize,
    max_bytes: usize,
    state: Mutex<State>,
    /// Takes what is admitted, in order: called under the lock, must only enqueue.
    dispatch: Box<dyn Fn(Submission) + Send + Sync>,
}

impl Admission {
    pub(crate) fn new(
        max_messages: usize,
        max_bytes: usize,
        dispatch: Box<dyn Fn(Submission) + Send + Sync>,
    ) -> Self {
        Admission {
            max_messages,
            max_bytes,
            state: Mutex::default(),
            dispatch,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a list, or lets it wait if `admitted` is there to be called later. The receipt of a
    /// refused list never calls back.
    pub(crate) fn submit(
        &self,
        submission: Submission,
        admitted: Option<Box<dyn FnOnce() + Send>>,
    ) -> Result<Admitted, Error> {
        let mut state = self.state();
        if state.closed {
            submission.receipt.disarm();
            return Err(Error::Closed);
        }
        if state.waiting.is_empty() && self.fits(&state, &submission.list) {
            self.admit(&mut state, submission);
            return Ok(Admitted::Now);
        }
        let Some(admitted) = admitted else {
            submission.receipt.disarm();
            return Err(Error::QueueFull);
        };
        state.next_ticket += 1;
        let ticket = state.next_ticket;
        state.waiting.push_back(Waiting {
            ticket,
            submission,
            admitted,
        });
        Ok(Admitted::Later(ticket))
    }

    /// Withdraws a waiting list, whose receipt then never calls back; `false` if it no longer waits.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> bool {
        let mut state = self.state();
        let found = state
            .waiting
            .iter()
            .position(|waiting| waiting.ticket == ticket);
        let Some(withdrawn) = found.and_then(|at| state.waiting.remove(at)) else {
            return false;
        };
        withdrawn.submission.receipt.disarm();
        // What stood behind it may fit.
        let admitted = self.admit_waiting(&mut state);
        drop(state);
        admitted.into_iter().for_each(|admitted| admitted());
        true
    }

    /// Gives back what was confirmed or failed.
    pub(crate) fn release(&self, messages: usize, bytes: usize) {
        let mut state = self.state();
        state.messages = state.messages.saturating_sub(messages);
        state.bytes = state.bytes.saturating_sub(bytes);
        let admitted = self.admit_waiting(&mut state);
        drop(state);
        admitted.into_iter().for_each(|admitted| admitted());
    }

    /// Refuses everything from now on; returns the lists that still waited.
    pub(crate) fn close(&self) -> Vec<Submission> {
        let mut state = self.state();
        state.closed = true;
        state
            .waiting
            .drain(..)
            .map(|waiting| waiting.submission)
            .collect()
    }

    /// The last ticket given: every list that waits now has this one or an earlier one.
    pub(crate) fn last_ticket(&self) -> Ticket {
        self.state().next_ticket
    }

    /// Whether a list with this ticket or an earlier one still waits.
    pub(crate) fn waits(&self, until: Ticket) -> bool {
        let state = self.state();
        state
            .waiting
            .front()
            .is_some_and(|next| next.ticket <= until)
    }

    /// Pending messages and bytes.
    pub(crate) fn pending(&self) -> (usize, usize) {
        let state = self.state();
        (state.messages, state.bytes)
    }

    fn admit_waiting(&self, state: &mut State) -> Vec<Box<dyn FnOnce() + Send>> {
        let mut admitted = Vec::new();
        while state
            .waiting
            .front()
            .is_some_and(|next| self.fits(state, &next.submission.list))
        {
            if let Some(next) = state.waiting.pop_front() {
                self.admit(state, next.submission);
                admitted.push(next.admitted);
            }
        }
        admitted
    }

    fn fits(&self, state: &State, list: &MessageList) -> bool {
        state.messages == 0
            || state.messages + list.messages.len() <= self.max_messages
                && state.bytes + list.bytes() <= self.max_bytes
    }

    fn admit(&self, state: &mut State, submission: Submission) {
        state.messages += submission.list.messages.len();
        state.bytes += submission.list.bytes();
        (self.dispatch)(submission);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::message::Outgoing;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn submission(messages: usize, bytes_each: usize) -> Submission {
        let payload = Some(0..bytes_each);
        let list = MessageList {
            buffer: vec![0; bytes_each].into(),
            messages: vec![
                Outgoing {
                    payload,
                    options: None
                };
                messages
            ],
        };
        let receipt = ListReceipt::new(messages as u32, Box::new(|_| {}));
        Submission {
            list,
            receipt,
            deadline: None,
        }
    }

    fn admission(messages: usize, bytes: usize) -> (Admission, Arc<Mutex<Vec<usize>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let dispatched = seen.clone();
        let dispatch = move |s: Submission| dispatched.lock().unwrap().push(s.list.messages.len());
        (Admission::new(messages, bytes, Box::new(dispatch)), seen)
    }

    #[test]
    fn exact_bounds_by_count_and_by_bytes() {
        let (door, _) = admission(10, 100);
        assert!(door.submit(submission(10, 1), None).is_ok());
        assert!(matches!(
            door.submit(submission(1, 1), None),
            Err(Error::QueueFull)
        ));
        door.release(10, 10);
        assert!(door.submit(submission(2, 50), None).is_ok());
        assert!(matches!(
            door.submit(submission(1, 1), None),
            Err(Error::QueueFull)
        ));
    }

    #[test]
    fn nobody_overtakes_a_waiting_list() {
        let (door, seen) = admission(10, 1000);
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        assert!(door.submit(submission(8, 1), None).is_ok());
        let later = door.submit(
            submission(5, 1),
            Some(Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            })),
        );
        assert!(matches!(later, Ok(Admitted::Later(_))));
        assert!(door.submit(submission(1, 1), None).is_err());
        door.release(8, 8);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(*seen.lock().unwrap(), [8, 5]);
    }

    #[test]
    fn a_list_above_the_bound_goes_alone() {
        let (door, seen) = admission(10, 1000);
        assert!(door.submit(submission(25, 1), None).is_ok());
        assert!(door.submit(submission(1, 1), None).is_err());
        door.release(25, 25);
        assert!(door.submit(submission(1, 1), None).is_ok());
        assert_eq!(*seen.lock().unwrap(), [25, 1]);
    }

    proptest! {
        #[test]
        fn order_is_kept_and_everything_is_admitted_once(sizes in prop::collection::vec(1usize..8, 1..40)) {
            let (door, seen) = admission(10, 1_000_000);
            for size in &sizes {
                let submitted = door.submit(submission(*size, 1), Some(Box::new(|| {})));
                prop_assert!(submitted.is_ok());
                prop_assert!(door.pending().0 <= 10);
            }
            let mut released = 0;
            while released < sizes.len() {
                let next = seen.lock().unwrap()[released];
                door.release(next, next);
                released += 1;
            }
            prop_assert_eq!(&*seen.lock().unwrap(), &sizes);
            prop_assert_eq!(door.pending(), (0, 0));
        }
    }
}
