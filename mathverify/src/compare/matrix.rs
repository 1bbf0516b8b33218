//! Compares matrices and vectors; evaluates their sums, products, powers, determinants and transposes.

use super::all_equal;
use crate::ast::{Expr, Func};
use crate::budget::Context;
use crate::numeric::exact::exact;
use crate::rational;
use crate::verdict::{Outcome, Tier};

type Rows = Vec<Vec<Expr>>;

/// Whether the expression contains a matrix.
pub(super) fn has_matrix(e: &Expr) -> bool {
    e.any(&|e| matches!(e, Expr::Matrix(_)))
}

/// The value of an expression with matrices.
enum Value {
    Matrix(Rows),
    Number(Expr),
}

/// Evaluates sums, products, powers up to 8, determinants and transposes of matrices; `None` for anything else.
fn value(e: &Expr) -> Option<Value> {
    if !has_matrix(e) {
        return Some(Value::Number(e.clone()));
    }
    match e {
        Expr::Matrix(rows) => Some(Value::Matrix(rows.clone())),
        Expr::Neg(a) => match value(a)? {
            Value::Matrix(rows) => Some(Value::Matrix(each(&rows, |x| Expr::Neg(Box::new(x))))),
            Value::Number(_) => None,
        },
        Expr::Add(terms) => {
            let mut sum: Option<Rows> = None;
            for t in terms {
                let Value::Matrix(rows) = value(t)? else { return None };
                sum = Some(match sum {
                    None => rows,
                    Some(before) => zip(&before, &rows)?,
                });
            }
            sum.map(Value::Matrix)
        }
        Expr::Mul(factors) => {
            let mut product: Option<Value> = None;
            for f in factors {
                let next = value(f)?;
                product = Some(match product {
                    None => next,
                    Some(before) => times(before, next)?,
                });
            }
            product
        }
        Expr::Div(a, b) => match (value(a)?, value(b)?) {
            (Value::Matrix(rows), Value::Number(n)) => {
                Some(Value::Matrix(each(&rows, |x| Expr::Div(Box::new(x), Box::new(n.clone())))))
            }
            _ => None,
        },
        Expr::Pow(a, n) => {
            let n = rational::to_i64(&exact(n)?).filter(|n| (1..=8).contains(n))?;
            let Value::Matrix(base) = value(a)? else { return None };
            let mut product = Value::Matrix(base.clone());
            for _ in 1..n {
                product = times(product, Value::Matrix(base.clone()))?;
            }
            Some(product)
        }
        Expr::Func(Func::Det, a) => match value(a.first()?)? {
            Value::Matrix(rows) => determinant(&rows).map(Value::Number),
            Value::Number(_) => None,
        },
        Expr::Func(Func::Transpose, a) => match value(a.first()?)? {
            Value::Matrix(rows) => {
                let width = rows.first()?.len();
                Some(Value::Matrix((0..width).map(|j| rows.iter().map(|r| r[j].clone()).collect()).collect()))
            }
            Value::Number(_) => None,
        },
        _ => None,
    }
}

fn each(rows: &Rows, f: impl Fn(Expr) -> Expr) -> Rows {
    rows.iter().map(|r| r.iter().cloned().map(&f).collect()).collect()
}

fn zip(a: &Rows, b: &Rows) -> Option<Rows> {
    let same = a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.len() == y.len());
    same.then(|| {
        a.iter()
            .zip(b)
            .map(|(x, y)| x.iter().zip(y).map(|(p, q)| Expr::Add(vec![p.clone(), q.clone()])).collect())
            .collect()
    })
}

fn times(a: Value, b: Value) -> Option<Value> {
    Some(match (a, b) {
        (Value::Number(x), Value::Number(y)) => Value::Number(Expr::Mul(vec![x, y])),
        (Value::Number(n), Value::Matrix(rows)) | (Value::Matrix(rows), Value::Number(n)) => {
            Value::Matrix(each(&rows, |x| Expr::Mul(vec![n.clone(), x])))
        }
        (Value::Matrix(x), Value::Matrix(y)) => {
            let (inner, width) = (y.len(), y.first()?.len());
            if x.first()?.len() != inner || x.len() * width * inner > 4_096 {
                return None;
            }
            // Entries with variables grow with every product.
            let sizes = |rows: &Rows| rows.iter().flatten().map(size).sum::<usize>();
            if sizes(&x) * width + sizes(&y) * x.len() > MAX_PARTS {
                return None;
            }
            let cell = |i: usize, j: usize| {
                let sum = Expr::Add((0..inner).map(|k| Expr::Mul(vec![x[i][k].clone(), y[k][j].clone()])).collect());
                exact(&sum).map_or(sum, Expr::rat)
            };
            Value::Matrix((0..x.len()).map(|i| (0..width).map(|j| cell(i, j)).collect()).collect())
        }
    })
}

/// Maximum number of expression nodes in a product of two matrices.
const MAX_PARTS: usize = 8_000;

/// Number of nodes of an expression.
fn size(e: &Expr) -> usize {
    1 + e.children().into_iter().map(size).sum::<usize>()
}

/// The determinant by expansion along the first row; `None` if the matrix is not square or has more than four rows.
fn determinant(rows: &Rows) -> Option<Expr> {
    let n = rows.len();
    if n == 0 || n > 4 || rows.iter().any(|r| r.len() != n) {
        return None;
    }
    if n == 1 {
        return Some(rows[0][0].clone());
    }
    let mut terms = Vec::new();
    for j in 0..n {
        let minor: Rows = rows[1..]
            .iter()
            .map(|r| r.iter().enumerate().filter(|(k, _)| *k != j).map(|(_, e)| e.clone()).collect())
            .collect();
        let term = Expr::Mul(vec![rows[0][j].clone(), determinant(&minor)?]);
        terms.push(if j % 2 == 0 { term } else { Expr::Neg(Box::new(term)) });
    }
    Some(Expr::Add(terms))
}

/// Compares two expressions, at least one of which contains a matrix.
pub(super) fn compare(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    match (value(a), value(b)) {
        (Some(Value::Matrix(x)), Some(Value::Matrix(y))) => {
            let same_shape = x.len() == y.len() && x.iter().zip(&y).all(|(p, q)| p.len() == q.len());
            if same_shape {
                return all_equal(x.iter().flatten().zip(y.iter().flatten()), options, "different entries");
            }
            Outcome::different(Tier::Structure, "matrices of different shape")
        }
        (Some(Value::Number(x)), Some(Value::Number(y))) => super::compare_scalars(&x, &y, options),
        (Some(_), Some(_)) => Outcome::different(Tier::Structure, "a matrix and a number"),
        _ => Outcome::unknown("a formula of matrices"),
    }
}
