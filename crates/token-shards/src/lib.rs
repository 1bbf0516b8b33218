//! Token shards: the output of tokenisation and the input of pretraining.
//!
//! A shard is three files, in datatrove's layout with an additional header:
//!
//! | file | content |
//! |---|---|
//! | `NAME.ds` | the tokens of all documents, u32, little-endian |
//! | `NAME.ds.index` | the end of each document, in tokens from the start of the shard, u64, little-endian |
//! | `NAME.ds.json` | [`Header`]: format version, counts, tokenizer, source, length and SHA-256 of the other two |
//!
//! The header is written last and removed first, so a shard with a header is complete. Opening a shard maps the files
//! into memory and checks lengths and document ends; [`Shard::verify`] checks the digests. [`megatron`] reads and
//! writes Megatron-LM's `.bin` and `.idx`.
//!
//! ```
//! use token_shards::{Shard, ShardWriter, Tokenizer};
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("00000.ds");
//! let tokenizer = Tokenizer { vocab_size: 1000, ..Tokenizer::default() };
//! let mut writer = ShardWriter::create(&path, tokenizer, "an example")?;
//! writer.push(&[5, 6, 7], Some(11))?;
//! writer.push(&[8], Some(2))?;
//! writer.finish()?;
//! let shard = Shard::open(&path)?;
//! assert_eq!(shard.document(0), Some(&[5, 6, 7][..]));
//! assert_eq!(shard.ends(), [3, 4]);
//! // A window of training over the border of two documents.
//! assert_eq!(shard.pieces(1..4).collect::<Vec<_>>(), [1..3, 3..4]);
//! # Ok::<(), token_shards::ShardError>(())
//! ```

mod error;
mod header;
pub mod megatron;
mod read;
mod write;

pub use error::{Result, ShardError};
pub use header::{FORMAT, FileFacts, Header, Tokenizer, VERSION};
pub use read::Shard;
pub use write::ShardWriter;
