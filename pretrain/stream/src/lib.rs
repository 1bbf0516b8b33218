//! The data of a pretraining run: which window of which token shard a step sees.
//!
//! The plan is a function of the seed and the step. Nothing in it grows with the corpus but the list of shards, and any step of
//! any rank can be computed alone, so a run may stop anywhere and go on with another number of processes.
//!
//! - A source's tokens are cut into windows of the shortest sequence length ([`corpus`]).
//! - In each epoch a source's windows come in an order of their own, by a keyed permutation ([`permutation`]); a longer
//!   sequence is a run of neighbouring windows.
//! - Which source a row is from follows a periodic sequence in which every source is at any moment within one row of its
//!   share ([`mixing`]).
//! - Weights, batch size and sequence length change at given numbers of tokens ([`plan`]).
//! - Rows are read by position, without mapping files into memory ([`reader`]).

pub mod corpus;
pub mod mixing;
pub mod permutation;
pub mod plan;
pub mod reader;
