//! Runs Rust closures on libtorch's thread pool.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_parallel_for(count: i64, body: unsafe extern "C" fn(*mut c_void, i64), context: *mut c_void) -> *mut c_char;
}

/// Calls `body(i)` for each `i` below `count` on libtorch's threads. A second thread pool would compete with them for the CPU.
///
/// # Errors
/// [`OpError`] when libtorch reports an error.
///
/// # Panics
/// A panic of `body` ends the process, because it cannot pass through C++.
pub fn parallel_for<F: Fn(usize) + Sync>(count: usize, body: F) -> Result<(), OpError> {
    unsafe extern "C" fn call<F: Fn(usize) + Sync>(context: *mut c_void, i: i64) {
        // SAFETY: `context` is the `body` of the call below, which outlives the loop, and is shared between threads.
        let body = unsafe { &*context.cast_const().cast::<F>() };
        if catch_unwind(AssertUnwindSafe(|| body(i as usize))).is_err() {
            std::process::abort();
        }
    }
    // SAFETY: `call` casts the pointer back to its original type.
    check(unsafe { tx_parallel_for(count as i64, call::<F>, (&raw const body).cast_mut().cast()) })
}
