//! Runs untrusted programs with their tests.

mod cache;
pub mod limits;
pub mod python;
pub mod record;
pub mod sandbox;
