//! Basic tensor operators and their error type.

use std::ffi::{CStr, c_char};
use std::fmt;

use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn tx_linear(out: *mut C_tensor, x: *const C_tensor, w: *const C_tensor, b: *const C_tensor) -> *mut c_char;
    fn tx_embedding(out: *mut C_tensor, table: *const C_tensor, ids: *const C_tensor) -> *mut c_char;
    fn tx_backward_from(output: *const C_tensor, gradient: *const C_tensor) -> *mut c_char;
    fn tx_take_grad(out: *mut C_tensor, leaf: *const C_tensor) -> *mut c_char;
}

/// An error of libtorch in one sentence: its own message without the C++ stack, and the operations that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpError {
    text: String,
    /// Requested bytes if the error is out of memory (0 if libtorch does not state them); otherwise `None`.
    lacking: Option<u64>,
    /// The operations that failed, outermost first.
    context: Vec<String>,
}

impl OpError {
    pub(crate) fn new(text: String) -> Self {
        // libtorch appends the C++ stack trace.
        let text = text.split("\nException raised from").next().unwrap_or_default().trim_end();
        let lacking = ["can't allocate memory", "out of memory"].iter().any(|sign| text.contains(sign));
        let asked = || {
            let (_, number) = text.split_once("you tried to allocate ")?;
            number.split(' ').next()?.parse().ok()
        };
        Self { text: text.to_owned(), lacking: lacking.then(|| asked().unwrap_or(0)), context: Vec::new() }
    }

    /// Makes an error with this text, for operators that are composed of several libtorch operators.
    #[must_use]
    pub fn of(text: impl Into<String>) -> Self {
        Self::new(text.into())
    }

    /// Adds the name of the surrounding operation in front.
    #[must_use]
    pub fn context(mut self, what: impl Into<String>) -> Self {
        self.context.insert(0, what.into());
        self
    }

    /// Whether the error is out of memory.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.lacking.is_some()
    }
}

impl From<tch::TchError> for OpError {
    fn from(error: tch::TchError) -> Self {
        Self::new(match error {
            tch::TchError::Torch(text) => text,
            other => other.to_string(),
        })
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for what in &self.context {
            write!(f, "{what}: ")?;
        }
        match self.lacking {
            Some(0) => write!(f, "out of memory ({})", self.text),
            Some(bytes) => write!(f, "out of memory: the system did not give {:.1} GB", bytes as f64 / 1e9),
            None => write!(f, "libtorch: {}", self.text),
        }
    }
}

impl std::error::Error for OpError {}

pub(crate) fn check(message: *mut c_char) -> Result<(), OpError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null message is a NUL-terminated string from strdup with no other owner.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    unsafe { libc::free(message.cast()) };
    Err(OpError::new(text))
}

/// `x wᵀ + b`: `x` is `[..., in]`, `w` is `[out, in]`, `b` is `[out]`; the result is `[..., out]`. Differentiable.
///
/// float32 on a CPU uses oneDNN, which is fast on the CPUs of every vendor; all other types and devices use `at::linear`.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    let bias = b.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: all pointers are live `at::Tensor`s owned by the arguments; `out` is written by assignment.
    check(unsafe { tx_linear(out.as_ptr().cast_mut(), x.as_ptr(), w.as_ptr(), bias) })?;
    Ok(out)
}

/// Looks up the rows of `table` (`[rows, width]`) for `ids` (`[...]` int64); returns `[..., width]`. Differentiable. The
/// gradient of a table in a type narrower than float32 is summed in float32 and rounded once.
///
/// # Errors
/// [`OpError`] when an id is not a row of the table.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    // SAFETY: pointers to live tensors; `out` is written by assignment.
    check(unsafe { tx_embedding(out.as_ptr().cast_mut(), table.as_ptr(), ids.as_ptr()) })?;
    Ok(out)
}

/// Moves the accumulated gradient out of a leaf tensor; `None` if there is none. The next backward pass then stores its
/// gradient in the leaf instead of adding to zeros.
///
/// # Errors
/// [`OpError`] when the tensor cannot have a gradient.
pub fn take_grad(leaf: &Tensor) -> Result<Option<Tensor>, OpError> {
    let out = Tensor::new();
    // SAFETY: pointers to live tensors; `out` is written by assignment.
    check(unsafe { tx_take_grad(out.as_ptr().cast_mut(), leaf.as_ptr()) })?;
    Ok(out.defined().then_some(out))
}

/// Runs the backward pass from `output`, whose gradient is `gradient` (of the same shape and type). Adds to the gradients of
/// all leaf tensors that `output` depends on.
///
/// # Errors
/// [`OpError`] when shapes do not match, or there is not enough memory.
pub fn backward_from(output: &Tensor, gradient: &Tensor) -> Result<(), OpError> {
    // SAFETY: pointers to live tensors.
    check(unsafe { tx_backward_from(output.as_ptr(), gradient.as_ptr()) })
}
