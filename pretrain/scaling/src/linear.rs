//! Least squares for a few coefficients.

use ndarray::{Array1, Array2};

/// The coefficients that minimise `|X w - y|^2 + ridge |w|^2`, by a Cholesky decomposition of the normal equations. `None` if the columns
/// of `x` `[rows, columns]` are linearly dependent.
pub(crate) fn least_squares(x: &Array2<f64>, y: &Array1<f64>, ridge: f64) -> Option<Array1<f64>> {
    let mut normal = x.t().dot(x);
    normal.diag_mut().mapv_inplace(|value| value + ridge);
    let size = normal.nrows();
    let scale = normal.diag().iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    // The lower triangle.
    let mut root = Array2::<f64>::zeros((size, size));
    for row in 0..size {
        for column in 0..=row {
            let before: f64 = (0..column).map(|at| root[[row, at]] * root[[column, at]]).sum();
            let rest = normal[[row, column]] - before;
            root[[row, column]] = if row == column {
                if rest <= 1e-12 * scale {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / root[[column, column]]
            };
        }
    }
    let mut solution = x.t().dot(y);
    for row in 0..size {
        let before: f64 = (0..row).map(|at| root[[row, at]] * solution[at]).sum();
        solution[row] = (solution[row] - before) / root[[row, row]];
    }
    for row in (0..size).rev() {
        let after: f64 = (row + 1..size).map(|at| root[[at, row]] * solution[at]).sum();
        solution[row] = (solution[row] - after) / root[[row, row]];
    }
    Some(solution)
}

/// The least-squares polynomial of `degree`: coefficients from the constant up. `None` under the same condition as [`least_squares`].
pub(crate) fn polynomial(x: &[f64], y: &[f64], degree: usize) -> Option<Array1<f64>> {
    let powers = Array2::from_shape_fn((x.len(), degree + 1), |(row, power)| x[row].powi(power as i32));
    least_squares(&powers, &Array1::from_iter(y.iter().copied()), 0.0)
}

/// The mean of values.
pub(crate) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_parabola_exactly_and_refuses_what_is_not_determined() {
        let x = [-1.0, 0.0, 1.0, 2.0];
        let y = x.map(|x: f64| 3.0 - 2.0 * x + 0.5 * x * x);
        let found = polynomial(&x, &y, 2).unwrap();
        for (found, expected) in found.iter().zip([3.0, -2.0, 0.5]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert!(polynomial(&[1.0, 1.0, 2.0], &[0.0; 3], 2).is_none());
        // With a ridge, two equal columns share their weight.
        let same = ndarray::array![[1.0, 1.0], [2.0, 2.0]];
        let shared = least_squares(&same, &ndarray::array![2.0, 4.0], 1e-6).unwrap();
        assert!((shared[0] - 1.0).abs() < 1e-4 && (shared[1] - 1.0).abs() < 1e-4);
    }
}
