//! The losses, one per file, as functions of log-probabilities: `Δ⁺ = log π(y⁺|x) - log π_ref(y⁺|x)` of the chosen
//! response and `Δ⁻` of the rejected one, summed over the counted tokens. All tensors and results are `[pairs]`.

mod cdpo;
mod hinge;
mod ipo;
mod length_normalised;
mod nll;
mod sigmoid;
mod simpo;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use cdpo::cdpo;
pub use hinge::hinge;
pub use ipo::ipo;
pub use length_normalised::length_normalised;
pub use nll::chosen_nll;
pub use sigmoid::sigmoid;
pub use simpo::simpo;

/// The preference loss.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Standard DPO (Rafailov et al. 2023)
    Sigmoid,
    /// DPO on log-ratios per token (Tülu 3)
    LengthNormalised,
    /// Squared distance to a margin, per token (Azar et al. 2023)
    Ipo,
    /// DPO that expects a share of wrong labels, --label-smoothing (Mitchell 2023)
    Cdpo,
    /// Hinge on the margin (SLiC, Zhao et al. 2023)
    Hinge,
    /// Log-probs per token and a target margin, no reference (Meng et al. 2024)
    Simpo,
}

impl LossKind {
    /// Whether the loss compares with a reference model.
    #[must_use]
    pub fn has_reference(self) -> bool {
        self != Self::Simpo
    }
}

/// The loss of a run: a preference loss plus the weighted NLL of the chosen response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// The preference loss.
    pub kind: LossKind,
    /// Strength of the penalty for leaving the reference: the scale of the rewards.
    pub beta: f64,
    /// cDPO's share of wrong labels.
    pub label_smoothing: f64,
    /// SimPO's target margin, in rewards.
    pub simpo_gamma: f64,
    /// Weight of the NLL of the chosen response (0.2 in the recipe).
    pub nll_weight: f64,
}

/// The log-probabilities of each pair's two responses, `[pairs]` each.
#[derive(Debug)]
pub struct PairLogProbs {
    /// `log π(y⁺|x)`, the sum over the counted tokens.
    pub chosen: Tensor,
    /// `log π(y⁻|x)`.
    pub rejected: Tensor,
    /// `log π_ref(y⁺|x)` and `log π_ref(y⁻|x)`; `None` without a reference.
    pub reference: Option<(Tensor, Tensor)>,
    /// Number of counted tokens of the chosen response.
    pub chosen_tokens: Tensor,
    /// Number of counted tokens of the rejected response.
    pub rejected_tokens: Tensor,
}

impl PairLogProbs {
    /// `Δ⁺` and `Δ⁻`; without a reference, the log-probs themselves.
    pub fn log_ratios(&self) -> (Tensor, Tensor) {
        match &self.reference {
            Some((chosen, rejected)) => (&self.chosen - chosen, &self.rejected - rejected),
            None => (self.chosen.shallow_clone(), self.rejected.shallow_clone()),
        }
    }
}

impl Loss {
    /// The preference loss of each pair.
    pub fn preference(&self, pairs: &PairLogProbs) -> Tensor {
        let (chosen, rejected) = pairs.log_ratios();
        let tokens = (&pairs.chosen_tokens, &pairs.rejected_tokens);
        match self.kind {
            LossKind::Sigmoid => sigmoid(&chosen, &rejected, self.beta),
            LossKind::LengthNormalised => length_normalised(&chosen, &rejected, tokens, self.beta),
            LossKind::Ipo => ipo(&chosen, &rejected, tokens, self.beta),
            LossKind::Cdpo => cdpo(&chosen, &rejected, self.beta, self.label_smoothing),
            LossKind::Hinge => hinge(&chosen, &rejected, self.beta),
            LossKind::Simpo => simpo(&chosen, &rejected, tokens, self.beta, self.simpo_gamma),
        }
    }

    /// The implicit rewards of chosen and rejected that the loss compares: `β Δ`, per token if the loss is per token.
    pub fn rewards(&self, pairs: &PairLogProbs) -> (Tensor, Tensor) {
        let (chosen, rejected) = pairs.log_ratios();
        match self.kind {
            LossKind::LengthNormalised | LossKind::Ipo | LossKind::Simpo => {
                (chosen / &pairs.chosen_tokens * self.beta, rejected / &pairs.rejected_tokens * self.beta)
            }
            LossKind::Sigmoid | LossKind::Cdpo | LossKind::Hinge => (chosen * self.beta, rejected * self.beta),
        }
    }
}
