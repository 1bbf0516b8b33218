//! Deduplication: the steps over the whole corpus, as relational steps over narrow rows.
//!
//! - [`minhash`]: signatures and band keys (a map step); [`curve`]: the probability that bands find a pair.
//! - [`lines`]: normal forms of lines, and their buckets.
//! - [`carrier`]: the relational steps behind one small trait; [`memory`]: in this process, with a budget; [`external`]:
//!   in the program `herd-engine`, on DataFusion.
//! - [`sql`]: the same steps as statements for other engines.
//!
//! Documents are numbered by (source priority, id). Of a group of duplicates the smallest number survives,
//! independent of the number of threads, partitions or files. If the recipe compares within each language, all keys
//! contain the language of the document.

pub mod carrier;
pub mod curve;
pub mod external;
pub mod lines;
pub mod memory;
pub mod minhash;
pub mod sql;

pub use carrier::{Carrier, Dated, Keyed};
pub use external::External;
pub use memory::Memory;
