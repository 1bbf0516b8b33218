//! Benchmarks linear layers against libtorch's own implementation (MKL for float32), in GFLOP/s, in one run: `torch_ext::linear`
//! (oneDNN) with SmolLM2's shapes, and a training step of `torch_ext::projections` (forward pass and both gradients).
//!
//!     cargo bench --profile dev -p torch-ext --bench linear

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};
use torch_ext::{InputOp, Projection, projections};

const SHAPES: [(i64, i64, i64); 8] = [
    (2048, 2048, 2048),
    (2048, 576, 1536),
    (2048, 576, 49152),
    (16, 576, 1536),
    (16, 576, 49152),
    (4, 576, 1536),
    (1, 576, 1536),
    (1, 576, 49152),
];

/// Tokens, input and output width of layers of a model of width 128, of one of 10 million parameters, and of SmolLM2-135M.
const TRAINED: [(i64, i64, i64); 7] = [
    (768, 128, 128),
    (768, 128, 256),
    (2048, 256, 256),
    (2048, 256, 1024),
    (2048, 1024, 256),
    (2048, 576, 1536),
    (2048, 1536, 576),
];

fn main() {
    torch_ext::init();
    println!("{} threads; GFLOP/s, median of 7", tch::get_num_threads());
    training();
    inference();
}

/// One projection, forward and backward, float32.
fn training() {
    println!("| tokens, in, out | libtorch, training | torch_ext, training | ratio |\n|---|---|---|---|");
    for (tokens, width, out) in TRAINED {
        let leaf = |rows| Tensor::randn([rows, width], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (x, w) = (leaf(tokens), leaf(out));
        let gradient = Tensor::randn([tokens, out], (Kind::Float, Device::Cpu));
        let back =
            |y: Tensor| Tensor::run_backward(&[(y * &gradient).sum(Kind::Float)], &[&x, &w], false, false).remove(0);
        let flops = 6.0 * (tokens * width * out) as f64;
        let plain = flops / seconds(|| back(x.linear::<Tensor>(&w, None))) / 1e9;
        let list = [Projection { weight: &w, update: None }];
        let own = || back(projections(InputOp::Nothing, &x, &list).expect("operands fit").remove(0));
        let ours = flops / seconds(own) / 1e9;
        println!("| {tokens}, {width}, {out} | {plain:.0} | {ours:.0} | {:.2} |", ours / plain);
    }
}

fn inference() {
    let _no_grad = tch::no_grad_guard();
    println!("| M, K, N | f32 libtorch | f32 torch_ext | ratio | bf16 |\n|---|---|---|---|---|");
    for (m, k, n) in SHAPES {
        let operands = |kind| {
            let tensor = |rows| Tensor::randn([rows, k], (Kind::Float, Device::Cpu)).to_kind(kind);
            (tensor(m), tensor(n))
        };
        let flops = 2.0 * (m * k * n) as f64;
        let (x, w) = operands(Kind::Float);
        let plain = flops / seconds(|| x.linear::<Tensor>(&w, None)) / 1e9;
        let ours = flops / seconds(|| torch_ext::linear(&x, &w, None).expect("operands fit")) / 1e9;
        let (x, w) = operands(Kind::BFloat16);
        let half = flops / seconds(|| torch_ext::linear(&x, &w, None).expect("operands fit")) / 1e9;
        println!("| {m}, {k}, {n} | {plain:.0} | {ours:.0} | {:.2} | {half:.0} |", ours / plain);
    }
}

/// Seconds of one call: the median of seven runs of at least 50 ms.
fn seconds(call: impl Fn() -> Tensor) -> f64 {
    let mut runs: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            let mut calls = 0;
            while start.elapsed() < Duration::from_millis(50) {
                let _result = std::hint::black_box(call());
                calls += 1;
            }
            start.elapsed().as_secs_f64() / f64::from(calls)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[3]
}
