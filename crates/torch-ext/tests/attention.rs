//! Compares range attention with a dense masked softmax in float64: values, gradients, random shapes, windows, threads, memory.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use tch::{Device, Kind, Tensor};
use torch_ext::{Allocations, KeyRange, QuerySegment, range_attention};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Sizes of a case: queries, keys, heads, key heads, head width.
#[derive(Debug, Clone, Copy)]
struct Shape(i64, i64, i64, i64, i64);

fn leaves(shape: Shape, kind: Kind) -> [Tensor; 3] {
    let Shape(queries, keys, heads, kv_heads, width) = shape;
    let leaf = |tokens, heads| Tensor::randn([tokens, heads, width], CPU).to_kind(kind).set_requires_grad(true);
    [leaf(queries, heads), leaf(keys, kv_heads), leaf(keys, kv_heads)]
}

/// Mask of the keys to which each query attends, `[queries, keys]`, from the definition of [`QuerySegment`].
fn visible(queries: i64, keys: i64, segments: &[QuerySegment], window: Option<i64>) -> Tensor {
    let mut mask = vec![false; (queries * keys) as usize];
    for segment in segments {
        for query in 0..segment.length {
            let place = segment.position + query;
            for range in &segment.ranges {
                for key in 0..range.length {
                    let distance = place - (range.position + key);
                    mask[((segment.start + query) * keys + range.start + key) as usize] =
                        distance >= 0 && window.is_none_or(|window| distance < window);
                }
            }
        }
    }
    Tensor::from_slice(&mask).reshape([queries, keys])
}

/// Attention from its definition, with a mask, for float64 inputs.
fn dense([q, k, v]: &[Tensor; 3], segments: &[QuerySegment], window: Option<i64>) -> Tensor {
    let (queries, heads, width) = q.size3().unwrap();
    let group = heads / k.size()[1];
    let across = |x: &Tensor| x.repeat_interleave_self_int(group, 1, None).transpose(0, 1);
    let hidden = visible(queries, k.size()[0], segments, window).logical_not();
    let scores = q.transpose(0, 1).matmul(&across(k).transpose(1, 2)) / (width as f64).sqrt();
    let weights = scores.masked_fill(&hidden, -1e30).softmax(-1, Kind::Double);
    let nothing = hidden.all_dim(-1, true);
    weights.masked_fill(&nothing, 0.0).matmul(&across(v)).transpose(0, 1)
}

/// The largest absolute difference, divided by the largest absolute value of `b` or by 1 if that is larger. The lower bound 1 is
/// for queries that attend to one key: their exact gradient is 0, so the result is only rounding errors.
fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    f64::try_from((&a - &b).abs().max() / b.abs().max().clamp_min(1.0)).unwrap()
}

fn check(shape: Shape, kind: Kind, segments: &[QuerySegment], window: Option<i64>) {
    let inputs = leaves(shape, kind);
    let wide = inputs.each_ref().map(|x| x.detach().to_kind(Kind::Double).set_requires_grad(true));
    let found = range_attention(&inputs[0], &inputs[1], &inputs[2], segments, window).unwrap();
    let expected = dense(&wide, segments, window);
    let factor = Tensor::randn(found.size(), CPU).to_kind(kind);
    let tolerance = if kind == Kind::Float { 1e-5 } else { 2e-2 };
    let error = relative(&found, &expected);
    assert!(error < tolerance, "{shape:?} {kind:?} window {window:?} {segments:?}: values off by {error}");
    (found.to_kind(Kind::Float) * factor.to_kind(Kind::Float)).sum(Kind::Float).backward();
    (expected * factor.to_kind(Kind::Double)).sum(Kind::Double).backward();
    for (name, (x, wide)) in ["queries", "keys", "values"].iter().zip(inputs.iter().zip(&wide)) {
        let error = relative(&x.grad(), &wide.grad());
        assert!(
            error < tolerance,
            "{shape:?} {kind:?} window {window:?} {segments:?}: gradient of {name} off by {error}"
        );
    }
}

fn packed(lengths: &[i64]) -> Vec<QuerySegment> {
    let mut start = 0;
    let text = |&length: &i64| {
        start += length;
        QuerySegment::text(start - length, length)
    };
    lengths.iter().map(text).collect()
}

/// A prompt from `start` on, followed by its responses.
fn shared(start: i64, prompt: i64, responses: &[i64]) -> Vec<QuerySegment> {
    let mut all = vec![QuerySegment::text(start, prompt)];
    let mut end = start + prompt;
    for &length in responses {
        all.push(QuerySegment::behind(end, length, (start, prompt)));
        end += length;
    }
    all
}

#[test]
fn packed_rows_and_shared_prompts_equal_a_mask() {
    torch_ext::init();
    tch::manual_seed(11);
    // Cases: padding at the end, empty texts, lengths near the sizes of tiles and blocks.
    let rows = [
        packed(&[20, 1, 0, 33, 9, 20]),
        packed(&[127, 129, 16, 31]),
        packed(&[300]),
        [shared(0, 12, &[15, 7]), shared(34, 20, &[30, 0, 1])].concat(),
        [shared(0, 140, &[100, 3]), packed(&[]), shared(243, 1, &[50])].concat(),
    ];
    for segments in &rows {
        for (kind, heads, kv_heads, width) in [
            (Kind::Float, 4, 4, 16),
            (Kind::Float, 6, 2, 64),
            (Kind::Float, 7, 1, 24),
            (Kind::Float, 3, 1, 128),
            (Kind::BFloat16, 6, 2, 64),
            (Kind::BFloat16, 4, 4, 16),
            (Kind::BFloat16, 7, 1, 24),
            (Kind::BFloat16, 5, 1, 80),
        ] {
            for window in [None, Some(1), Some(130)] {
                check(Shape(310, 310, heads, kv_heads, width), kind, segments, window);
            }
        }
    }
}

/// Queries and keys in separate tensors, and several ranges of keys with gaps: context-parallel training needs this.
#[test]
fn ranges_with_gaps_equal_a_mask() {
    torch_ext::init();
    tch::manual_seed(12);
    let range = |start, length, position| KeyRange { start, length, position };
    let segments = [
        QuerySegment {
            start: 3,
            length: 50,
            position: 210,
            ranges: vec![range(0, 40, 0), range(60, 130, 60), range(200, 50, 210)],
        },
        // Attends to no key of the second range, which is after all queries.
        QuerySegment { start: 53, length: 20, position: 5, ranges: vec![range(0, 10, 0), range(100, 10, 90)] },
        // Attends to no key.
        QuerySegment { start: 80, length: 5, position: 0, ranges: vec![] },
    ];
    for window in [None, Some(100), Some(300)] {
        check(Shape(90, 250, 4, 2, 32), Kind::Float, &segments, window);
    }
}

/// splitmix64
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as i64
    }
}

#[test]
fn random_shapes_equal_a_mask() {
    torch_ext::init();
    tch::manual_seed(13);
    let mut draw = Draw(13);
    for case in 0..60 {
        let (kv_heads, group) = (1 + draw.below(3), 1 + draw.below(5));
        let width = 2 * (1 + draw.below(50));
        let mut segments = Vec::new();
        let mut end = draw.below(4);
        for _ in 0..1 + draw.below(5) {
            let lengths: Vec<i64> = (0..draw.below(4)).map(|_| draw.below(150)).collect();
            let prompt = 1 + draw.below(150);
            segments.extend(shared(end, prompt, &lengths));
            end += prompt + lengths.iter().sum::<i64>() + draw.below(3);
        }
        let window = (case % 3 == 0).then(|| 1 + draw.below(200));
        let kind = if case % 5 == 4 { Kind::BFloat16 } else { Kind::Float };
        check(Shape(end, end, kv_heads * group, kv_heads, width), kind, &segments, window);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    torch_ext::init();
    tch::manual_seed(14);
    let segments = [shared(0, 400, &[300, 200]), vec![QuerySegment::text(900, 700)]].concat();
    let results = |inputs: &[Tensor; 3], threads| {
        tch::set_num_threads(threads);
        let inputs = inputs.each_ref().map(|x| x.detach().set_requires_grad(true));
        let out = range_attention(&inputs[0], &inputs[1], &inputs[2], &segments, Some(500)).unwrap();
        (&out * &out).sum(Kind::Float).backward();
        [out.detach(), inputs[0].grad(), inputs[1].grad(), inputs[2].grad()]
    };
    let before = tch::get_num_threads();
    for kind in [Kind::Float, Kind::BFloat16] {
        let inputs = leaves(Shape(1600, 1600, 6, 3, 64), kind);
        let alone = results(&inputs, 1);
        for threads in [2, 3, 5] {
            for (found, expected) in results(&inputs, threads).iter().zip(&alone) {
                assert!(found.equal(expected), "{kind:?}, {threads} threads");
            }
        }
    }
    tch::set_num_threads(before);
}

#[test]
fn what_is_not_a_number_stays_visible() {
    torch_ext::init();
    for kind in [Kind::Float, Kind::BFloat16] {
        let x = Tensor::ones([200, 2, 16], CPU).to_kind(kind);
        let _ = x.get(150).fill_(f64::NAN);
        let ones = Tensor::ones([200, 2, 16], CPU).to_kind(kind);
        for (q, k, v) in [(&x, &ones, &ones), (&ones, &x, &ones), (&ones, &ones, &x)] {
            let out = range_attention(q, k, v, &[QuerySegment::text(0, 200)], None).unwrap();
            assert!(bool::try_from(out.get(150).isnan().all()).unwrap());
            // The queries of a tile share matrix products, so a NaN in a key may reach earlier queries of the same tile, but not of
            // earlier tiles.
            assert!(!bool::try_from(out.narrow(0, 0, 96).isnan().any()).unwrap());
        }
    }
}

#[test]
fn no_tensor_has_the_size_of_queries_times_keys() {
    torch_ext::init();
    let tokens = 20_000;
    let inputs = leaves(Shape(tokens, tokens, 2, 1, 8), Kind::Float);
    let segments = shared(0, 9000, &[5000, 6000]);
    let ((), taken) = Allocations::of(|| {
        range_attention(&inputs[0], &inputs[1], &inputs[2], &segments, Some(600)).unwrap().sum(Kind::Float).backward();
    })
    .unwrap();
    let row = (tokens * 16 * 4) as u64;
    assert!(taken.largest == row && taken.most < 8 * row, "{taken:?} for rows of {row}");
}

#[test]
fn what_does_not_fit_is_an_error() {
    torch_ext::init();
    let q = Tensor::zeros([10, 2, 16], CPU);
    let message =
        |q: &Tensor, segments: &[QuerySegment]| range_attention(q, q, q, segments, None).unwrap_err().to_string();
    assert!(message(&q, &[QuerySegment::text(0, 11)]).contains("ends behind the last token"));
    assert!(message(&q, &[QuerySegment::behind(0, 3, (5, 2))]).contains("must ascend"));
    let error = message(&q.to_kind(Kind::Half), &[QuerySegment::text(0, 10)]);
    assert!(error.contains("range attention takes float32 and bfloat16"), "{error}");
}
