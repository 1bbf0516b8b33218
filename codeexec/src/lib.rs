//! Runs untrusted programs with their tests in a WebAssembly sandbox, and reports the results.
//!
//! Each program runs in its own WebAssembly instance (wasmtime) of its language's interpreter; syscalls are answered
//! from memory ([`sandbox`]). Its tests run in a second instance, the judge, which calls the program's functions over
//! a channel that carries only checked plain data ([`languages`]). So the program can neither see nor patch its tests,
//! and code that it cannot reach compares its results. C and C++ are the exception: program and tests share one
//! instance. Supervised worker processes, one per core, run the programs ([`pool`]).
//!
//! ```no_run
//! use codeexec::{limits::Limits, pool::{Launcher, Pool}, record::Job};
//!
//! let launcher = Launcher { program: "codeexec".into(), arguments: vec!["child".into()] };
//! let pool = Pool::new(launcher, 2, Limits::default(), 0);
//! let mut job = Job::python("increment", "def f(x):\n    return x + 1");
//! job.tests = vec!["assert f(1) == 2".into()];
//! assert!(pool.run(&job)?.passed);
//! # anyhow::Ok(())
//! ```

mod cache;
pub mod child;
pub mod cli;
pub mod extract;
pub mod fields;
pub mod languages;
pub mod limits;
pub mod native;
pub mod output;
pub mod pool;
pub mod record;
pub mod run;
pub mod sandbox;
pub mod serve;
pub mod suite;
mod verdicts;
