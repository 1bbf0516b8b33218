//! The work limit of a comparison.

use std::cell::Cell;
use std::ops::Deref;

use crate::options::Options;

/// Remaining work, in units of about 0.5 µs on one core. The budget counts operations, not time, so the result is the
/// same on every machine and every thread.
#[derive(Debug)]
pub(crate) struct Budget(Cell<u32>);

impl Budget {
    /// The budget of one comparison of two answers, shared by all their parts: 30,000 units.
    pub(crate) fn new() -> Self {
        Self(Cell::new(30_000))
    }

    /// The budget for the steps of one solution, shared by all their claims: 60,000 units.
    pub(crate) fn of_solution() -> Self {
        Self(Cell::new(60_000))
    }

    /// The remaining units.
    pub(crate) fn left(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(usize::MAX)
    }

    /// Subtracts `units`; `false` if nothing is left after that.
    pub(crate) fn take(&self, units: u32) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(units));
        left > units
    }
}

/// The policies of a comparison (by dereference) and its remaining budget.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    options: &'a Options,
    pub budget: Budget,
}

impl<'a> Context<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self { options, budget: Budget::new() }
    }
}

impl Deref for Context<'_> {
    type Target = Options;

    fn deref(&self) -> &Options {
        self.options
    }
}
