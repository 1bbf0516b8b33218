//! Connects several processes that train one model: ranks, rendezvous, and checked collectives.
//!
//! [`World`] is the value that programs pass around: this process's rank, and collectives over all ranks. A program that was started
//! alone has [`World::single`], in which every collective is the identity. [`Place`] reads the variables of torchrun, `herd launch`,
//! Slurm and Kubernetes.
//!
//! It is built on libtorch's c10d groups ([`Group`]: Gloo on processors, NCCL on GPUs) and stores ([`Store`]). libtorch's own collectives
//! abort the process when lengths differ, sum the wrong tensors when the order differs, and hang when the operation differs; [`World`]
//! compares all three across ranks before each collective.
//!
//! ```no_run
//! let limit = std::time::Duration::from_secs(600);
//! let world = distributed::World::from_env(limit)?;
//! let mut sum = tch::Tensor::from_slice(&[world.rank() as f32]);
//! world.all_reduce("ranks", &mut sum)?;
//! # Ok::<(), distributed::Error>(())
//! ```

mod alive;
mod error;
mod ffi;
mod group;
mod place;
mod rows;
mod store;
mod world;

pub use error::Error;
pub use group::{Group, Work, flight_recorder};
pub use place::{Address, Place};
pub use rows::{Chunks, Rows};
pub use store::Store;
pub use world::World;
