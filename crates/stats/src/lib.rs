//! Statistics of right and wrong answers: 95% intervals ([`interval`]), paired tests of two models ([`paired`]) and
//! [`pass_at_k`](mod@pass_at_k).
//!
//! Every figure that this project prints with an interval comes from [`share`] (or from [`ratio`] for unbounded
//! values), so two commands print the same number for the same answers.

pub mod interval;
pub mod paired;
pub mod pass_at_k;

pub use interval::{Estimate, mean, proportion, ratio, share};
pub use pass_at_k::{pass_at, pass_at_k};
