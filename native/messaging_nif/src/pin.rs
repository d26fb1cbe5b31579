//! Keeps this library mapped for the life of the VM.
//!
//! Its threads run code of the library, so unloading it (when the Erlang module is purged) would crash the
//! VM. rustler has no upgrade callback to refuse that with.

use std::ffi::c_void;

/// Opens the file this code lies in once more, with the flag that forbids unloading.
#[allow(unsafe_code)]
pub(crate) fn library() {
    // SAFETY: an all-zero `Dl_info` is valid (null pointers), and `dladdr` only writes into it. The name
    // it gives points into the loader's own tables, which outlive this call. `dlopen` of an object that
    // is already mapped runs no initialisers.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let here = library as *const c_void;
        if libc::dladdr(here, &mut info) != 0 && !info.dli_fname.is_null() {
            libc::dlopen(info.dli_fname, libc::RTLD_NOW | libc::RTLD_NODELETE);
        }
    }
}
