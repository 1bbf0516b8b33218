//! Dropout on the input of low-rank updates.

use llama::{Linear, Lora};
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

#[test]
fn the_update_keeps_its_mean_and_its_masks_their_seed() {
    torch_ext::init();
    let mut random = Generator::new(Device::Cpu, 3).unwrap();
    let mut draw = |shape: [i64; 2]| random.uniform(&shape).unwrap() * 2.0 - 1.0;
    let lora = Lora { a: draw([4, 32]), b: draw([8, 4]), scale: 0.5, dropout: 0.3 };
    let linear = Linear { weight: draw([8, 32]), bias: None, lora: Some(lora) };
    let x = draw([1, 32]);
    let update =
        |x: &Tensor, masks: Option<&mut Generator>| linear.forward(x, masks).unwrap() - x.matmul(&linear.weight.tr());
    let plain = update(&x, None);
    let distance = |a: &Tensor, b: &Tensor| f64::try_from((a - b).norm() / b.norm()).unwrap();
    let dropped = |seed: u64| update(&x.repeat([40_000, 1]), Some(&mut Generator::new(Device::Cpu, seed).unwrap()));
    let mean = dropped(7).mean_dim([0].as_slice(), true, Kind::Float);
    assert!(distance(&mean, &plain) < 0.02, "{}", distance(&mean, &plain));
    assert!(distance(&dropped(7).get(0), &plain.get(0)) > 1e-3, "nothing was dropped");
    assert_eq!(distance(&dropped(7), &dropped(7)), 0.0);
    assert!(distance(&dropped(8), &dropped(7)) > 1e-3, "another seed draws the same masks");
    assert_eq!(distance(&update(&x, None), &plain), 0.0);
}
