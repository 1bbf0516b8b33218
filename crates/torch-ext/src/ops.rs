//! Operators on tensors.

use std::ffi::{CStr, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn tx_linear(out: *mut C_tensor, x: *const C_tensor, w: *const C_tensor, b: *const C_tensor) -> *mut c_char;
    fn tx_take_grad(out: *mut C_tensor, leaf: *const C_tensor) -> *mut c_char;
}

/// An error raised inside libtorch, with its own message.
#[derive(Debug, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct OpError(String);

impl OpError {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }
}

pub(crate) fn check(message: *mut c_char) -> Result<(), OpError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null message is a NUL-terminated string from strdup that nobody else holds.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    unsafe { libc::free(message.cast()) };
    Err(OpError(text))
}

/// `x wᵀ + b`: `x` is `[..., in]`, `w` is `[out, in]`, `b` is `[out]`; the result is `[..., out]`. Differentiable.
///
/// float32 on a CPU goes through oneDNN, which reaches the machine's rate on every maker's processor; everything else is
/// `at::linear`.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    let bias = b.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: all pointers are live `at::Tensor`s owned by the arguments; `out` is written by assignment.
    check(unsafe { tx_linear(out.as_ptr().cast_mut(), x.as_ptr(), w.as_ptr(), bias) })?;
    Ok(out)
}

/// Moves the gradient that a leaf has gathered out of it; `None` if there is none. The next backward pass then gives the
/// leaf its gradient instead of adding to zeros.
///
/// # Errors
/// [`OpError`] when the tensor cannot have a gradient.
pub fn take_grad(leaf: &Tensor) -> Result<Option<Tensor>, OpError> {
    let out = Tensor::new();
    // SAFETY: pointers to live tensors; `out` is written by assignment.
    check(unsafe { tx_take_grad(out.as_ptr().cast_mut(), leaf.as_ptr()) })?;
    Ok(out.defined().then_some(out))
}
