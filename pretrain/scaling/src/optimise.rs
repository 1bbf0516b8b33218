//! Minima of smooth functions by L-BFGS (Nocedal and Wright 2006, algorithm 7.5), from the crate `argmin`.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

/// Pairs of steps and changes of the gradient that L-BFGS remembers.
const MEMORY: usize = 10;
/// A norm of the gradient that is as good as zero.
const TOLERANCE: f64 = 1e-9;

/// The best point that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// The point.
    pub at: Vec<f64>,
    /// The function's value there.
    pub value: f64,
    /// The largest part of its gradient there, without sign: how far from a minimum this is.
    pub slope: f64,
}

/// A point with the function's value and gradient there.
type Known = (Vec<f64>, f64, Vec<f64>);

/// A function, with the last point that was asked for and the best one.
struct Problem<F> {
    function: F,
    last: RefCell<Option<Known>>,
    best: RefCell<Option<Minimum>>,
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> Problem<F> {
    /// Value and gradient; the line search asks for both at the same point.
    fn at(&self, point: &[f64]) -> (f64, Vec<f64>) {
        if let Some((known, value, gradient)) = &*self.last.borrow()
            && known == point
        {
            return (*value, gradient.clone());
        }
        let (value, gradient) = (self.function)(point);
        let finite = value.is_finite() && gradient.iter().all(|part| part.is_finite());
        let mut best = self.best.borrow_mut();
        if finite && best.as_ref().is_none_or(|best| value < best.value) {
            let slope = gradient.iter().fold(0.0, |most: f64, part| most.max(part.abs()));
            *best = Some(Minimum { at: point.to_vec(), value, slope });
        }
        *self.last.borrow_mut() = Some((point.to_vec(), value, gradient.clone()));
        (value, gradient)
    }
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> CostFunction for &Problem<F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, point: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.at(point).0)
    }
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> Gradient for &Problem<F> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, point: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.at(point).1)
    }
}

/// Follows `function` (value and gradient) downhill from `start` and gives the best point that was seen; None where the
/// function is not finite at the start. A line search that rounding stops ends the descent: [`Minimum::slope`] says how far
/// from level the point is.
pub fn minimise(function: impl Fn(&[f64]) -> (f64, Vec<f64>), start: &[f64], steps: u64) -> Option<Minimum> {
    let problem = Problem { function, last: RefCell::new(None), best: RefCell::new(None) };
    problem.at(start);
    problem.best.borrow().as_ref()?;
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY).with_tolerance_grad(TOLERANCE).ok()?;
    let solver = solver.with_tolerance_cost(1e-13).ok()?;
    // An error of the line search leaves the best point so far.
    let _ = Executor::new(&problem, solver)
        .configure(|state| state.param(start.to_vec()).max_iters(steps))
        .timer(false)
        .run();
    problem.best.into_inner()
}

/// Huber's function of a residual in units of its border `delta`: `r^2 / 2` up to 1, then a line; and its slope.
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

    #[test]
    fn huber_is_square_then_straight() {
        assert_eq!(huber(-0.5), (0.125, -0.5));
        assert_eq!(huber(3.0), (2.5, 1.0));
        assert_eq!(huber(-3.0), (2.5, -1.0));
    }
}
