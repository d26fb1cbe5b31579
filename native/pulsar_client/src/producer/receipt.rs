//! The answer to one send call, gathered from as many batches and partitions as it took.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;

/// What became of some neighbouring messages of a list.
#[derive(Debug, Clone)]
pub struct ReceiptRun {
    /// Position of the first in the list.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Their common fate.
    pub result: Result<Stored, Error>,
}

/// Where messages were stored.
#[derive(Debug, Clone)]
pub enum Stored {
    /// In this entry; a batch's messages have consecutive indices.
    At {
        /// Full name of the topic or partition.
        topic: Arc<str>,
        /// Partition; -1 if the topic has none.
        partition: i32,
        /// Ledger of the entry.
        ledger_id: u64,
        /// Entry within the ledger.
        entry_id: u64,
        /// Messages in the batch; 0 outside of one.
        batch_size: i32,
        /// The first message's index; -1 outside of a batch.
        first_index: i32,
    },
    /// A re-send met its own first copy: it is stored, at an id that the broker did not repeat.
    Already,
}

type Callback = Box<dyn FnOnce(Vec<ReceiptRun>) + Send>;

/// Gathers the runs of one list. Calls back once: when all are in, or when the last holder is dropped.
#[derive(Debug)]
pub(crate) struct ListReceipt {
    total: u32,
    state: Mutex<State>,
}

struct State {
    runs: Vec<ReceiptRun>,
    remaining: u32,
    callback: Option<Callback>,
}

impl ListReceipt {
    pub(crate) fn new(total: u32, callback: Callback) -> Arc<Self> {
        let state = State {
            runs: Vec::new(),
            remaining: total,
            callback: Some(callback),
        };
        Arc::new(ListReceipt {
            total,
            state: Mutex::new(state),
        })
    }

    /// The caller got its answer otherwise: never calls back.
    pub(crate) fn disarm(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .callback = None;
    }

    pub(crate) fn resolve(&self, run: ReceiptRun) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remaining = state.remaining.saturating_sub(run.count);
        state.runs.push(run);
        if state.remaining == 0 {
            state.finish();
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

impl State {
    fn finish(&mut self) {
        if let Some(callback) = self.callback.take() {
            let mut runs = std::mem::take(&mut self.runs);
            runs.sort_unstable_by_key(|run| run.first);
            callback(runs);
        }
    }
}

impl Drop for ListReceipt {
    /// A task that died takes its messages along; whoever waits for them must hear so.
    fn drop(&mut self) {
        let total = self.total;
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.callback.is_none() {
            return;
        }
        state.runs.sort_unstable_by_key(|run| run.first);
        let mut missing = Vec::new();
        let mut next = 0;
        for run in &state.runs {
            if run.first > next {
                missing.push((next, run.first - next));
            }
            next = run.first + run.count;
        }
        if next < total {
            missing.push((next, total - next));
        }
        let closed = |(first, count)| ReceiptRun {
            first,
            count,
            result: Err(Error::Closed),
        };
        state.runs.extend(missing.into_iter().map(closed));
        state.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn receipt(total: u32) -> (Arc<ListReceipt>, mpsc::Receiver<Vec<ReceiptRun>>) {
        let (sender, receiver) = mpsc::channel();
        (
            ListReceipt::new(total, Box::new(move |runs| sender.send(runs).unwrap())),
            receiver,
        )
    }

    fn ok(first: u32, count: u32) -> ReceiptRun {
        ReceiptRun {
            first,
            count,
            result: Ok(Stored::Already),
        }
    }

    #[test]
    fn calls_back_once_all_runs_are_in_and_in_order() {
        let (list, done) = receipt(5);
        list.resolve(ok(3, 2));
        assert!(done.try_recv().is_err());
        list.resolve(ok(0, 3));
        let firsts: Vec<u32> = done
            .try_recv()
            .unwrap()
            .iter()
            .map(|run| run.first)
            .collect();
        assert_eq!(firsts, [0, 3]);
        drop(list);
        assert!(done.try_recv().is_err());
    }

    #[test]
    fn a_dropped_receipt_reports_every_gap_as_closed() {
        let (list, done) = receipt(10);
        list.resolve(ok(2, 3));
        drop(list);
        let runs = done.try_recv().unwrap();
        let seen: Vec<_> = runs
            .iter()
            .map(|r| (r.first, r.count, r.result.is_ok()))
            .collect();
        assert_eq!(seen, [(0, 2, false), (2, 3, true), (5, 5, false)]);
    }
}
