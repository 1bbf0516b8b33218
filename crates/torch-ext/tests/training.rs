//! Compares fused AdamW with its formula, and chunked cross-entropy with the plain one.

use tch::{Device, Kind, Reduction, Tensor};
use torch_ext::{AdamW, GpuKernels, IGNORED, fused_adamw, linear_cross_entropy, linear_cross_entropy_sum};

const OWN: GpuKernels = GpuKernels::Own;

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    f64::try_from((&a - &b).norm() / b.norm()).unwrap()
}

fn randn(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn refs(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

#[test]
fn adamw_follows_its_formula() {
    torch_ext::init();
    tch::manual_seed(3);
    let o = AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let shapes = [vec![7, 5], vec![11]];
    let params: Vec<Tensor> = shapes.iter().map(|s| randn(s)).collect();
    let mut expected: Vec<Tensor> = params.iter().map(|p| p.to_kind(Kind::Double)).collect();
    let (m, v): (Vec<_>, Vec<_>) = params.iter().map(|p| (p.zeros_like(), p.zeros_like())).unzip();
    let mut moments: Vec<_> = expected.iter().map(|p| (p.zeros_like(), p.zeros_like())).collect();
    for step in 1..=5 {
        let grads: Vec<Tensor> = shapes.iter().map(|s| randn(s)).collect();
        fused_adamw(&refs(&params), &refs(&grads), &refs(&m), &refs(&v), step, &o).unwrap();
        for ((p, (m, v)), g) in expected.iter_mut().zip(&mut moments).zip(&grads) {
            let g = g.to_kind(Kind::Double);
            *m = &*m * o.beta1 + &g * (1.0 - o.beta1);
            *v = &*v * o.beta2 + &g * &g * (1.0 - o.beta2);
            let (mh, vh) = (&*m / (1.0 - o.beta1.powi(step as i32)), &*v / (1.0 - o.beta2.powi(step as i32)));
            *p = &*p * (1.0 - o.lr * o.weight_decay) - mh / (vh.sqrt() + o.eps) * o.lr;
        }
    }
    for (p, e) in params.iter().zip(&expected) {
        assert!(distance(p, e) < 1e-6);
    }
    let error = fused_adamw(&[&params[0]], &[], &[&m[0]], &[&v[0]], 1, &o).unwrap_err().to_string();
    assert!(error.contains("1 parameters, 0 gradients"), "{error}");
}

struct Case {
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    token_weights: Tensor,
}

fn case(kind: Kind) -> Case {
    tch::manual_seed(5);
    let labels = Tensor::randint(50, [23], (Kind::Int64, Device::Cpu));
    let _ = labels.narrow(0, 4, 6).fill_(IGNORED);
    Case {
        hidden: (randn(&[23, 16]) * 2.0).to_kind(kind).set_requires_grad(true),
        weight: randn(&[50, 16]).to_kind(kind).set_requires_grad(true),
        labels,
        token_weights: Tensor::rand([23], (Kind::Float, Device::Cpu)),
    }
}

/// The nll of each token, and the gradients of its weighted sum, computed by libtorch's own operators in float64.
fn plain(case: &Case) -> (Tensor, Vec<Tensor>) {
    let leaf = |x: &Tensor| x.detach().to_kind(Kind::Double).set_requires_grad(true);
    let (h, w) = (leaf(&case.hidden), leaf(&case.weight));
    let nll = h.matmul(&w.tr()).cross_entropy_loss::<Tensor>(&case.labels, None, Reduction::None, IGNORED, 0.0);
    let loss = (&nll * &case.token_weights).sum(Kind::Double);
    (nll.detach(), Tensor::run_backward(&[loss], &[h, w], false, false))
}

#[test]
fn chunked_cross_entropy_equals_the_full_one() {
    torch_ext::init();
    for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)] {
        let case = case(kind);
        let (expected, gradients) = plain(&case);
        for chunk in [None, Some(1), Some(7), Some(23), Some(100)] {
            let nll = linear_cross_entropy(&case.hidden, &case.weight, &case.labels, chunk, OWN).unwrap();
            assert_eq!(nll.kind(), Kind::Float);
            assert!(distance(&nll, &expected) < tolerance, "{kind:?} {chunk:?}");
            assert_eq!(f64::try_from(nll.narrow(0, 4, 6).abs().sum(Kind::Float)).unwrap(), 0.0);
            let loss = (&nll * &case.token_weights).sum(Kind::Float);
            let sum = linear_cross_entropy_sum(
                &case.hidden,
                &case.weight,
                &case.labels,
                Some(&case.token_weights),
                chunk,
                OWN,
            )
            .unwrap();
            assert!(distance(&sum, &loss) < 1e-6);
            for loss in [loss, sum] {
                // A factor after the sum, as in a loss that is divided by the number of tokens.
                let found = Tensor::run_backward(&[loss * 0.5], &[&case.hidden, &case.weight], false, false);
                for (found, expected) in found.iter().zip(&gradients) {
                    assert_eq!(found.kind(), kind);
                    let error = distance(found, &(expected * 0.5));
                    assert!(error < tolerance, "{kind:?} {chunk:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_frozen_head_gets_no_gradient() {
    torch_ext::init();
    let case = case(Kind::Float);
    let frozen = case.weight.detach();
    let (_, gradients) = plain(&case);
    for per_token in [true, false] {
        let loss = if per_token {
            let nll = linear_cross_entropy(&case.hidden, &frozen, &case.labels, Some(6), OWN).unwrap();
            (nll * &case.token_weights).sum(Kind::Float)
        } else {
            linear_cross_entropy_sum(&case.hidden, &frozen, &case.labels, Some(&case.token_weights), Some(6), OWN)
                .unwrap()
        };
        let found = Tensor::run_backward(&[loss], &[&case.hidden], false, false);
        assert!(distance(&found[0], &gradients[0]) < 1e-5);
    }
    let _guard = tch::no_grad_guard();
    let sum = linear_cross_entropy_sum(&case.hidden, &case.weight, &case.labels, None, None, OWN).unwrap();
    let nll = linear_cross_entropy(&case.hidden, &case.weight, &case.labels, None, OWN).unwrap();
    assert!(distance(&sum, &nll.sum(Kind::Float)) < 1e-6 && !sum.requires_grad());
}

#[test]
fn shapes_that_do_not_fit_are_an_error() {
    torch_ext::init();
    let case = case(Kind::Float);
    let error = linear_cross_entropy(&case.hidden, &randn(&[50, 15]), &case.labels, None, OWN).unwrap_err();
    assert!(error.to_string().starts_with("libtorch: "));
}

#[test]
fn a_frequent_rows_gradient_is_added_up_in_float32() {
    torch_ext::init();
    tch::manual_seed(13);
    let (rows, width, tokens) = (7, 24, 6000);
    // Nearly every token is one of two ids. The gradients have a mean of 1, so that their sum grows, as for a frequent token.
    let ids = Tensor::from_slice(
        &(0..tokens).map(|n| if n % 50 == 0 { 2 + n / 50 % 4 } else { n % 2 }).collect::<Vec<i64>>(),
    );
    let gradient = (Tensor::randn([tokens, width], (Kind::Float, Device::Cpu)) + 1.0).to_kind(Kind::BFloat16);
    let of = |kind: Kind, look_up: &dyn Fn(&Tensor) -> Tensor| {
        let table = Tensor::zeros([rows, width], (kind, Device::Cpu)).set_requires_grad(true);
        (look_up(&table) * gradient.to_kind(kind)).sum(Kind::Float).backward();
        table.grad().to_kind(Kind::Double)
    };
    let ours = |table: &Tensor| torch_ext::embedding(table, &ids.reshape([3, -1])).unwrap().reshape([tokens, width]);
    let plain = |table: &Tensor| Tensor::embedding(table, &ids, -1, false, false);
    let exact = of(Kind::Double, &plain);
    let error = |found: &Tensor| f64::try_from((found - &exact).norm() / exact.norm()).unwrap();
    assert!(error(&of(Kind::BFloat16, &ours)) < 0.004, "{}", error(&of(Kind::BFloat16, &ours)));
    assert!(error(&of(Kind::BFloat16, &plain)) > 0.1, "libtorch's own adds in bfloat16: this test shows nothing");
    // In float32 the result is bit-equal.
    assert_eq!(of(Kind::Float, &ours), of(Kind::Float, &plain));
    let error = torch_ext::embedding(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)), &ids).unwrap_err().to_string();
    assert_eq!(error, "libtorch: index out of range in self");
}
