//! The work that a device has accepted, counted where every thread can read it.

use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

/// How much work a device has; a snapshot that may be outdated when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DeviceLoad {
    /// Tasks accepted whose result is not out yet, the running one included.
    pub queued_tasks: usize,
    /// The input bytes of those tasks.
    pub queued_bytes: u64,
    /// Tasks whose result is out, failed ones included.
    pub completed: u64,
    /// Whether a task is running.
    pub busy: bool,
}

#[derive(Debug)]
pub(super) struct LoadCounters {
    max_tasks: usize,
    max_bytes: u64,
    tasks: AtomicUsize,
    bytes: AtomicU64,
    completed: AtomicU64,
    busy: AtomicBool,
}

impl LoadCounters {
    pub(super) fn new(max_tasks: usize, max_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            max_tasks,
            max_bytes,
            tasks: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        })
    }

    /// Reserves room for a task, or `None` when there is none. A task larger than all the room is
    /// admitted when it is alone, or it could never run. Callers must not race with each other.
    pub(super) fn admit(self: &Arc<Self>, bytes: u64) -> Option<Admission> {
        let tasks = self.tasks.load(Ordering::Acquire);
        let queued = self.bytes.load(Ordering::Acquire);
        let fits = queued
            .checked_add(bytes)
            .is_some_and(|total| total <= self.max_bytes);
        if tasks >= self.max_tasks || (tasks > 0 && !fits) {
            return None;
        }
        self.tasks.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Some(Admission {
            counters: Arc::clone(self),
            bytes,
        })
    }

    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Release);
    }

    pub(super) fn count_completed(&self) {
        self.completed.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn snapshot(&self) -> DeviceLoad {
        DeviceLoad {
            queued_tasks: self.tasks.load(Ordering::Acquire),
            queued_bytes: self.bytes.load(Ordering::Acquire),
            completed: self.completed.load(Ordering::Acquire),
            busy: self.busy.load(Ordering::Acquire),
        }
    }
}

/// The room that a task takes in its device's queue, given back on drop.
#[derive(Debug)]
pub(super) struct Admission {
    counters: Arc<LoadCounters>,
    bytes: u64,
}

impl Drop for Admission {
    fn drop(&mut self) {
        // Bytes first: who sees room for a task must also see the room for its bytes.
        self.counters.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.counters.tasks.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_tasks_and_bytes_and_gives_room_back() {
        let counters = LoadCounters::new(2, 100);
        let first = counters.admit(60).unwrap();
        assert!(counters.admit(41).is_none(), "bytes are bounded");
        assert!(
            counters.admit(u64::MAX).is_none(),
            "the sum does not overflow"
        );
        let second = counters.admit(40).unwrap();
        assert!(counters.admit(0).is_none(), "tasks are bounded");
        drop(first);
        assert_eq!(counters.snapshot().queued_bytes, 40);
        drop(second);
        assert_eq!(counters.snapshot(), DeviceLoad::default());
    }

    #[test]
    fn a_task_larger_than_the_room_runs_alone() {
        let counters = LoadCounters::new(2, 100);
        let large = counters.admit(500).unwrap();
        assert!(counters.admit(1).is_none());
        drop(large);
        assert!(counters.admit(1).is_some());
    }
}
