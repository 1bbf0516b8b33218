//! Python: CPython in the sandbox.

mod marshal;
mod packages;
pub mod runtime;
pub mod session;

pub use marshal::is_plain;
pub use packages::{PACKAGES, import_time};

use super::{Language, Runner};
use crate::limits::Limits;
use crate::record::{Finding, Job, Verdict};
use crate::sandbox::Machine;

/// The Python sources of the harness, in the order in which they run: values, the program's side, the judge's side.
pub const SOURCES: [&str; 7] = [
    include_str!("values.py"),
    include_str!("program.py"),
    include_str!("remote.py"),
    include_str!("weak.py"),
    include_str!("testing.py"),
    include_str!("pytest.py"),
    include_str!("judge.py"),
];
/// Replaces threads and event loops in an interpreter that has none.
pub const CONCURRENCY: &str = include_str!("concurrency.py");

/// Python with its harness.
pub struct Python;

impl Language for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["py", "python3", "py3"]
    }

    fn interpreter(&self) -> &'static str {
        "CPython 3.15 with numpy, pandas, scipy, sympy and others"
    }

    fn is_set_up(&self, machine: &Machine) -> anyhow::Result<bool> {
        runtime::is_set_up(machine)
    }

    fn set_up(&self, machine: &Machine) -> anyhow::Result<()> {
        runtime::set_up(machine)
    }

    fn open(&'static self, machine: &Machine) -> anyhow::Result<Box<dyn Runner>> {
        Ok(Box::new(runtime::Snapshot::open(machine)?))
    }
}

impl Runner for runtime::Snapshot {
    fn run(&self, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict> {
        session::run(self, job, limits, seed)
    }

    fn lint(&self, code: &str) -> anyhow::Result<Option<Vec<Finding>>> {
        session::lint(self, code).map(Some)
    }
}
