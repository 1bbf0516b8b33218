//! Tests the GPU code path without a GPU. Operators run their kernels in the emulation, and variable-length attention uses plain
//! formulas. Values and gradients are compared with those of the CPU operators.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use tch::{Device, Kind, Tensor};
use torch_ext::{
    GpuKernels, IGNORED, KeyRange, QuerySegment, embedding, emulated, linear_cross_entropy, linear_cross_entropy_sum,
    range_attention, rms_norm, rotate_half, silu_gate, varlen_attention, varlen_fits,
};

const OWN: GpuKernels = GpuKernels::Own;

fn leaf(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind).set_requires_grad(true)
}

fn relative(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!((a.size(), a.kind()), (b.size(), b.kind()));
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    f64::try_from((&a - &b).norm() / b.norm().clamp_min(1e-9)).unwrap()
}

/// The value of `op`, then the gradients of a weighted sum of it with respect to the inputs that require one.
fn value_and_gradients(inputs: &[Tensor], op: impl Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
    let y = op(inputs);
    // Not from libtorch's default generator: other tests of this process draw from it at the same time.
    let places = Tensor::arange(y.numel() as i64, (Kind::Float, Device::Cpu));
    let weight = (places * 12.9898).sin().reshape(y.size()).to_kind(y.kind());
    let loss = (&y * weight).sum(Kind::Float);
    let leaves: Vec<&Tensor> = inputs.iter().filter(|x| x.requires_grad()).collect();
    let mut all = vec![y.detach()];
    all.extend(Tensor::run_backward(&[loss], &leaves, false, false));
    all
}

/// Compares values and gradients of the CPU and the emulated GPU path. The emulation must launch `kernels` kernels.
#[track_caller]
fn same(inputs: &[Tensor], kernels: usize, op: impl Fn(&[Tensor]) -> Tensor) {
    let expected = value_and_gradients(inputs, &op);
    let (found, launched) = emulated(|| value_and_gradients(inputs, &op));
    assert_eq!(launched, kernels);
    let tolerance = if inputs[0].kind() == Kind::Float { 2e-6 } else { 5e-3 };
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = relative(found, expected);
        assert!(error < tolerance, "{:?}, result {number}: {error}", inputs[0].kind());
    }
}

#[test]
fn fused_operators() {
    torch_ext::init();
    for kind in [Kind::Float, Kind::BFloat16] {
        for shape in [vec![3, 5, 37], vec![1, 64], vec![150, 72]] {
            let width = [shape[shape.len() - 1]];
            // The kernels: the value, the gradient of x, the gradient of the gain in strips, and the sum of the strips.
            same(&[leaf(&shape, kind), leaf(&width, kind)], 4, |x| rms_norm(&x[0], &x[1], 1e-5, OWN).unwrap());
            let frozen = leaf(&width, kind).detach();
            same(&[leaf(&shape, kind), frozen], 2, |x| rms_norm(&x[0], &x[1], 1e-5, OWN).unwrap());
            same(&[leaf(&shape, kind), leaf(&shape, kind)], 2, |x| silu_gate(&x[0], &x[1], OWN).unwrap());
        }
        for (heads, width) in [(3, 12), (2, 64)] {
            let angles = Tensor::randn([2, 5, 1, width], (Kind::Float, Device::Cpu));
            let inputs = [leaf(&[2, 5, heads, width], kind), angles.cos().to_kind(kind), angles.sin().to_kind(kind)];
            same(&inputs, 2, |x| rotate_half(&x[0], &x[1], &x[2], OWN).unwrap());
        }
    }
}

#[test]
fn the_heads_cross_entropy() {
    torch_ext::init();
    let labels = Tensor::randint(50, [23], (Kind::Int64, Device::Cpu));
    let _ = labels.narrow(0, 4, 6).fill_(IGNORED);
    let weights = Tensor::rand([23], (Kind::Float, Device::Cpu));
    for kind in [Kind::Float, Kind::BFloat16] {
        let inputs = [leaf(&[23, 16], kind), leaf(&[50, 16], kind)];
        // Three chunks of tokens, in the forward and in the backward pass.
        same(&inputs, 6, |x| linear_cross_entropy(&x[0], &x[1], &labels, Some(8), OWN).unwrap());
        same(&inputs, 3, |x| linear_cross_entropy_sum(&x[0], &x[1], &labels, Some(&weights), Some(8), OWN).unwrap());
    }
}

/// With `GpuKernels::Libtorch` no own kernel is launched, and the results are those of the plain formulas. On the CPU path, the
/// argument changes no bit.
#[test]
fn own_kernels_are_an_argument() {
    torch_ext::init();
    let labels = Tensor::randint(50, [23], (Kind::Int64, Device::Cpu));
    let all = |x: &[Tensor], on_gpu| {
        let y = rms_norm(&x[0], &x[1], 1e-5, on_gpu).unwrap();
        let y = silu_gate(&y, &x[0], on_gpu).unwrap();
        let turned = y.reshape([1, 23, 2, 8]);
        let y = rotate_half(&turned, &x[2], &x[3], on_gpu).unwrap().reshape([23, 16]);
        linear_cross_entropy(&y, &x[4], &labels, Some(8), on_gpu).unwrap()
    };
    let angles = Tensor::randn([1, 23, 1, 8], (Kind::Float, Device::Cpu));
    let (x, gain, head) = (leaf(&[23, 16], Kind::Float), leaf(&[16], Kind::Float), leaf(&[50, 16], Kind::Float));
    let inputs = [x, gain, angles.cos(), angles.sin(), head];
    same(&inputs, 0, |x| all(x, GpuKernels::Libtorch));
    let [own, others] = [OWN, GpuKernels::Libtorch].map(|on_gpu| value_and_gradients(&inputs, |x| all(x, on_gpu)));
    assert!(own.iter().zip(&others).all(|(own, other)| own.equal(other)));
    let (_, launched) = emulated(|| value_and_gradients(&inputs, |x| all(x, OWN)));
    // The gate and the rotation launch two kernels each (forward, backward), the cross-entropy two for each of three chunks,
    // and the norm four (forward, and three for the gradients).
    assert_eq!(launched, 2 + 2 + 6 + 4);
}

/// The GPU path of the embedding's gradient, which does not read the number of different ids, gives the same bits as the CPU path.
#[test]
fn the_embeddings_gradient_needs_no_count() {
    torch_ext::init();
    for (shape, most) in [(vec![3, 40], 7), (vec![1, 1], 50), (vec![2, 30], 50), (vec![0], 50)] {
        let ids = Tensor::randint(most, &shape, (Kind::Int64, Device::Cpu));
        let table = leaf(&[50, 16], Kind::BFloat16);
        let gradient = || value_and_gradients(std::slice::from_ref(&table), |x| embedding(&x[0], &ids).unwrap());
        let (expected, (found, _)) = (gradient(), emulated(gradient));
        assert_eq!(found[1].size(), [50, 16]);
        assert!(found[1].equal(&expected[1]), "{shape:?}");
    }
}

#[test]
fn what_the_kernels_do_not_take_goes_the_plain_way() {
    torch_ext::init();
    let double = Tensor::randn([3, 8], (Kind::Double, Device::Cpu));
    let empty = Tensor::zeros([0, 8], (Kind::Float, Device::Cpu));
    let (shapes, launched) = emulated(|| {
        let gain = |x: &Tensor| Tensor::ones([8], (x.kind(), Device::Cpu));
        [&double, &empty].map(|x| rms_norm(x, &gain(x), 1e-5, OWN).unwrap().size())
    });
    assert_eq!((shapes, launched), ([vec![3, 8], vec![0, 8]], 0));
}

/// A prompt of 5 with three responses, padding, a text, a prompt without response, a prompt with one response, and padding.
fn shared_prompts() -> (i64, Vec<QuerySegment>) {
    let text = QuerySegment::text;
    let segments = vec![
        text(0, 5),
        QuerySegment::behind(5, 3, (0, 5)),
        QuerySegment::behind(8, 1, (0, 5)),
        QuerySegment::behind(9, 6, (0, 5)),
        text(20, 7),
        text(27, 4),
        text(31, 9),
        QuerySegment::behind(40, 2, (31, 9)),
    ];
    (300, segments)
}

fn attention(tokens: i64, segments: &[QuerySegment], window: Option<i64>) {
    for kind in [Kind::Float, Kind::BFloat16] {
        let inputs = [leaf(&[tokens, 6, 16], kind), leaf(&[tokens, 2, 16], kind), leaf(&[tokens, 2, 16], kind)];
        let both = [
            value_and_gradients(&inputs, |x| range_attention(&x[0], &x[1], &x[2], segments, window).unwrap()),
            value_and_gradients(&inputs, |x| varlen_attention(&x[0], &x[1], &x[2], segments, window).unwrap()),
        ];
        let tolerance = if kind == Kind::Float { 2e-6 } else { 1e-2 };
        for (number, (expected, found)) in both[0].iter().zip(&both[1]).enumerate() {
            let error = relative(found, expected);
            assert!(error < tolerance, "{kind:?}, result {number}: {error}");
        }
    }
}

#[test]
fn texts_as_sequences() {
    torch_ext::init();
    let text = QuerySegment::text;
    attention(19, &[text(0, 19)], None);
    attention(200, &[text(0, 3), text(3, 40), text(43, 1), text(190, 10)], None);
    attention(64, &[text(2, 30), text(32, 32)], Some(7));
    attention(64, &[text(0, 64)], Some(2));
}

#[test]
fn shared_prompts_as_two_calls_joined() {
    torch_ext::init();
    let (tokens, segments) = shared_prompts();
    attention(tokens, &segments, None);
}

#[test]
fn other_segments_are_refused() {
    torch_ext::init();
    let q = leaf(&[12, 2, 16], Kind::BFloat16);
    let (earlier, own) = (KeyRange { start: 0, length: 4, position: 0 }, KeyRange { start: 4, length: 8, position: 6 });
    let later = QuerySegment { start: 4, length: 8, position: 6, ranges: vec![earlier, own] };
    let refused =
        |segments: &[QuerySegment], window| varlen_attention(&q, &q, &q, segments, window).unwrap_err().to_string();
    let text = refused(&[later], None);
    assert!(text.contains("a segment that sees a part of what stands before it"), "{text}");
    let text = refused(&[QuerySegment::text(0, 4), QuerySegment::behind(4, 8, (0, 4))], Some(3));
    assert!(text.contains("a segment that sees a part"), "{text}");
    // On a CPU outside of the emulation, varlen_attention is not used: training uses range_attention.
    assert!(!varlen_fits(&q, &[QuerySegment::text(0, 12)], None));
}
