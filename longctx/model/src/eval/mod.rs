//! `herd longctx eval`: measures how well a model finds and uses text, by context length.

pub mod ask;
pub mod figures;
pub mod items;
mod loss;
pub mod picture;
pub mod protocol;

pub use loss::Passages;
