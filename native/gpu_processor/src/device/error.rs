use crate::task::Task;

/// Why a whole batch has no result. The same batch may succeed elsewhere, later or in parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device ended, or gave the task up, before there was a result.
    #[error("the device gave the batch up before there was a result")]
    Lost,
    /// A kernel panicked; the device goes on with the next task.
    #[error("the kernel of {processing_type} panicked: {message}")]
    KernelPanicked {
        /// The processing type whose kernel it was.
        processing_type: &'static str,
        /// The panic's own message.
        message: String,
    },
    /// A kernel broke its contract of one output for each input.
    #[error("the kernel returned {got} outputs for {expected} inputs")]
    OutputCount {
        /// The number of inputs it was given.
        expected: usize,
        /// The number of outputs it returned.
        got: usize,
    },
}

/// Why a device did not accept a task. The task comes back and can be submitted again; when it is
/// dropped, its callback reports [`DeviceError::Lost`].
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The device has as many tasks, or as many bytes of them, as it may hold.
    #[error("the device queue is full")]
    QueueFull(Task),
    /// The device is closed or its thread has ended.
    #[error("the device is closed")]
    Lost(Task),
}

impl SubmitError {
    /// The task that was refused.
    #[must_use]
    pub fn into_task(self) -> Task {
        match self {
            Self::QueueFull(task) | Self::Lost(task) => task,
        }
    }
}
