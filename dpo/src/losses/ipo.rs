//! IPO.

use tch::Tensor;

/// `(Δ⁺/|y⁺| - Δ⁻/|y⁻| - 1/(2β))²` (Azar et al. 2023, equation 17, with β for τ), per token, as the authors computed it
/// and TRL's `ipo` does.
pub fn ipo(chosen: &Tensor, rejected: &Tensor, tokens: (&Tensor, &Tensor), beta: f64) -> Tensor {
    (chosen / tokens.0 - rejected / tokens.1 - 1.0 / (2.0 * beta)).square()
}
