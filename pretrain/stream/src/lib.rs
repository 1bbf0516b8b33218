//! The data order of a pretraining run: which windows of which token shards a step sees.
//!
//! The plan is a function of the seed and the step. Only the list of shards grows with the corpus. The rows of any step and rank can be
//! computed independently, so a run may stop anywhere and resume with another number of processes.
//!
//! - A source's tokens are cut into windows of the shortest sequence length ([`corpus`]).
//! - In each epoch the windows of a source have their own order, given by a keyed permutation ([`permutation`]); a longer sequence is a
//!   run of neighbouring windows.
//! - The source of a row follows a periodic sequence; at any moment the number of rows of every source is within one of its share
//!   ([`mixing`]).
//! - Weights, batch size and sequence length change at given numbers of tokens ([`plan`]).
//! - Rows are read by position, without mapping files into memory ([`reader`]).

pub mod corpus;
pub mod mixing;
pub mod permutation;
pub mod plan;
pub mod reader;
