//! From the devices to the acknowledgment: outputs, results and acks, in the order of the inputs.
//!
//! One write at a time keeps the order even when a write fails and is repeated. It need not be small:
//! whatever is computed by the time the output is free goes with it, so a slow output gets large writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pulsar_client::backoff::Backoff;
use pulsar_client::Consumer;
use tokio::sync::{mpsc, watch};

use crate::events::{BatchCompleted, PipelineEvents, StopReason};
use crate::inbox::Inbox;
use crate::intake::{stop_signal, Computed, InFlight};
use crate::output::{Output, OutputError};
use crate::record::Record;
use crate::results::{Processed, ResultSink};
use crate::stats::{add, Counters};

/// The task that finishes batches.
pub(crate) struct Committer {
    pub(crate) consumer: Consumer,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) results: Arc<dyn ResultSink>,
    pub(crate) events: Arc<dyn PipelineEvents>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Committer {
    /// Finishes batches until there will be no more, or a reason to end before.
    pub(crate) async fn run(self, mut started: mpsc::Receiver<InFlight>) -> StopReason {
        let mut next = started.recv().await;
        while let Some(first) = next.take() {
            let mut group = Vec::new();
            match first.computed().await {
                Ok(computed) => group.push(computed),
                Err(_) => return StopReason::InternalError,
            }
            while let Ok(in_flight) = started.try_recv() {
                if !in_flight.is_computed() {
                    next = Some(in_flight);
                    break;
                }
                match in_flight.computed().await {
                    Ok(computed) => group.push(computed),
                    Err(_) => return StopReason::InternalError,
                }
            }
            if let Err(reason) = self.commit(group).await {
                return reason;
            }
            if next.is_none() {
                next = started.recv().await;
            }
        }
        StopReason::Asked
    }

    async fn commit(&self, mut group: Vec<Computed>) -> Result<(), StopReason> {
        let mut records: Vec<Record> = group
            .iter_mut()
            .flat_map(|computed| std::mem::take(&mut computed.records))
            .collect();
        self.write(&mut records).await?;
        let batches = by_batch(&group, &records);
        for batch in &batches {
            self.results
                .deliver(batch.iter().map(Processed::from).collect());
        }
        self.acknowledge(&group)?;
        batches.into_iter().for_each(|batch| self.completed(batch));
        Ok(())
    }

    /// Writes until all is confirmed. Results that the output never takes become error results.
    async fn write(&self, records: &mut [Record]) -> Result<(), StopReason> {
        let mut backoff = Backoff::new(self.backoff.0, self.backoff.1);
        let mut pending: Vec<usize> = (0..records.len()).collect();
        let mut outcome = self.output.write(records).await;
        while let Err(error) = outcome {
            add(&self.counters.output_failures, 1);
            self.events.output_failed(&error.reason);
            let (left, must_wait) = still_pending(error, &pending, records);
            pending = left;
            if must_wait {
                // Stopping, there is no time for attempts: un-acked inputs come back.
                tokio::select! {
                    biased;
                    () = stop_signal(self.stopping.clone()) => return Err(StopReason::Asked),
                    () = tokio::time::sleep(backoff.next_delay()) => {}
                }
            }
            let again: Vec<Record> = pending
                .iter()
                .filter_map(|at| records.get(*at).cloned())
                .collect();
            outcome = self.output.write(&again).await;
        }
        Ok(())
    }

    fn acknowledge(&self, group: &[Computed]) -> Result<(), StopReason> {
        let mut by_topic: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for part in group.iter().flat_map(|computed| &computed.batch.parts) {
            by_topic
                .entry(part.topic)
                .or_default()
                .extend(part.ack_ranges());
        }
        for (topic, ranges) in by_topic {
            // One partition's task may have ended alone; only the whole consumer's end is ours.
            if self.consumer.ack(topic, ranges).is_err() && self.consumer.is_closed() {
                return Err(StopReason::ConsumerClosed);
            }
        }
        // After the acks, so that a message that is delivered again meets them or its first copy.
        for computed in group {
            self.inbox.release(&computed.batch.parts);
        }
        Ok(())
    }

    fn completed(&self, records: &[Record]) {
        let failed = records.iter().filter(|r| r.result.is_err()).count();
        add(&self.counters.messages, records.len());
        add(&self.counters.failed, failed);
        add(&self.counters.batches, 1);
        let mut runs: Vec<_> = records.iter().map(|record| &record.run).collect();
        runs.dedup_by(|a, b| Arc::ptr_eq(a, b));
        self.events.completed(BatchCompleted {
            device: runs.iter().find_map(|run| run.device.clone()),
            count: records.len(),
            failed,
            processing_time: runs.iter().map(|run| run.processing_time).sum(),
        });
    }
}

/// The records of each batch of a group.
fn by_batch<'a>(group: &[Computed], mut records: &'a [Record]) -> Vec<&'a [Record]> {
    let sizes = group.iter().map(|computed| computed.batch.messages);
    let take = |size: usize| {
        let (of_batch, rest) = records.split_at(size.min(records.len()));
        records = rest;
        of_batch
    };
    sizes.map(take).collect()
}

/// What has to be written again, as positions in `records`, of an attempt that wrote those in
/// `written`; and whether to wait before that.
fn still_pending(
    error: OutputError,
    written: &[usize],
    records: &mut [Record],
) -> (Vec<usize>, bool) {
    let place = |at: usize| written.get(at).copied();
    let mut left: Vec<usize> = error
        .unconfirmed
        .iter()
        .copied()
        .filter_map(place)
        .collect();
    let mut must_wait = !left.is_empty();
    for rejection in error.rejected {
        let Some(at) = place(rejection.index) else {
            continue;
        };
        left.push(at);
        match records.get_mut(at) {
            Some(record) if record.result.is_ok() => record.result = Err(rejection.failure),
            // An error result that is refused too: all there is to do is to insist, slowly.
            _ => must_wait = true,
        }
    }
    if left.is_empty() {
        return (written.to_vec(), true);
    }
    left.sort_unstable();
    left.dedup();
    (left, must_wait)
}
