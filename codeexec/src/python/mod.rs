//! Python: CPython in the sandbox.

mod exports;
pub mod runtime;
