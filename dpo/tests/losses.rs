//! Compares every loss with TRL's code and with its formula in plain arithmetic.

// Clippy's setting for tests does not cover helpers outside of test functions.
use dpo::losses::{self, Loss, LossKind, PairLogProbs};
use tch::{Kind, Tensor};

const CHOSEN: [f64; 3] = [-12.5, -3.0, -9.0];
const REJECTED: [f64; 3] = [-9.0, -14.0, -9.5];
const REFERENCE_CHOSEN: [f64; 3] = [-14.0, -2.5, -9.0];
const REFERENCE_REJECTED: [f64; 3] = [-8.0, -15.0, -9.0];
const CHOSEN_TOKENS: [f64; 3] = [5.0, 2.0, 4.0];
const REJECTED_TOKENS: [f64; 3] = [3.0, 4.0, 4.0];

fn tensor(values: [f64; 3]) -> Tensor {
    Tensor::from_slice(&values).to_kind(Kind::Float)
}

fn pairs(reference: bool) -> PairLogProbs {
    torch_ext::init();
    PairLogProbs {
        chosen: tensor(CHOSEN),
        rejected: tensor(REJECTED),
        reference: reference.then(|| (tensor(REFERENCE_CHOSEN), tensor(REFERENCE_REJECTED))),
        chosen_tokens: tensor(CHOSEN_TOKENS),
        rejected_tokens: tensor(REJECTED_TOKENS),
    }
}

fn loss(kind: LossKind, beta: f64) -> Loss {
    Loss { kind, beta, label_smoothing: 0.1, simpo_gamma: 0.5, nll_weight: 0.2 }
}

#[track_caller]
fn close(found: &Tensor, expected: [f64; 3]) {
    let found = Vec::<f64>::try_from(found.to_kind(Kind::Double)).unwrap();
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{found} instead of {expected}");
    }
}

/// The tables are the output of `tests/trl_losses.py`, which calls TRL 1.16.
#[test]
fn losses_are_trls() {
    let table = [
        (LossKind::Sigmoid, 0.1, [0.575939416885376, 0.7709571123123169, 0.6684596538543701]),
        (LossKind::LengthNormalised, 2.0, [0.2482413947582245, 1.3132617473602295, 0.575939416885376]),
        (LossKind::Ipo, 0.1, [19.067779541015625, 30.25, 23.765625]),
        (LossKind::Hinge, 0.5, [0.0, 1.75, 0.75]),
        (LossKind::Cdpo, 0.1, [0.6009393930435181, 0.7559570670127869, 0.6734596490859985]),
        (LossKind::Simpo, 2.0, [0.4740769863128662, 0.029750417917966843, 0.825939416885376]),
    ];
    for (kind, beta, expected) in table {
        close(&loss(kind, beta).preference(&pairs(kind.has_reference())), expected);
    }
}

#[test]
fn losses_are_their_formulas() {
    let log_sigmoid = |x: f64| -(1.0 + (-x).exp()).ln();
    let each = |formula: &dyn Fn(usize) -> f64| [formula(0), formula(1), formula(2)];
    let plus = |i: usize| CHOSEN[i] - REFERENCE_CHOSEN[i];
    let minus = |i: usize| REJECTED[i] - REFERENCE_REJECTED[i];
    let per_token = |i: usize| plus(i) / CHOSEN_TOKENS[i] - minus(i) / REJECTED_TOKENS[i];
    let found = |kind: LossKind, beta: f64| loss(kind, beta).preference(&pairs(kind.has_reference()));
    close(&found(LossKind::Sigmoid, 0.3), each(&|i| -log_sigmoid(0.3 * (plus(i) - minus(i)))));
    close(&found(LossKind::LengthNormalised, 5.0), each(&|i| -log_sigmoid(5.0 * per_token(i))));
    close(&found(LossKind::Ipo, 0.25), each(&|i| (per_token(i) - 2.0).powi(2)));
    close(&found(LossKind::Hinge, 0.7), each(&|i| (1.0 - 0.7 * (plus(i) - minus(i))).max(0.0)));
    let smooth = |i: usize| {
        let margin = 0.4 * (plus(i) - minus(i));
        -0.9 * log_sigmoid(margin) - 0.1 * log_sigmoid(-margin)
    };
    close(&found(LossKind::Cdpo, 0.4), each(&smooth));
    let bare = |i: usize| CHOSEN[i] / CHOSEN_TOKENS[i] - REJECTED[i] / REJECTED_TOKENS[i];
    close(&found(LossKind::Simpo, 2.5), each(&|i| -log_sigmoid(2.5 * bare(i) - 0.5)));
    close(&losses::chosen_nll(&tensor(CHOSEN), &tensor(CHOSEN_TOKENS)), each(&|i| -CHOSEN[i] / CHOSEN_TOKENS[i]));
}

/// DPO's gradient (Rafailov et al. 2023, section 4): `-β σ(-β margin)` on the chosen log-prob, its opposite on the
/// rejected one.
#[test]
fn the_gradient_of_dpo_is_its_closed_form() {
    let pairs = pairs(true);
    let (chosen, rejected) = (pairs.chosen.set_requires_grad(true), pairs.rejected.set_requires_grad(true));
    let pairs =
        PairLogProbs { chosen: chosen.shallow_clone(), rejected: rejected.shallow_clone(), ..self::pairs(true) };
    loss(LossKind::Sigmoid, 0.1).preference(&pairs).sum(Kind::Float).backward();
    let slope = |i: usize| {
        let margin = 0.1 * ((CHOSEN[i] - REFERENCE_CHOSEN[i]) - (REJECTED[i] - REFERENCE_REJECTED[i]));
        -0.1 / (1.0 + margin.exp())
    };
    close(&chosen.grad(), [slope(0), slope(1), slope(2)]);
    close(&rejected.grad(), [-slope(0), -slope(1), -slope(2)]);
}

#[test]
fn rewards_are_what_the_loss_compares() {
    // The sigmoid losses are all -log σ(reward⁺ - reward⁻ - target).
    for (kind, target) in [(LossKind::Sigmoid, 0.0), (LossKind::LengthNormalised, 0.0), (LossKind::Simpo, 0.5)] {
        let (loss, pairs) = (loss(kind, 0.8), pairs(kind.has_reference()));
        let (chosen, rejected) = loss.rewards(&pairs);
        let again = -(chosen - rejected - target).log_sigmoid();
        close(
            &again,
            Vec::try_from(loss.preference(&pairs).to_kind(Kind::Double)).map(|v: Vec<f64>| [v[0], v[1], v[2]]).unwrap(),
        );
    }
}
