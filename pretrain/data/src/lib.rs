//! The data half of pretraining: from crawled pages to filtered, deduplicated, mixed text, with every dropped document accounted
//! for. Needs no libtorch.
//!
//! - [`document`]: the record; [`read`]: files of records, web archives, pages; [`filters`]: heuristics; [`dedup`]: equal and nearly
//!   equal documents and lines.
//! - [`recipe`]: sources and steps; [`engine`]: runs them in parts that survive a kill; [`ledger`], [`report`], [`why`]: what
//!   happened to every document; [`command`]: `herd data run` and its sisters.

pub mod command;
pub mod dedup;
pub mod document;
pub mod engine;
pub mod filters;
pub mod hash;
pub mod ledger;
pub mod made;
pub mod read;
pub mod recipe;
pub mod report;
pub mod rows;
pub mod why;
