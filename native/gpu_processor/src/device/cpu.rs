//! The host's own cores as a device: always there, and the reference for the others.

use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Instant;

use super::lanes::Lanes;
use super::load::{Admission, LoadCounters};
use super::worker_pool::WorkerPool;
use super::{
    host, Backend, Device, DeviceError, DeviceInfo, DeviceLoad, SubmitError, QUEUE_CAPACITY,
};
use crate::config::GpuProcessingConfig;
use crate::task::{BatchResult, Task};

const BYTES_PER_MIB: u64 = 1024 * 1024;

/// The CPU device.
///
/// One thread owns the queue and runs one batch after the other; it shares the messages of a batch
/// with `processing_threads - 1` helpers. The threads end when the device is closed or dropped,
/// after the accepted tasks are done.
#[derive(Debug)]
pub struct CpuDevice {
    info: Arc<DeviceInfo>,
    load: Arc<LoadCounters>,
    queue: Mutex<Option<Sender<Queued>>>,
    owner: Mutex<Option<JoinHandle<()>>>,
    owner_id: ThreadId,
}

#[derive(Debug)]
struct Queued {
    task: Task,
    admission: Admission,
}

impl CpuDevice {
    /// Starts the device's threads.
    ///
    /// # Errors
    /// The system's error when it does not start a thread.
    pub fn start(config: &GpuProcessingConfig) -> io::Result<Self> {
        let threads = match config.processing_threads {
            0 => host::cores(),
            set => set,
        };
        let info = Arc::new(DeviceInfo {
            id: 0,
            backend: Backend::Cpu,
            name: host::processor_name(),
            architecture: std::env::consts::ARCH.to_owned(),
            memory_total: host::memory_total(),
        });
        let max_bytes = config.memory_pool_size_mb.saturating_mul(BYTES_PER_MIB);
        let load = LoadCounters::new(QUEUE_CAPACITY, max_bytes);
        let pool = WorkerPool::start("cpu0", threads)?;
        let (sender, receiver) = bounded(QUEUE_CAPACITY);
        let worker = Owner {
            info: Arc::clone(&info),
            load: Arc::clone(&load),
            pool,
        };
        let owner = thread::Builder::new()
            .name("cpu0".to_owned())
            .spawn(move || worker.serve(&receiver))?;
        Ok(Self {
            info,
            load,
            queue: Mutex::new(Some(sender)),
            owner_id: owner.thread().id(),
            owner: Mutex::new(Some(owner)),
        })
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &Arc<DeviceInfo> {
        &self.info
    }

    fn load(&self) -> DeviceLoad {
        self.load.snapshot()
    }

    fn submit(&self, task: Task) -> Result<(), SubmitError> {
        // The lock also orders admissions, which must not race.
        let queue = lock(&self.queue);
        let Some(sender) = queue.as_ref() else {
            return Err(SubmitError::Lost(task));
        };
        let Some(admission) = self.load.admit(task.input_bytes()) else {
            return Err(SubmitError::QueueFull(task));
        };
        match sender.try_send(Queued { task, admission }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(queued)) => Err(SubmitError::QueueFull(queued.task)),
            Err(TrySendError::Disconnected(queued)) => Err(SubmitError::Lost(queued.task)),
        }
    }

    fn close(&self) {
        drop(lock(&self.queue).take());
        // The owner's thread comes here when a callback drops the last handle: it cannot wait for
        // itself, and ends after the tasks that are left.
        if thread::current().id() != self.owner_id {
            let mut owner = lock(&self.owner);
            if let Some(handle) = owner.take() {
                let _ = handle.join();
            }
        }
    }
}

impl Drop for CpuDevice {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the device's thread owns.
struct Owner {
    info: Arc<DeviceInfo>,
    load: Arc<LoadCounters>,
    pool: WorkerPool,
}

impl Owner {
    fn serve(&self, arrivals: &Receiver<Queued>) {
        let mut waiting = Lanes::new();
        // Admission bounds what is in the channel and in the lanes together.
        while let Ok(queued) = arrivals.recv() {
            waiting.push(queued.task.priority(), queued);
            loop {
                for queued in arrivals.try_iter() {
                    waiting.push(queued.task.priority(), queued);
                }
                let Some(queued) = waiting.pop() else { break };
                self.run(queued);
            }
        }
    }

    fn run(
        &self,
        Queued {
            mut task,
            admission,
        }: Queued,
    ) {
        self.load.set_busy(true);
        let started = Instant::now();
        let inputs = task.take_inputs();
        let outcome = self.pool.run(task.job(), &self.info, inputs);
        let result = outcome.map(|outputs| BatchResult {
            device: Arc::clone(&self.info),
            processing_time: started.elapsed(),
            memory_used: task.input_bytes() + output_bytes(&outputs),
            outputs,
        });
        self.finish(task, admission, result);
    }

    /// The counters are settled first: a callback that submits the next task finds the room.
    fn finish(&self, task: Task, admission: Admission, result: Result<BatchResult, DeviceError>) {
        self.load.count_completed();
        self.load.set_busy(false);
        drop(admission);
        task.complete(result);
    }
}

fn output_bytes(outputs: &[Result<bytes::Bytes, crate::MessageError>]) -> u64 {
    outputs
        .iter()
        .flatten()
        .map(|output| output.len() as u64)
        .sum()
}

/// Nothing under these locks can be left half-done, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
