//! Compares fused projections (with their input operation) with libtorch's plain operators in float64.

use std::process::Command;

use tch::{Device, Kind, Tensor};
use torch_ext::decoder::Decoder;
use torch_ext::{InputOp, Projection, projections, take_grad};

fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    f64::try_from((&a - &b).norm() / b.norm()).unwrap()
}

fn leaf(shape: &[i64], kind: Kind, trained: bool) -> Tensor {
    (Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.5).to_kind(kind).set_requires_grad(trained)
}

/// Compares values and gradients of `fused` in the type of `inputs` with those of `plain` in float64.
fn compare(inputs: &[Tensor], fused: impl Fn(&[Tensor]) -> Vec<Tensor>, plain: impl Fn(&[Tensor]) -> Vec<Tensor>) {
    let kind = inputs[0].kind();
    let tolerance = if kind == Kind::Float { 3e-6 } else { 2e-2 };
    let wide: Vec<Tensor> =
        inputs.iter().map(|x| x.detach().to_kind(Kind::Double).set_requires_grad(x.requires_grad())).collect();
    let (found, expected) = (fused(inputs), plain(&wide));
    let mut loss = (Tensor::from(0.0_f32), Tensor::from(0.0_f64));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((found.size(), found.kind()), (expected.size(), kind));
        let error = relative(found, expected);
        assert!(error < tolerance, "{kind:?} value off by {error}");
        let factor = Tensor::randn(found.size(), (Kind::Double, Device::Cpu)).to_kind(kind);
        loss.0 += (found.to_kind(Kind::Float) * factor.to_kind(Kind::Float)).sum(Kind::Float);
        loss.1 += (expected * factor.to_kind(Kind::Double)).sum(Kind::Double);
    }
    loss.0.backward();
    loss.1.backward();
    for (index, (x, wide)) in inputs.iter().zip(&wide).enumerate() {
        assert_eq!(x.grad().defined(), x.requires_grad(), "input {index}");
        if x.requires_grad() {
            let error = relative(&x.grad(), &wide.grad());
            assert!(error < tolerance, "{kind:?} gradient of input {index} off by {error}");
        }
    }
}

/// Two projections from `width` to `a` and `b`, the second with an update of rank 4. `before` is 0, 1 or 2 as in the C interface.
fn check_projections([seq, width, a, b]: [i64; 4], kind: Kind, before: i64, frozen: bool) {
    let full = |shape: &[i64]| leaf(shape, kind, !frozen);
    let second = if before == 1 { full(&[width]) } else { leaf(&[3, seq, width], kind, before == 2) };
    let inputs = [
        leaf(&[3, seq, width], kind, true),
        second,
        full(&[a, width]),
        full(&[b, width]),
        leaf(&[4, width], kind, true),
        leaf(&[b, 4], kind, true),
    ];
    let list = |x: &[Tensor]| {
        let before = match before {
            1 => InputOp::Norm(&x[1], 1e-5),
            2 => InputOp::Gate(&x[1]),
            _ => InputOp::Nothing,
        };
        let parts = [
            Projection { weight: &x[2], update: None },
            Projection { weight: &x[3], update: Some((&x[4], &x[5], 1.5)) },
        ];
        projections(before, &x[0], &parts).unwrap()
    };
    let plain = |x: &[Tensor]| {
        let input = match before {
            1 => &x[0] * ((&x[0] * &x[0]).mean_dim([-1].as_slice(), true, Kind::Double) + 1e-5).rsqrt() * &x[1],
            2 => x[0].silu() * &x[1],
            _ => x[0].shallow_clone(),
        };
        let update = input.matmul(&x[4].tr()).matmul(&x[5].tr()) * 1.5;
        vec![input.matmul(&x[2].tr()), input.matmul(&x[3].tr()) + update]
    };
    compare(&inputs, list, plain);
}

#[test]
fn projections_equal_the_plain_chain() {
    torch_ext::init();
    tch::manual_seed(7);
    for kind in [Kind::Float, Kind::BFloat16] {
        for before in 0..3 {
            for frozen in [false, true] {
                check_projections([7, 24, 20, 12], kind, before, frozen);
            }
        }
    }
}

/// Sizes at which the own tiles of float32 have several blocks of rows, columns and terms, and parts of each (`products.cpp`).
#[test]
fn large_projections_equal_the_plain_chain() {
    torch_ext::init();
    tch::manual_seed(8);
    for sizes in [[61, 300, 70, 33], [20, 16, 1100, 48], [100, 64, 64, 64]] {
        for before in 0..3 {
            check_projections(sizes, Kind::Float, before, false);
        }
    }
}

/// Each element of a product of the own tiles is one sum in a fixed order. Other levels use oneDNN, which promises nothing.
#[test]
fn the_own_tiles_give_the_same_bits_with_any_number_of_threads() {
    torch_ext::init();
    match Decoder::level() {
        "v3" => {}
        "base" => return test_support::skip("this processor has no AVX2, which the own tiles need"),
        // Another level multiplies by oneDNN: all tests of this file run once more at the level of the tiles.
        _ => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let output = command.arg("projections::").env("HERD_KERNELS", "v3").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        }
    }
    tch::manual_seed(9);
    let x = leaf(&[190, 300], Kind::Float, true);
    let w = leaf(&[70, 300], Kind::Float, true);
    let factor = Tensor::randn([190, 70], (Kind::Float, Device::Cpu));
    let computed = |threads: i32, rows: i64| {
        tch::set_num_threads(threads);
        let list = [Projection { weight: &w, update: None }];
        let y = projections(InputOp::Nothing, &x.narrow(0, 0, rows), &list).unwrap().remove(0);
        let gradients =
            Tensor::run_backward(&[(&y * factor.narrow(0, 0, rows)).sum(Kind::Float)], &[&x, &w], false, false);
        [y, gradients[0].shallow_clone(), gradients[1].shallow_clone()]
    };
    let threads = tch::get_num_threads();
    let one = computed(1, 190);
    for count in [2, 3] {
        assert!(one.iter().zip(computed(count, 190)).all(|(a, b)| *a == b), "{count} threads");
    }
    // A row does not depend on the rows behind it.
    let few = computed(2, 100);
    assert!(few[0] == one[0].narrow(0, 0, 100) && few[1].narrow(0, 0, 100) == one[1].narrow(0, 0, 100));
    tch::set_num_threads(threads);
}

#[test]
fn only_what_is_asked_for_is_differentiated() {
    torch_ext::init();
    let x = leaf(&[5, 8], Kind::Float, false);
    let (w, a, b) =
        (leaf(&[6, 8], Kind::Float, false), leaf(&[2, 8], Kind::Float, true), leaf(&[6, 2], Kind::Float, true));
    let list = [Projection { weight: &w, update: Some((&a, &b, 1.0)) }];
    projections(InputOp::Nothing, &x, &list).unwrap()[0].sum(Kind::Float).backward();
    assert!(!x.grad().defined() && !w.grad().defined() && a.grad().defined());
    let taken = take_grad(&a).unwrap().unwrap();
    assert_eq!(taken.size(), [2, 8]);
    assert!(take_grad(&a).unwrap().is_none() && !a.grad().defined());
    let error = projections(InputOp::Nothing, &x.to_kind(Kind::Half), &list).unwrap_err().to_string();
    assert!(error.contains("projections take float32 and bfloat16"), "{error}");
}
