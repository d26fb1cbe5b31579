//! Tasks whose panic is noticed: a task that dies tells the events, instead of leaving silence.

use std::future::Future;
use std::sync::Arc;

use crate::event::{Event, EventSink};

/// Spawns `task`; if it panics, says so in the events. What it owned is dropped by the unwinding, and
/// drop is what answers waiting callers.
pub(crate) fn spawn(
    name: &'static str,
    events: Arc<dyn EventSink>,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let inner = tokio::spawn(task);
    tokio::spawn(async move {
        if let Err(failure) = inner.await {
            if failure.is_panic() {
                events.emit(Event::Ended {
                    reason: format!("internal error in the {name} task"),
                });
            }
        }
    });
}
