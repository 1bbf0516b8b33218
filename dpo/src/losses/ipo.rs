//! IPO.

use tch::Tensor;

/// `(Δ⁺/|y⁺| - Δ⁻/|y⁻| - 1/(2β))²` (Azar et al. 2023, equation 17, with β for τ). It is computed per token, as in the
/// authors' code and in TRL's `ipo`.
pub fn ipo(chosen: &Tensor, rejected: &Tensor, tokens: (&Tensor, &Tensor), beta: f64) -> Tensor {
    (chosen / tokens.0 - rejected / tokens.1 - 1.0 / (2.0 * beta)).square()
}
