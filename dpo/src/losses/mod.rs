//! The losses, one a file, as functions of log-probabilities: `Δ⁺ = log π(y⁺|x) - log π_ref(y⁺|x)` of the chosen response
//! and `Δ⁻` of the rejected one, sums over the tokens that count. All tensors are `[pairs]`, and so are the results.

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

/// Which preference loss.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// DPO's own (Rafailov et al. 2023)
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

/// The loss of a run: a preference loss and a share of the chosen response's NLL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// The preference loss.
    pub kind: LossKind,
    /// How strongly the policy is held to the reference: the scale of rewards.
    pub beta: f64,
    /// cDPO's share of wrong labels.
    pub label_smoothing: f64,
    /// SimPO's target margin, in rewards.
    pub simpo_gamma: f64,
    /// Factor on the NLL of the chosen response (the recipe's 0.2).
    pub nll_weight: f64,
}

/// What is known of each pair's two responses, `[pairs]` each.
#[derive(Debug)]
pub struct PairLogProbs {
    /// `log π(y⁺|x)`, the sum over the tokens that count.
    pub chosen: Tensor,
    /// `log π(y⁻|x)`.
    pub rejected: Tensor,
    /// `log π_ref(y⁺|x)` and `log π_ref(y⁻|x)`; `None` without a reference.
    pub reference: Option<(Tensor, Tensor)>,
    /// Tokens that count in the chosen response.
    pub chosen_tokens: Tensor,
    /// Tokens that count in the rejected response.
    pub rejected_tokens: Tensor,
}

impl PairLogProbs {
    /// `Δ⁺` and `Δ⁻`; the log-probs themselves where there is no reference.
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

    /// The implicit rewards of chosen and rejected that the loss compares: `β Δ`, per token where the loss is.
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
