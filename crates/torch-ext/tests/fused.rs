//! Compares fused operators with their plain formulas: values and gradients, float32 and bfloat16.

use tch::{Device, Kind, Tensor};
use torch_ext::{GpuKernels, rms_norm, rotate_half, silu_gate};

const OWN: GpuKernels = GpuKernels::Own;

fn relative(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    f64::try_from((&a - &b).norm() / b.norm()).unwrap()
}

fn leaf(shape: &[i64], kind: Kind) -> Tensor {
    (Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 2.0).to_kind(kind).set_requires_grad(true)
}

/// Compares values and gradients of `fused` on `inputs` with those of `plain` on the same inputs in float64.
#[track_caller]
fn compare(inputs: &[Tensor], fused: impl Fn(&[Tensor]) -> Tensor, plain: impl Fn(&[Tensor]) -> Tensor) {
    let wide: Vec<Tensor> =
        inputs.iter().map(|x| x.detach().to_kind(Kind::Double).set_requires_grad(x.requires_grad())).collect();
    let (y, expected) = (fused(inputs), plain(&wide));
    let kind = inputs[0].kind();
    let tolerance = if kind == Kind::Float { 2e-6 } else { 1e-2 };
    assert_eq!(y.kind(), kind);
    assert!(relative(&y, &expected) < tolerance, "{kind:?} value: {}", relative(&y, &expected));
    let weight = Tensor::randn(y.size(), (Kind::Double, Device::Cpu));
    let differentiable =
        |x: &[Tensor]| x.iter().filter(|x| x.requires_grad()).map(Tensor::shallow_clone).collect::<Vec<_>>();
    let grads = |y: &Tensor, x: &[Tensor]| {
        let loss = (y * weight.to_kind(y.kind())).sum(Kind::Double);
        Tensor::run_backward(&[loss], &differentiable(x), false, false)
    };
    for (found, expected) in grads(&y, inputs).iter().zip(grads(&expected, &wide)) {
        assert_eq!(found.kind(), kind);
        assert!(relative(found, &expected) < tolerance, "{kind:?} gradient: {}", relative(found, &expected));
    }
    let _no_grad = tch::no_grad_guard();
    assert!(relative(&fused(inputs), &y) == 0.0, "the same without a graph");
}

#[test]
fn norm() {
    torch_ext::init();
    tch::manual_seed(1);
    for kind in [Kind::Float, Kind::BFloat16] {
        for shape in [vec![3, 5, 37], vec![1, 64], vec![70, 16]] {
            let width = [shape[shape.len() - 1]];
            compare(
                &[leaf(&shape, kind), leaf(&width, kind)],
                |x| rms_norm(&x[0], &x[1], 1e-5, OWN).unwrap(),
                |x| {
                    let mean = (&x[0] * &x[0]).mean_dim([-1].as_slice(), true, Kind::Double);
                    &x[0] * (mean + 1e-5).rsqrt() * &x[1]
                },
            );
        }
    }
}

#[test]
fn gate() {
    torch_ext::init();
    tch::manual_seed(2);
    for kind in [Kind::Float, Kind::BFloat16] {
        compare(
            &[leaf(&[3, 7, 19], kind), leaf(&[3, 7, 19], kind)],
            |x| silu_gate(&x[0], &x[1], OWN).unwrap(),
            |x| x[0].silu() * &x[1],
        );
    }
    let far = Tensor::from_slice(&[-1e4_f32, -100.0, -90.0, 0.0, 90.0, 1e4]);
    let y = silu_gate(&far, &far.ones_like(), OWN).unwrap();
    assert_eq!(Vec::<f32>::try_from(y).unwrap()[3..], [0.0, 90.0, 1e4]);
    let y = silu_gate(&far, &far.ones_like(), OWN).unwrap().abs().narrow(0, 0, 3).max();
    assert!(f64::try_from(y).unwrap() < 1e-30);
}

#[test]
fn rotation() {
    torch_ext::init();
    tch::manual_seed(3);
    for kind in [Kind::Float, Kind::BFloat16] {
        let angles = Tensor::randn([2, 5, 1, 12], (Kind::Float, Device::Cpu));
        let inputs = [leaf(&[2, 5, 3, 12], kind), angles.cos().to_kind(kind), angles.sin().to_kind(kind)];
        compare(
            &inputs,
            |x| rotate_half(&x[0], &x[1], &x[2], OWN).unwrap(),
            |x| {
                let halves = x[0].chunk(2, -1);
                &x[0] * &x[1] + Tensor::cat(&[halves[1].neg(), halves[0].shallow_clone()], -1) * &x[2]
            },
        );
    }
}

#[test]
fn inputs_that_are_not_contiguous_and_values_that_are_not_numbers() {
    torch_ext::init();
    let x = Tensor::randn([6, 4], (Kind::Float, Device::Cpu));
    let w = Tensor::ones([6], (Kind::Float, Device::Cpu));
    let turned = rms_norm(&x.tr(), &w, 1e-6, OWN).unwrap();
    assert!(relative(&turned, &rms_norm(&x.tr().contiguous(), &w, 1e-6, OWN).unwrap()) == 0.0);
    let nan = Tensor::from_slice(&[f32::NAN, f32::INFINITY]).to_kind(Kind::BFloat16);
    let one = nan.ones_like();
    let y = Vec::<f32>::try_from(silu_gate(&nan, &one, OWN).unwrap().to_kind(Kind::Float)).unwrap();
    assert!(y[0].is_nan() && y[1] == f32::INFINITY, "{y:?}");
    assert!(rms_norm(&x, &w, 1e-6, OWN).unwrap_err().to_string().contains("with a weight of [6]"));
}
