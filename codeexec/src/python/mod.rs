//! Python: CPython in the sandbox.

mod exports;
mod marshal;
pub mod runtime;
pub mod session;
