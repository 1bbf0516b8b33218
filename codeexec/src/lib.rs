//! Runs untrusted programs with their tests.

mod cache;
pub mod child;
pub mod cli;
pub mod extract;
pub mod limits;
pub mod pass_at_k;
pub mod pool;
pub mod python;
pub mod record;
pub mod run;
pub mod sandbox;
pub mod serve;
pub mod suite;
