//! Benchmarks attention over packed rows with SmolLM2's heads (9 heads of width 64 over 3 key heads). Prints forward and
//! backward GFLOP/s, counted over the visible query-key pairs, and their share of the rate of large products of the same type
//! in the same run.
//!
//!     cargo bench --profile dev -p torch-ext --bench attention

use std::time::Instant;

use tch::{Device, Kind, Tensor};
use torch_ext::{QuerySegment, range_attention};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);
const HEADS: i64 = 9;
const KV_HEADS: i64 = 3;
const WIDTH: i64 = 64;

/// Cases: tokens of a row, tokens of each of its texts, and the window.
const ROWS: [(i64, i64, Option<i64>); 9] = [
    (4096, 50, None),
    (4096, 200, None),
    (4096, 512, None),
    (4096, 1024, None),
    (2048, 2048, None),
    (4096, 4096, None),
    (8192, 8192, None),
    (16384, 16384, None),
    (8192, 8192, Some(2048)),
];

fn main() {
    torch_ext::init();
    let rates = [Kind::Float, Kind::BFloat16].map(|kind| (kind, product_rate(kind)));
    println!("{} threads; large products in GFLOP/s: {rates:.0?}", tch::get_num_threads());
    println!("| tokens, text, window | type | forward | share | backward | share |\n|---|---|---|---|---|---|");
    let only: Option<i64> = std::env::args().find_map(|argument| argument.parse().ok());
    for (tokens, text, window) in ROWS.into_iter().filter(|row| only.is_none_or(|only| row.0 <= only)) {
        for (kind, rate) in rates {
            let tensor = |heads| Tensor::randn([tokens, heads, WIDTH], CPU).to_kind(kind).set_requires_grad(true);
            let [q, k, v] = [HEADS, KV_HEADS, KV_HEADS].map(tensor);
            let segments: Vec<QuerySegment> = (0..tokens)
                .step_by(text as usize)
                .map(|start| QuerySegment::text(start, text.min(tokens - start)))
                .collect();
            let pairs: i64 = segments.iter().map(|segment| pairs(segment.length, window)).sum();
            let flops = 4.0 * (HEADS * WIDTH * pairs) as f64;
            let (forward, backward) =
                seconds(&q, || range_attention(&q, &k, &v, &segments, window).expect("shapes fit"));
            let (forward, backward) = (flops / forward / 1e9, 2.5 * flops / backward / 1e9);
            let window_text = window.map_or_else(|| "none".to_owned(), |window| window.to_string());
            println!(
                "| {tokens}, {text}, {window_text} | {kind:?} | {forward:.0} | {:.2} | {backward:.0} | {:.2} |",
                forward / rate,
                backward / rate
            );
        }
    }
}

/// Number of query-key pairs in a text that attention computes.
fn pairs(length: i64, window: Option<i64>) -> i64 {
    (1..=length).map(|position| window.map_or(position, |window| window.min(position))).sum()
}

/// Seconds of a forward and of a backward pass: the minimum of several runs.
fn seconds(leaf: &Tensor, call: impl Fn() -> Tensor) -> (f64, f64) {
    let mut best = (f64::INFINITY, f64::INFINITY);
    let begin = Instant::now();
    for run in 0..7 {
        let start = Instant::now();
        let out = call();
        best.0 = best.0.min(start.elapsed().as_secs_f64());
        let gradient = Tensor::ones_like(&out);
        let start = Instant::now();
        let _ = Tensor::run_backward(&[(&out * gradient).sum(Kind::Float)], &[leaf], false, false);
        best.1 = best.1.min(start.elapsed().as_secs_f64());
        if run > 0 && begin.elapsed().as_secs_f64() > 4.0 {
            break;
        }
    }
    best
}

/// GFLOP/s of products of 2048 x 2048 matrices: the maximum of several runs.
fn product_rate(kind: Kind) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let x = Tensor::randn([2048, 2048], CPU).to_kind(kind);
    let run = |_| {
        let start = Instant::now();
        let _out = torch_ext::linear(&x, &x, None).expect("shapes fit");
        2.0 * 2048_f64.powi(3) / start.elapsed().as_secs_f64() / 1e9
    };
    (0..6).map(run).fold(0.0, f64::max)
}
