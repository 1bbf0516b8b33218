//! The data half of pretraining: turns crawled pages into filtered, deduplicated and mixed text, and accounts for
//! every dropped document. The crate needs no libtorch.
//!
//! - [`document`]: the record; [`read`]: files of records, web archives, pages; [`filters`]: heuristics; [`dedup`]:
//!   duplicate and near-duplicate documents and lines.
//! - [`recipe`]: sources and steps; [`engine`]: runs them in parts that survive a kill; [`ledger`], [`report`],
//!   [`why`]: the decision on every document; [`command`]: `herd data run` and related commands.
//! - [`quality`]: a judge's labels, classifiers, scores. [`crate_docs`]: the documentation of Rust packages as web pages.

pub mod command;
pub mod crate_docs;
pub mod dedup;
pub mod document;
pub mod engine;
pub mod filters;
pub mod hash;
pub mod ledger;
pub mod made;
pub mod quality;
pub mod read;
pub mod recipe;
pub mod report;
pub mod rows;
pub mod why;
