//! `herd longctx eval`: what a model finds, by length.

pub mod ask;
pub mod figures;
pub mod items;
mod loss;
pub mod picture;
pub mod protocol;

pub use loss::Passages;
