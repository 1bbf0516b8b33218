//! Byte-level BPE tokenizers with Llama 3's split: training, extension, a report, fast encoding, token shards.
//!
//! - [`train`](train::train) learns a vocabulary from word counts, with the ids and merges of Hugging Face's trainer.
//! - [`extend`](extend::extend) adds merges in other languages without changing any English id.
//! - [`Encoder`] returns the ids of Hugging Face's library, several times faster; it uses that library for tokenizers
//!   of another kind.
//! - [`tokenise`](tokenise::tokenise) writes documents as token shards: the same bytes for any number of threads, resumable.
//! - [`report`] measures a tokenizer by language and domain, and compares it with others.
//! - [`command`] has `herd data tokenizer`, `herd data tokenise` and `herd data shards`.
//!
//! ```
//! use bpe::{Encoder, WordCounts, train::train};
//!
//! let texts = ["low lower lowest", "new newer newest"].map(|text| Ok(text.to_owned()));
//! let vocabulary = train(&WordCounts::of(texts.into_iter())?, 260, 2);
//! assert_eq!(vocabulary.bytes(256), Some(&b"we"[..]));
//! let ids = Encoder::new(vocabulary.clone()).ids("lower")?;
//! assert_eq!(vocabulary.decode(&ids)?, b"lower");
//! # Ok::<(), anyhow::Error>(())
//! ```

pub mod alphabet;
pub mod command;
mod corpus;
mod encode;
pub mod extend;
mod learn;
pub mod report;
mod split;
pub mod tokenise;
pub mod train;
mod vocabulary;

pub use corpus::{Document, WordCounts, texts};
pub use encode::{Encoder, Pool, Scratch};
pub use split::{LLAMA3, Words, words};
pub use vocabulary::{Added, BEGIN, CONFIG, END, TOKENIZER, Vocabulary, llama3_special_tokens};
