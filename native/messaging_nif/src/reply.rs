//! How a message reaches an Erlang process, from whatever thread.

use rustler::env::SavedTerm;
use rustler::{Encoder, Env, LocalPid, OwnedEnv, Term};

use crate::runtime;

/// Sends what `build` makes. Sending from a scheduler thread (a destructor, a monitor's callback) is not
/// allowed to `OwnedEnv`, so there it moves to the runtime.
pub(crate) fn send(
    pid: LocalPid,
    build: impl for<'a> FnOnce(Env<'a>) -> Term<'a> + Send + 'static,
) {
    send_from(OwnedEnv::new(), pid, build);
}

fn send_from(
    mut env: OwnedEnv,
    pid: LocalPid,
    build: impl for<'a> FnOnce(Env<'a>) -> Term<'a> + Send + 'static,
) {
    if rustler::thread::is_scheduler_thread() {
        runtime::spawn(async move {
            // A process that is gone wants no message.
            let _ = env.send_and_clear(&pid, build);
        });
    } else {
        let _ = env.send_and_clear(&pid, build);
    }
}

/// An answer that is owed: `{ref, result}` to the process that called.
pub(crate) struct Reply {
    env: OwnedEnv,
    reference: SavedTerm,
    pid: LocalPid,
}

impl Reply {
    /// To the calling process.
    pub(crate) fn new(env: Env<'_>, reference: Term<'_>) -> Self {
        let owned = OwnedEnv::new();
        let reference = owned.save(reference);
        Reply {
            env: owned,
            reference,
            pid: env.pid(),
        }
    }

    /// Sends `{ref, result}`.
    pub(crate) fn send(self, result: impl for<'a> FnOnce(Env<'a>) -> Term<'a> + Send + 'static) {
        let Reply {
            env,
            reference,
            pid,
        } = self;
        send_from(env, pid, move |env| {
            let result = result(env);
            (reference.load(env), result).encode(env)
        });
    }
}
