//! Minimises smooth functions by L-BFGS (Nocedal and Wright 2006, algorithm 7.5) from the crate `argmin`.

use std::cell::{Cell, RefCell};

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

/// Number of pairs of steps and gradient changes that L-BFGS stores.
const MEMORY: usize = 10;
/// Maximum number of function evaluations per step of L-BFGS, on average. `argmin`'s line search has no limit, and on noisy losses some
/// searches did not end.
const EVALUATIONS: u64 = 4;
/// A gradient norm that counts as zero.
const TOLERANCE: f64 = 1e-9;

/// The best point that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// The point.
    pub at: Vec<f64>,
    /// The function's value there.
    pub value: f64,
    /// The largest absolute component of the gradient there; it shows the distance from a minimum.
    pub slope: f64,
}

/// A point with the function's value and gradient there.
type Known = (Vec<f64>, f64, Vec<f64>);

/// A function with the last evaluated point and the best one.
struct Problem<F> {
    function: F,
    /// Number of remaining evaluations.
    left: Cell<u64>,
    last: RefCell<Option<Known>>,
    best: RefCell<Option<Minimum>>,
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> Problem<F> {
    /// Value and gradient; the line search asks for both at the same point.
    ///
    /// # Errors
    /// When no evaluations remain.
    fn at(&self, point: &[f64]) -> Result<(f64, Vec<f64>), Error> {
        if let Some((known, value, gradient)) = &*self.last.borrow()
            && known == point
        {
            return Ok((*value, gradient.clone()));
        }
        let left = self.left.get().checked_sub(1).ok_or_else(|| Error::msg("no evaluations left"))?;
        self.left.set(left);
        let (value, gradient) = (self.function)(point);
        let finite = value.is_finite() && gradient.iter().all(|part| part.is_finite());
        let mut best = self.best.borrow_mut();
        if finite && best.as_ref().is_none_or(|best| value < best.value) {
            let slope = gradient.iter().fold(0.0, |most: f64, part| most.max(part.abs()));
            *best = Some(Minimum { at: point.to_vec(), value, slope });
        }
        *self.last.borrow_mut() = Some((point.to_vec(), value, gradient.clone()));
        Ok((value, gradient))
    }
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> CostFunction for &Problem<F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, point: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.at(point)?.0)
    }
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> Gradient for &Problem<F> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, point: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.at(point)?.1)
    }
}

/// Minimises `function` (value and gradient) from `start` and returns the best point that was evaluated. `None` if the function is not
/// finite at the start. The descent ends when rounding stops the line search, or when the limit of evaluations is reached (four for each
/// of `steps`); [`Minimum::slope`] shows how flat the function is at the result.
pub fn minimise(function: impl Fn(&[f64]) -> (f64, Vec<f64>), start: &[f64], steps: u64) -> Option<Minimum> {
    let left = Cell::new(1 + EVALUATIONS * steps);
    let problem = Problem { function, left, last: RefCell::new(None), best: RefCell::new(None) };
    problem.at(start).ok()?;
    problem.best.borrow().as_ref()?;
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY).with_tolerance_grad(TOLERANCE).ok()?;
    let solver = solver.with_tolerance_cost(1e-13).ok()?;
    // After an error of the line search or of the limit, the best point so far is the result.
    let _ = Executor::new(&problem, solver)
        .configure(|state| state.param(start.to_vec()).max_iters(steps))
        .timer(false)
        .run();
    problem.best.into_inner()
}

/// The Huber loss of a residual in units of its threshold `delta` (`r^2 / 2` up to 1, then linear), and its slope.
#[must_use]
pub fn huber(residual: f64) -> (f64, f64) {
    if residual.abs() <= 1.0 {
        (0.5 * residual * residual, residual)
    } else {
        (residual.abs() - 0.5, residual.signum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_bottom_of_a_bent_valley() {
        // Rosenbrock's function, whose minimum is at (1, 1).
        let valley = |p: &[f64]| {
            let (x, y) = (p[0], p[1]);
            let bend = y - x * x;
            let value = (1.0 - x).powi(2) + 100.0 * bend * bend;
            (value, vec![-2.0 * (1.0 - x) - 400.0 * x * bend, 200.0 * bend])
        };
        let found = minimise(valley, &[-1.2, 1.0], 500).unwrap();
        assert!((found.at[0] - 1.0).abs() < 1e-6 && (found.at[1] - 1.0).abs() < 1e-6, "{found:?}");
        assert!(found.slope < 1e-6);
        assert_eq!(minimise(|_| (f64::NAN, vec![0.0]), &[1.0], 10), None);
    }

    /// The gradient contradicts the values, so no step is ever accepted.
    #[test]
    fn a_search_that_gets_nowhere_ends() {
        let evaluations = Cell::new(0);
        let wrong = |p: &[f64]| {
            evaluations.set(evaluations.get() + 1);
            ((p[0] * 1e3).sin() + p[0], vec![-1.0 - 1e-3 * f64::from(evaluations.get() % 2)])
        };
        assert!(minimise(wrong, &[1.0], 50).is_some());
        assert!(evaluations.get() <= 1 + 200, "{}", evaluations.get());
    }

    #[test]
    fn huber_is_square_then_straight() {
        assert_eq!(huber(-0.5), (0.125, -0.5));
        assert_eq!(huber(3.0), (2.5, 1.0));
        assert_eq!(huber(-3.0), (2.5, -1.0));
    }
}
