//! Tests of the optimizer with one process.

use super::*;
use crate::ScheduleKind;
use tch::Device;

fn optimizer() -> Optimizer {
    torch_ext::init();
    let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let named = vec![("matrix".to_owned(), ones(&[2, 3])), ("gain".to_owned(), ones(&[3]))];
    let settings = OptimizerSettings {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.5,
        decay_norms_and_biases: false,
        max_grad_norm: None,
    };
    let (kind, peak) = (ScheduleKind::Constant, 0.1);
    let schedule = Schedule { kind, peak, warmup_steps: 0, total_steps: 9, final_ratio: 0.0, decay_steps: 0 };
    Optimizer::new(named, &|_| Ok(None), settings, schedule).unwrap()
}

fn backward(optimizer: &mut Optimizer, factor: f64) {
    let loss = optimizer.parameters.iter().map(|p| p.compute.sum(Kind::Float) * factor).sum::<Tensor>();
    loss.backward();
    optimizer.gather().unwrap();
}

fn first(optimizer: &Optimizer) -> [f64; 2] {
    [0, 1].map(|index| optimizer.masters()[index].1.flatten(0, -1).double_value(&[0]))
}

#[test]
fn norms_and_biases_do_not_decay() {
    let mut optimizer = optimizer();
    backward(&mut optimizer, 0.0);
    optimizer.step().unwrap();
    let [matrix, gain] = first(&optimizer);
    assert!((matrix - (1.0 - 0.1 * 0.5)).abs() < 1e-6 && gain == 1.0, "{matrix} {gain}");
}

#[test]
fn masters_begin_at_the_exact_numbers_and_a_step_of_length_0_keeps_them() {
    torch_ext::init();
    let exact = [0.1_f32, -0.0, 1e-30, 3.000_000_2];
    let narrow = Tensor::from_slice(&exact).to_kind(Kind::BFloat16);
    let settings = optimizer().settings;
    let (kind, peak) = (ScheduleKind::Constant, 0.0);
    let schedule = Schedule { kind, peak, warmup_steps: 0, total_steps: 9, final_ratio: 0.0, decay_steps: 0 };
    let named = vec![("w".to_owned(), narrow.shallow_clone())];
    let look_up = |name: &str| Ok((name == "w").then(|| Tensor::from_slice(&exact)));
    let mut optimizer = Optimizer::new(named, &look_up, settings, schedule).unwrap();
    backward(&mut optimizer, 1.0);
    optimizer.step().unwrap();
    let bits =
        |tensor: &Tensor| Vec::<f32>::try_from(tensor).unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&optimizer.masters()[0].1), exact.map(f32::to_bits));
    assert_eq!(
        bits(&narrow.to_kind(Kind::Float)),
        bits(&Tensor::from_slice(&exact).to_kind(Kind::BFloat16).to_kind(Kind::Float))
    );
}

#[test]
fn other_weights_are_lent_and_come_back() {
    for kind in [Kind::Float, Kind::BFloat16] {
        torch_ext::init();
        let compute = Tensor::from_slice(&[1.0_f32, 2.0]).to_kind(kind);
        let named = vec![("w".to_owned(), compute.shallow_clone())];
        let own = optimizer();
        let mut optimizer =
            Optimizer::new(named, &|_| Ok(Some(Tensor::from_slice(&[1.001_f32, 2.001]))), own.settings, own.schedule)
                .unwrap();
        let before = Vec::<f32>::try_from(&optimizer.masters()[0].1).unwrap();
        let lent = Tensor::from_slice(&[5.0_f32, 6.0]);
        let read = || Ok(Vec::<f32>::try_from(compute.detach().to_kind(Kind::Float))?);
        let seen = optimizer.with_weights(vec![("w".to_owned(), lent.shallow_clone())], read).unwrap();
        assert_eq!(seen, [5.0, 6.0]);
        assert_eq!(read().unwrap(), [1.0, 2.0]);
        assert_eq!(Vec::<f32>::try_from(&optimizer.masters()[0].1).unwrap(), before);
        assert_eq!(Vec::<f32>::try_from(&lent).unwrap(), [5.0, 6.0]);
    }
}

#[test]
fn a_lack_of_memory_says_what_for_and_how_much() {
    torch_ext::init();
    let huge = Tensor::ones([1], (Kind::BFloat16, Device::Cpu)).expand([1 << 44], true);
    let own = optimizer();
    let named = vec![("w".to_owned(), huge)];
    let error = Optimizer::new(named, &|_| Ok(None), own.settings, own.schedule).err().unwrap();
    assert_eq!(
        format!("{error:#}"),
        "the optimizer's state of 17592186044416 trained weights, 211106.2 GB: out of memory: the system did not give \
         70368.7 GB"
    );
}

#[test]
fn a_gradient_that_is_not_finite_or_missing_changes_nothing() {
    let mut optimizer = optimizer();
    let error = optimizer.step().unwrap_err().to_string();
    assert_eq!(error, "no gradient reached matrix: the loss does not depend on it");
    backward(&mut optimizer, f64::INFINITY);
    let error = optimizer.step().unwrap_err().to_string();
    assert_eq!(error, "the gradient of matrix is not finite");
    assert_eq!((first(&optimizer), optimizer.steps()), ([1.0, 1.0], 0));
}

#[test]
fn a_rate_multiplies_the_step_of_the_weights_whose_names_contain_its_text() {
    let mut optimizer = optimizer();
    optimizer.set_rates(&[("gai".to_owned(), 10.0), ("gain".to_owned(), 3.0)]);
    backward(&mut optimizer, 1.0);
    let report = optimizer.step().unwrap();
    let [matrix, gain] = first(&optimizer);
    // The first step of AdamW is the learning rate, whatever the gradient; the matrix decays as well.
    assert!((matrix - (1.0 - 0.1 * 0.5 - 0.1)).abs() < 1e-6, "{matrix}");
    assert!(gain.abs() < 1e-6, "{gain}");
    assert_eq!(report.learning_rate, 0.1);
}
