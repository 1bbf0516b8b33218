//! The sandbox: a WebAssembly module with a new or restored instance for each program. An instance can reach only what
//! [`guest::Guest`] holds in memory.

pub mod errno;
mod exports;
pub mod files;
pub mod guest;
mod machine;
mod memory;
mod recycle;
pub mod snapshot;
mod wasi;
mod wasi_files;

pub use files::{Device, Files, SharedBytes};
pub use guest::{Clock, Guest, Setup, Stop};
pub use machine::{Ending, Instance, Linked, Machine, Profile, Settings, THREAD_STACK, link};
