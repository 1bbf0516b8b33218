//! Most tests share one test program, because each program takes seconds to compile and to link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod fused;
mod linear;
mod projections;
mod training;
