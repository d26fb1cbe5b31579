//! A payload that stays where it is: large binaries are sent without being copied.

use bytes::Bytes;
use rustler::{Binary, NifResult, OwnedEnv, Term};

/// An Erlang binary, kept alive by an environment of its own.
struct Kept {
    _env: OwnedEnv,
    start: *const u8,
    length: usize,
}

// SAFETY: the bytes of a binary never change, and live as long as the environment that holds the term. An
// environment without process may be used and freed by any thread, one at a time.
#[allow(unsafe_code)]
unsafe impl Send for Kept {}

impl AsRef<[u8]> for Kept {
    #[allow(unsafe_code)]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: see above; `start` and `length` are what the VM said of this binary.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// The bytes of a binary, shared with the VM.
pub(crate) fn share(binary: Term<'_>) -> NifResult<Bytes> {
    let env = OwnedEnv::new();
    let (start, length) = env.run(|inside| {
        let bytes = Binary::from_term(binary.in_env(inside))?;
        Ok::<_, rustler::Error>((bytes.as_slice().as_ptr(), bytes.len()))
    })?;
    Ok(Bytes::from_owner(Kept {
        _env: env,
        start,
        length,
    }))
}
