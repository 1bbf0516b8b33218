//! The loss of a batch of pairs, and its logged metrics.
//!
//! | name (TRL's if TRL has the metric) | mean over the pairs of |
//! |---|---|
//! | `preference_loss`, `nll_loss` | the two parts of the loss; the NLL is per token |
//! | `rewards/chosen`, `rewards/rejected`, `rewards/margins` | implicit rewards, see [`crate::losses::Loss::rewards`] |
//! | `rewards/accuracies` | 1 if the chosen response has the higher reward, ½ for a tie (within 1e-5) |
//! | `logps/chosen`, `logps/rejected` | sums of log-probs over the counted tokens |
//! | `logps/chosen_change` | difference of the chosen log-prob per token from the reference's |
//! | `logps/chosen_fell` | 1 if it is lower than the reference's |
//! | `kl` | estimate of KL(policy ‖ reference) per token: `r ln r - r + 1` with `r = π / π_ref`, over both responses; unbiased for samples of the reference, as rejection sampling's are, and a guide on other data |

use tch::{Kind, Tensor};
use trainer::{Loss, Metric};

use crate::batch::PairBatch;
use crate::losses::{self, PairLogProbs, chosen_nll};

/// The loss of the batch, a sum over its pairs, from the policy's log-probs `[entries]` and, if the loss has a
/// reference, the reference's log-probs.
#[must_use]
pub fn measure(loss: &losses::Loss, batch: &PairBatch, log_probs: &Tensor, reference: Option<&Tensor>) -> Loss {
    let (chosen, rejected) = batch.counted(log_probs);
    let (chosen_tokens, rejected_tokens) = batch.counted_tokens();
    let reference_sums = reference.map(|reference| batch.counted(reference));
    let pairs = PairLogProbs { chosen, rejected, reference: reference_sums, chosen_tokens, rejected_tokens };
    let preference = loss.preference(&pairs);
    let nll = chosen_nll(&batch.all(log_probs).0, &batch.response_tokens().0);
    let sum = (&preference + &nll * loss.nll_weight).sum(Kind::Double).to_kind(Kind::Float);

    let _no_grad = tch::no_grad_guard();
    let (reward_chosen, reward_rejected) = loss.rewards(&pairs);
    let margin = &reward_chosen - &reward_rejected;
    let decided = &margin * margin.abs().gt(TIE);
    let mut measured = vec![
        ("preference_loss", preference),
        ("nll_loss", nll),
        ("rewards/accuracies", (decided.sign() + 1.0) / 2.0),
        ("rewards/chosen", reward_chosen),
        ("rewards/rejected", reward_rejected),
        ("rewards/margins", margin),
        ("logps/chosen", pairs.chosen.shallow_clone()),
        ("logps/rejected", pairs.rejected.shallow_clone()),
    ];
    if let Some(reference) = reference {
        let (change, _) = pairs.log_ratios();
        measured.push((FELL, change.lt(0.0)));
        measured.push((CHANGE, change / &pairs.chosen_tokens));
        // E_ref[r ln r - r + 1] = KL(policy ‖ reference), as E_ref[r] = 1; no term is negative.
        let log_ratio = log_probs - reference;
        let (chosen, rejected) = batch.counted(&((&log_ratio - 1.0) * log_ratio.exp() + 1.0));
        measured.push(("kl", (chosen + rejected) / (&pairs.chosen_tokens + &pairs.rejected_tokens)));
    }
    let weight = batch.pairs() as f64;
    let metric = |(name, each): (&'static str, Tensor)| Metric {
        name,
        sum: each.to_kind(Kind::Double).sum(Kind::Double).into(),
        weight,
    };
    Loss { sum, metrics: measured.into_iter().map(metric).collect() }
}

/// Margins up to this value are ties. Policy and reference may be the same model and still differ in the last bit,
/// since the sums on a CPU depend on the packing of the rows.
const TIE: f64 = 1e-5;

/// Share of pairs whose chosen log-prob is lower than the reference's.
pub const FELL: &str = "logps/chosen_fell";

/// Change of the chosen log-prob per token, relative to the reference.
pub const CHANGE: &str = "logps/chosen_change";
