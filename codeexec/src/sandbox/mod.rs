//! The sandbox: a WebAssembly module, a fresh instance for each program, and nothing around it but what
//! [`guest::Guest`] holds in memory.

pub mod errno;
pub mod files;
pub mod guest;
mod machine;
mod memory;
mod wasi;

pub use files::{Files, SharedBytes};
pub use guest::{Clock, Guest, Setup, Stop};
pub use machine::{Ending, Instance, Machine, Profile, Settings, THREAD_STACK};
