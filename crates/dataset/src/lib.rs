//! The records that `herd`'s stages exchange, and their files.
//!
//! | record | fields (`?`: may be absent) |
//! |---|---|
//! | [`Conversation`] | `id`, `messages`, `source`?, `capability`?, `weight`? |
//! | [`Preference`] | `id`, `prompt`, `chosen`, `rejected`, `edited`?, `strength`? |
//! | [`Prompt`] | `id`, `prompt`, `tools`? |
//! | [`Problem`] | `id`, `kind`, `prompt`, `answer`?, `tests`?, `entry_point`?, `language`?, `meta`? |
//! | [`Sample`] | `id`, `sample`?, `response`, `finish_reason`, `logprob`, `reward`?, `verdict`?, `model`, `seed` |
//! | [`Verdict`] | `passed`, `status`, `detail`?, and further fields of the verifier |
//!
//! Field names are those of Hugging Face and TRL. Fields that are not in the table are kept and written back. The
//! other formats of published sets (ShareGPT, Alpaca, prompt and completion, implicit prompts, hh-rlhf transcripts)
//! are read, and written back in the form above.
//!
//! [`jsonl`] reads and writes files of records: `.jsonl`, `.gz`, `.zst` and `.parquet`, by name. A bad line is an
//! error that says `file:line: what to change`, or is written to another file with its reason. Files get their name
//! only when they are complete. [`check`] checks the content (is there an answer to train on? is an id used twice?),
//! [`resume`] writes output that survives a kill, [`journal`] keeps results that arrive in any order, [`digest`]
//! computes SHA-256.
//!
//! ```
//! use dataset::{Conversation, Message, jsonl};
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("train.jsonl");
//! std::fs::write(&path, concat!(
//!     r#"{"id": "a", "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}"#, "\n",
//!     r#"{"id": "b", "messages": [{"role": "human", "content": "Hi"}]}"#, "\n",
//! )).unwrap();
//! let mut reader = jsonl::read::<Conversation>(&path, jsonl::OnBadLine::Error)?;
//! assert_eq!(reader.next().unwrap()?.messages[0], Message::user("2+2?"));
//! let error = reader.next().unwrap().unwrap_err().to_string();
//! assert!(error.ends_with(
//!     "train.jsonl:2: messages[0].role: \"human\" is not known; use system, user, assistant, tool or ipython"
//! ));
//! # Ok::<(), dataset::Error>(())
//! ```
//!
//! Parquet has no missing fields, only null ones, and each column has one type. A field that is null in a row is read
//! as absent. A number column with fractions turns integers into floats. Records whose fields change their type are
//! refused with an error, and so is an object that is empty in all rows. Inside lists, null stays null.

mod atomic;
pub mod check;
mod columns;
mod content;
mod conversation;
pub mod digest;
mod error;
mod fields;
mod format;
mod images;
pub mod journal;
pub mod jsonl;
mod lines;
mod message;
mod parquet_read;
mod parquet_write;
mod preference;
mod problem;
mod prompt;
mod reasons;
pub mod resume;
mod sample;
mod shape;
mod sharegpt;
mod unreadable;

pub use atomic::{AtomicFile, write_file};
pub use content::{Content, Part, Parts};
pub use conversation::Conversation;
pub use error::{Error, Invalid, Place, Result};
pub use format::Format;
pub use message::{Message, Role};
pub use preference::{Preference, Strength};
pub use problem::{Kind, Problem};
pub use prompt::Prompt;
pub use reasons::{Reason, Reasons};
pub use sample::{FinishReason, Sample, Verdict};
