//! The records that `herd`'s stages exchange, and the files they stand in.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod atomic;
pub mod check;
mod conversation;
pub mod digest;
mod error;
mod fields;
mod format;
pub mod jsonl;
mod lines;
mod message;
mod parquet_read;
mod parquet_write;
mod preference;
mod problem;
pub mod resume;
mod sample;
mod shape;
mod sharegpt;

pub use atomic::{AtomicFile, write_file};
pub use conversation::Conversation;
pub use error::{Error, Invalid, Place, Result};
pub use format::Format;
pub use message::{Message, Role};
pub use preference::{Preference, Strength};
pub use problem::{Kind, Problem};
pub use sample::{FinishReason, Sample, Verdict};
