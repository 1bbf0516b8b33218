//! How much work a comparison may do.

use std::cell::Cell;
use std::ops::Deref;

use crate::options::Options;

/// Work left, in units of about half a microsecond on one core. It counts operations, not time, so that every machine and
/// every thread gives the same answer.
#[derive(Debug)]
pub(crate) struct Budget(Cell<u32>);

impl Budget {
    /// What one comparison of two answers may cost, with all their parts.
    pub(crate) fn new() -> Self {
        Self(Cell::new(30_000))
    }

    /// What checking the steps of one solution may cost, with all their claims.
    pub(crate) fn of_solution() -> Self {
        Self(Cell::new(60_000))
    }

    /// What is left.
    pub(crate) fn left(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(usize::MAX)
    }

    /// Takes `units`; `false` when they are used up.
    pub(crate) fn take(&self, units: u32) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(units));
        left > units
    }
}

/// The policies of a comparison and the work that is left for it.
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
