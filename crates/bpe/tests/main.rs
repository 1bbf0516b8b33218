//! All tests in one program, because each further one would compile Hugging Face's library again.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod encode;
mod extend;
mod tokenise;
mod train;
mod transformers;
