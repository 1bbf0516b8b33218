//! Turns libtorch's errors into values.
//!
//! `tch`'s plain operators panic when libtorch reports an error, and the text contains the whole C++ stack. [`catch`] runs a
//! closure and turns such a panic into an error of one sentence.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::ops::OpError;

thread_local! {
    /// Nesting depth of calls of [`catch`] in this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work`. A panic of one of `tch`'s operators becomes an error, and nothing is printed. Any other panic is passed on.
///
/// # Errors
/// The errors of `work`, and the errors of libtorch in it.
pub fn catch<T, E: From<OpError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 || refusal(info.payload()).is_none() {
                before(info);
            }
        }));
    });
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    result.unwrap_or_else(|panic| match refusal(panic.as_ref()) {
        Some(text) => Err(OpError::new(text).into()),
        None => resume_unwind(panic),
    })
}

/// Extracts libtorch's message from the payload of a `tch` panic; `None` for other panics.
fn refusal(payload: &dyn Any) -> Option<String> {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied())?;
    // `tch` unwraps its own results, so the text contains the debug form of the error.
    let (_, error) = text.split_once(": ")?;
    let quoted = ["Torch(\"", "Convert(\"", "Kind(\"", "Shape(\""].iter().find_map(|kind| error.strip_prefix(kind))?;
    Some(unescape(quoted.strip_suffix("\")").unwrap_or(quoted)))
}

/// Decodes the debug form of a string up to its closing quote.
fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            (_, Some('n')) => text.push('\n'),
            (_, Some('t')) => text.push('\t'),
            (_, Some('r')) => text.push('\r'),
            (_, Some(escaped)) => text.push(escaped),
            (c, None) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    fn zeros(shape: &[i64]) -> Tensor {
        crate::init();
        Tensor::zeros(shape, (Kind::Float, Device::Cpu))
    }

    fn message(work: impl FnOnce() -> Tensor) -> String {
        catch::<_, OpError>(|| Ok(work())).unwrap_err().to_string()
    }

    #[test]
    fn a_refused_operation_is_one_sentence() {
        let text = message(|| zeros(&[2, 3]).matmul(&zeros(&[2, 3])));
        assert_eq!(text, "libtorch: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
        let text = message(|| zeros(&[4]).index_select(0, &Tensor::from_slice(&[9_i64])));
        assert_eq!(text, "libtorch: index out of range in self");
        let text = message(|| zeros(&[4]).view([3_i64].as_slice()));
        assert_eq!(text, "libtorch: shape '[3]' is invalid for input of size 4");
    }

    #[test]
    fn a_lack_of_memory_says_how_much_was_asked_for() {
        let error = catch::<_, OpError>(|| Ok(zeros(&[1 << 45]))).unwrap_err();
        assert!(error.is_out_of_memory());
        assert_eq!(error.to_string(), "out of memory: the system did not give 140737.5 GB");
        let fallible = Tensor::f_zeros([1_i64 << 45].as_slice(), (Kind::Float, Device::Cpu)).map_err(OpError::from);
        assert_eq!(fallible.unwrap_err().to_string(), error.to_string());
    }

    #[test]
    fn other_panics_go_on() {
        let panic = catch_unwind(|| catch::<(), OpError>(|| panic!("a fault of our own: Torch"))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a fault of our own: Torch"));
        // The next panic is caught too.
        message(|| zeros(&[4]).view([3_i64].as_slice()));
    }
}
