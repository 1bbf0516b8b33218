//! Benchmarks linear layers of SmolLM2's shapes: `torch_ext::linear` (oneDNN) against libtorch's own implementation (MKL for
//! float32), in GFLOP/s, in one run.
//!
//!     cargo bench --profile dev -p torch-ext --bench linear

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

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

fn main() {
    torch_ext::init();
    let _no_grad = tch::no_grad_guard();
    println!("{} threads; GFLOP/s, median of 7", tch::get_num_threads());
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
