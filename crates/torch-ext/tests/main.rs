//! One test program, since each one takes seconds to compile and to link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod fused;
mod linear;
mod projections;
mod training;
