//! How a message reaches an Erlang process, from whatever thread.

use rustler::env::SavedTerm;
use rustler::{Encoder, Env, LocalPid, OwnedEnv, Reference, Term};

use crate::{atoms, runtime};

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
    runtime::off_scheduler(move || {
        // A process that is gone wants no message.
        let _ = env.send_and_clear(&pid, build);
    });
}

/// An answer that is owed: `{ref, result}` to the process that called.
pub(crate) struct Reply {
    owed: Option<Owed>,
}

struct Owed {
    env: OwnedEnv,
    reference: SavedTerm,
    pid: LocalPid,
}

impl Reply {
    /// To the calling process.
    pub(crate) fn new(env: Env<'_>, reference: Reference<'_>) -> Self {
        let owned = OwnedEnv::new();
        let reference = owned.save(reference);
        let owed = Owed {
            env: owned,
            reference,
            pid: env.pid(),
        };
        Reply { owed: Some(owed) }
    }

    /// Sends `{ref, result}`.
    pub(crate) fn send(
        mut self,
        result: impl for<'a> FnOnce(Env<'a>) -> Term<'a> + Send + 'static,
    ) {
        self.answer(result);
    }

    fn answer(&mut self, result: impl for<'a> FnOnce(Env<'a>) -> Term<'a> + Send + 'static) {
        let Some(Owed {
            env,
            reference,
            pid,
        }) = self.owed.take()
        else {
            return;
        };
        send_from(env, pid, move |env| {
            let result = result(env);
            (reference.load(env), result).encode(env)
        });
    }
}

impl Drop for Reply {
    /// A task that panics leaves nobody waiting.
    fn drop(&mut self) {
        if std::thread::panicking() && !rustler::thread::is_scheduler_thread() {
            self.answer(|env| (atoms::error(), atoms::internal_error()).encode(env));
        }
    }
}
