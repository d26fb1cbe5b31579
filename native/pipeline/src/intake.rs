//! From the inbox to the devices: forms batches and starts their computation, so many at a time.

use std::sync::Arc;

use tokio::sync::{mpsc, watch, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::batcher::Batcher;
use crate::compute::Compute;
use crate::inbox::Inbox;
use crate::record::Record;

/// A batch that is being computed. Dropping it gives the computation up.
pub(crate) struct InFlight {
    batch: Arc<Batch>,
    work: JoinHandle<Vec<Record>>,
    permit: Option<OwnedSemaphorePermit>,
}

/// A batch that has been computed.
pub(crate) struct Computed {
    pub(crate) batch: Arc<Batch>,
    pub(crate) records: Vec<Record>,
    /// Its place among the batches in flight, until it is acknowledged.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// Whether [`Self::computed`] would not wait.
    pub(crate) fn is_computed(&self) -> bool {
        self.work.is_finished()
    }

    pub(crate) async fn computed(mut self) -> Result<Computed, JoinError> {
        let records = (&mut self.work).await?;
        Ok(Computed {
            batch: self.batch.clone(),
            records,
            _permit: self.permit.take(),
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// The task that forms batches.
pub(crate) struct Intake {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) batcher: Batcher,
    pub(crate) compute: Arc<Compute>,
    pub(crate) places: Arc<Semaphore>,
    /// Batches leave through here in the order in which they were formed.
    pub(crate) started: mpsc::Sender<InFlight>,
}

impl Intake {
    /// Runs until the stop signal; what is not in a batch by then is left in the inbox.
    pub(crate) async fn run(self, stopping: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = stop_signal(stopping) => {}
            () = self.work() => {}
        }
    }

    async fn work(mut self) {
        loop {
            let arrivals = self.inbox.take();
            let now = Instant::now();
            for arrival in &arrivals {
                self.batcher.push(arrival, now);
            }
            self.batcher.close_due(now);
            while let Some(batch) = self.batcher.pop() {
                // Waiting here leaves further messages in the inbox and, as none is acked, the window
                // shut: a slow device or output slows the broker down.
                let Ok(place) = self.places.clone().acquire_owned().await else {
                    return;
                };
                if self.started.send(self.start(batch, place)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = self.inbox.arrived() => {}
                () = sleep_until(self.batcher.due()) => {}
            }
        }
    }

    fn start(&self, batch: Batch, place: OwnedSemaphorePermit) -> InFlight {
        let batch = Arc::new(batch);
        let (compute, input) = (self.compute.clone(), batch.clone());
        InFlight {
            batch,
            work: tokio::spawn(async move { compute.batch(&input).await }),
            permit: Some(place),
        }
    }
}

/// Resolves when a stop is asked for, or nobody is left to ask for it.
pub(crate) async fn stop_signal(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
