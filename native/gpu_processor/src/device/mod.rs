//! The seam between tasks and what computes them.
//!
//! A device owns one OS thread and a bounded queue. It accepts or refuses a task at once, runs the
//! accepted ones and calls each one's callback. Nothing above this module knows how.

mod cpu;
mod error;
mod host;
mod lanes;
mod load;
mod worker_pool;

use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

use crate::task::Task;

pub use cpu::CpuDevice;
pub use error::{DeviceError, SubmitError};
pub use load::DeviceLoad;

/// Tasks that a device accepts before their results are out; a further one is refused.
pub const QUEUE_CAPACITY: usize = 1000;

/// Something that runs tasks. Dropping a device closes it.
pub trait Device: Send + Sync {
    /// What the device is; the same for its whole life.
    fn info(&self) -> &Arc<DeviceInfo>;

    /// How much work it has at the moment.
    fn load(&self) -> DeviceLoad;

    /// Puts a task into the device's queue without waiting.
    ///
    /// # Errors
    /// [`SubmitError`] gives the task back, untouched.
    fn submit(&self, task: Task) -> Result<(), SubmitError>;

    /// Refuses further tasks, finishes those that were accepted and ends the device's threads.
    ///
    /// Blocks until that is done (except on the device's own thread, which ends by itself after
    /// its last task). A second call has nothing to do.
    fn close(&self);
}

/// The programming interface through which a device is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The host's own cores.
    Cpu,
    /// An AMD GPU through HIP.
    Hip,
    /// An NVIDIA GPU through CUDA.
    Cuda,
}

impl Backend {
    /// The name that results and metrics carry: `cpu`, `hip` or `cuda`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Hip => "hip",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for Backend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a device is. Backend and id together name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// The index among the devices of its backend.
    pub id: u32,
    /// How it is driven.
    pub backend: Backend,
    /// The product's name as the system reports it.
    pub name: String,
    /// The instruction set: `x86_64`, `gfx90a`, `sm_90`, …
    pub architecture: String,
    /// Its memory in bytes, where the system tells.
    pub memory_total: Option<u64>,
}
