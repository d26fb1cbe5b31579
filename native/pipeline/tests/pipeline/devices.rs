//! A device and a kernel for tests.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gpu_processor::{
    Backend, BatchResult, Device, DeviceError, DeviceInfo, DeviceLoad, Kernel, MessageError,
    MessageErrorKind, SubmitError, Task,
};

/// Answers `x` with `done x`; `bad…` is a bad message, `poison…` makes it panic, `big…` grows.
pub(crate) struct TestKernel;

impl Kernel for TestKernel {
    fn processing_type(&self) -> &'static str {
        "test"
    }

    fn run_on_cpu(&self, _: &DeviceInfo, inputs: &[Bytes]) -> Vec<Result<Bytes, MessageError>> {
        let one = |input: &Bytes| match &input[..] {
            bad if bad.starts_with(b"bad") => Err(MessageError::new(
                MessageErrorKind::InvalidInput,
                "a bad one",
            )),
            poison if poison.starts_with(b"poison") => panic!("poisoned"),
            big if big.starts_with(b"big") => Ok(vec![b'x'; 2000].into()),
            other => Ok([b"done ", other].concat().into()),
        };
        inputs.iter().map(one).collect()
    }
}

/// Runs tasks on tokio's clock. By default at once.
pub(crate) struct TestDevice {
    info: Arc<DeviceInfo>,
    /// How long the nth task takes.
    delay: Box<dyn Fn(usize) -> Duration + Send + Sync>,
    /// Tasks to refuse before the first is taken.
    pub(crate) refusals: AtomicUsize,
    /// Tasks to lose before the first is run.
    pub(crate) losses: AtomicUsize,
    /// Messages of each task taken.
    pub(crate) taken: Mutex<Vec<usize>>,
    running: Arc<AtomicUsize>,
    /// Most tasks at a time.
    pub(crate) most: Arc<AtomicUsize>,
}

impl TestDevice {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_delay(|_| Duration::ZERO)
    }

    pub(crate) fn with_delay(
        delay: impl Fn(usize) -> Duration + Send + Sync + 'static,
    ) -> Arc<Self> {
        let info = DeviceInfo {
            id: 7,
            backend: Backend::Cpu,
            name: "test".to_owned(),
            architecture: "none".to_owned(),
            memory_total: None,
        };
        Arc::new(TestDevice {
            info: Arc::new(info),
            delay: Box::new(delay),
            refusals: AtomicUsize::new(0),
            losses: AtomicUsize::new(0),
            taken: Mutex::default(),
            running: Arc::default(),
            most: Arc::default(),
        })
    }

    pub(crate) fn taken(&self) -> Vec<usize> {
        self.taken.lock().unwrap().clone()
    }
}

fn take_one(counter: &AtomicUsize) -> bool {
    let less = |count: usize| count.checked_sub(1);
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

impl Device for TestDevice {
    fn info(&self) -> &Arc<DeviceInfo> {
        &self.info
    }

    fn load(&self) -> DeviceLoad {
        DeviceLoad::default()
    }

    fn submit(&self, mut task: Task) -> Result<(), SubmitError> {
        if take_one(&self.refusals) {
            return Err(SubmitError::QueueFull(task));
        }
        let mut taken = self.taken.lock().unwrap();
        let delay = (self.delay)(taken.len());
        taken.push(task.inputs().len());
        drop(taken);
        if take_one(&self.losses) {
            task.complete(Err(DeviceError::Lost));
            return Ok(());
        }
        let (device, running) = (self.info.clone(), self.running.clone());
        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            running.fetch_sub(1, Ordering::SeqCst);
            let (job, inputs) = (task.job().clone(), task.take_inputs());
            let run = || job.kernel().run_on_cpu(&device, &inputs);
            let result = catch_unwind(AssertUnwindSafe(run));
            task.complete(match result {
                Ok(outputs) => Ok(BatchResult {
                    device,
                    outputs,
                    processing_time: Duration::from_millis(3),
                    memory_used: 11,
                }),
                Err(_) => Err(DeviceError::KernelPanicked {
                    processing_type: "test",
                    message: "poisoned".to_owned(),
                }),
            });
        });
        Ok(())
    }

    fn close(&self) {}
}
