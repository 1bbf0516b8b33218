//! Deduplication: what needs a view of the whole corpus, as relational steps over narrow rows.
//!
//! - [`minhash`]: signatures and band keys (a map step); [`curve`]: what the bands find.
//! - [`lines`]: normal forms of lines, and their buckets.
//! - [`carrier`]: the relational steps behind one small trait; [`memory`]: in this process, with a budget.
//! - [`sql`]: the same steps as statements for other engines.
//!
//! Documents are numbered by (source priority, id): the smallest number of a group of equals survives, whatever the number of
//! threads, partitions or files. All keys hold the document's language where the recipe asks for "within each language".

pub mod carrier;
pub mod curve;
pub mod lines;
pub mod memory;
pub mod minhash;
pub mod sql;

pub use carrier::{Carrier, Dated, Keyed};
pub use memory::Memory;
