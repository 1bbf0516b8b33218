use crate::ast::Expr;
use crate::verdict::Outcome;
pub(crate) fn compare(_a: &Expr, _b: &Expr) -> Option<Outcome> { None }
