//! Dropout on the input of low-rank updates. A program of its own: masks come from libtorch's generator, which tests share.

// Helpers of tests stand outside of test functions.
#![allow(clippy::unwrap_used)]

use llama::{Dropout, Linear, Lora};
use tch::{Device, Kind, Tensor};

#[test]
fn the_update_keeps_its_mean_and_its_masks_their_seed() {
    torch_ext::init();
    tch::manual_seed(3);
    let randn = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    let lora = Lora { a: randn([4, 32]), b: randn([8, 4]), scale: 0.5, dropout: 0.3 };
    let linear = Linear { weight: randn([8, 32]), bias: None, lora: Some(lora) };
    let x = randn([1, 32]);
    let update = |x: &Tensor| linear.forward(x) - x.matmul(&linear.weight.tr());
    let plain = update(&x);
    let distance = |a: &Tensor, b: &Tensor| f64::try_from((a - b).norm() / b.norm()).unwrap();
    let dropped = || {
        let _dropout = Dropout::on(5);
        tch::manual_seed(7);
        update(&x.repeat([40_000, 1]))
    };
    let mean = dropped().mean_dim([0].as_slice(), true, Kind::Float);
    assert!(distance(&mean, &plain) < 0.02, "{}", distance(&mean, &plain));
    assert!(distance(&dropped().get(0), &plain.get(0)) > 1e-3, "nothing was dropped");
    assert_eq!(distance(&dropped(), &dropped()), 0.0);
    assert_eq!(distance(&update(&x), &plain), 0.0);
}
