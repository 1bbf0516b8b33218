//! Measures the tensor memory of a computation, and selects the allocator of tensors.

use std::ffi::{c_char, c_void};

use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_watch_begin(watching: *mut *mut c_void) -> *mut c_char;
    fn tx_watch_end(watching: *mut c_void, largest: *mut i64, most: *mut i64);
    fn tx_keep_tensors();
    fn tx_trim_tensors();
}

/// Makes all later tensors on processors use an allocator that keeps the memory of freed tensors for later ones, without ever
/// holding more than was in use at the same time and 64 MB, and 64 MB in small blocks (`cpp/caching.cpp`). For programs whose steps
/// ask for about the same memory again. Call it before other threads make tensors.
pub fn keep_tensors() {
    // SAFETY: sets libtorch's pointer to an allocator that lives forever; tensors free their memory by their own pointer.
    unsafe { tx_keep_tensors() }
}

/// Returns the memory of freed tensors that [`keep_tensors`] keeps to the system.
pub fn trim_tensors() {
    // SAFETY: takes a lock and returns blocks that no tensor uses.
    unsafe { tx_trim_tensors() }
}

/// Bytes that tensors took, as reported by libtorch's allocator to the thread that runs the computation. The work space of
/// kernels is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocations {
    /// Size of the largest tensor.
    pub largest: u64,
    /// Peak of the bytes held at once, beyond those held before.
    pub most: u64,
}

impl Allocations {
    /// Runs `work` and returns its result with the memory that its tensors took.
    ///
    /// # Errors
    /// [`OpError`] when libtorch cannot report allocations.
    pub fn of<T>(work: impl FnOnce() -> T) -> Result<(T, Self), OpError> {
        struct Watch(*mut c_void);
        impl Watch {
            fn end(&mut self) -> (i64, i64) {
                let (mut largest, mut most) = (0, 0);
                if !self.0.is_null() {
                    // SAFETY: the pointer is from `tx_watch_begin` of this thread (a raw pointer keeps `Watch` in it), ended once.
                    unsafe { tx_watch_end(self.0, &raw mut largest, &raw mut most) };
                    self.0 = std::ptr::null_mut();
                }
                (largest, most)
            }
        }
        impl Drop for Watch {
            fn drop(&mut self) {
                self.end();
            }
        }
        let mut watch = Watch(std::ptr::null_mut());
        // SAFETY: the pointer is written once.
        check(unsafe { tx_watch_begin(&raw mut watch.0) })?;
        let result = work();
        let (largest, most) = watch.end();
        Ok((result, Self { largest: largest as u64, most: most as u64 }))
    }
}
