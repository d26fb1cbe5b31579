//! The one tokio runtime of the VM.

use std::future::Future;

use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: OnceCell<Runtime> = OnceCell::new();

/// Starts the runtime; `false` if the operating system gives no threads.
pub(crate) fn start() -> bool {
    let build = || {
        Builder::new_multi_thread()
            .thread_name("amdgpu_messaging")
            .enable_all()
            .build()
    };
    RUNTIME.get_or_try_init(build).is_ok()
}

/// Runs a task in the background.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Some(runtime) = RUNTIME.get() {
        runtime.spawn(task);
    }
}

/// Runs what a scheduler thread must not do: there in the background, elsewhere at once.
pub(crate) fn off_scheduler(work: impl FnOnce() + Send + 'static) {
    if rustler::thread::is_scheduler_thread() {
        spawn(async move { work() });
    } else {
        work();
    }
}
