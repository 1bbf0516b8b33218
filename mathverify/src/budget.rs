//! The work limit of a comparison.

use std::cell::Cell;
use std::ops::Deref;

use crate::options::Options;

/// Remaining work, in units of about half a microsecond on one core. It counts operations, not time, so the result is
/// the same on every machine and every thread.
#[derive(Debug)]
pub(crate) struct Budget(Cell<u32>);

impl Budget {
    /// The budget of one comparison of two answers, with all their parts.
    pub(crate) fn new() -> Self {
        Self(Cell::new(30_000))
    }

    /// The budget for checking the steps of one solution, with all their claims.
    pub(crate) fn of_solution() -> Self {
        Self(Cell::new(60_000))
    }

    /// The remaining units.
    pub(crate) fn left(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(usize::MAX)
    }

    /// Takes `units`; `false` if they are used up.
    pub(crate) fn take(&self, units: u32) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(units));
        left > units
    }
}

/// The policies of a comparison, and its remaining budget.
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
