//! Compares `linear` with the plain product, forward and backward.

use tch::{Device, Kind, Tensor};

fn close(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && f64::try_from((a - b).norm() / b.norm()).unwrap() < 1e-5
}

#[test]
fn forward_and_gradients_equal_at_linear() {
    torch_ext::init();
    tch::manual_seed(1);
    for shape in [vec![3, 5, 16], vec![7, 16], vec![1, 16]] {
        let x = Tensor::randn(&shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let w = Tensor::randn([24, 16], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let b = Tensor::randn([24], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let ours = torch_ext::linear(&x, &w, Some(&b)).unwrap();
        let plain = x.linear(&w, Some(&b));
        assert!(close(&ours, &plain));
        let weight = ours.rand_like();
        let inputs = [&x, &w, &b];
        let got = Tensor::run_backward(&[(&ours * &weight).sum(Kind::Float)], &inputs, false, false);
        let want = Tensor::run_backward(&[(&plain * &weight).sum(Kind::Float)], &inputs, false, false);
        for (got, want) in got.iter().zip(&want) {
            assert!(close(got, want));
        }
        let _guard = tch::no_grad_guard();
        assert!(close(&torch_ext::linear(&x, &w, Some(&b)).unwrap(), &plain));
        assert!(close(&torch_ext::linear(&x, &w, None).unwrap(), &x.linear::<&Tensor>(&w, None)));
    }
}

#[test]
fn a_shape_error_is_a_value() {
    torch_ext::init();
    let x = Tensor::randn([3, 5], (Kind::Float, Device::Cpu));
    let w = Tensor::randn([4, 6], (Kind::Float, Device::Cpu));
    assert!(torch_ext::linear(&x, &w, None).unwrap_err().to_string().starts_with("libtorch: "));
}
