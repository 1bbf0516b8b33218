//! Runs the text of the kernels in the emulation and compares values and gradients with float64 formulas: random shapes, tails,
//! empty tensors, addresses that are no multiple of 16, fewer blocks than rows, and several orders of warps and lanes.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use cuda_kernels::check::{Case, Finding, Op, run};
use cuda_kernels::{Element, Emulator, Launch};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

fn hold(case: Case, seed: u64) -> Vec<Finding> {
    let mut first: Option<Vec<Finding>> = None;
    for order in [0, 1, 0x51ed] {
        let findings = run(&Emulator::new(order, 3), case, seed).unwrap();
        for finding in &findings {
            assert!(finding.holds(), "{case:?}, order {order}: {finding:?}");
        }
        // Every sum has one fixed order, so results do not depend on the order of the threads.
        let exact = |findings: &[Finding]| findings.iter().map(|f| (f.worst, f.overall)).collect::<Vec<_>>();
        let before = first.get_or_insert_with(|| findings.clone());
        assert_eq!(exact(before), exact(&findings), "{case:?}, order {order}");
    }
    first.unwrap_or_default()
}

fn random(op: Op) {
    let mut random = ChaCha8Rng::seed_from_u64(21);
    let mut compared = 0;
    for element in Element::ALL {
        for seed in 0..16 {
            compared += hold(Case::random(op, element, &mut random), seed).len();
        }
    }
    assert!(compared > 16, "{compared}");
}

#[test]
fn rms_norm() {
    random(Op::RmsNorm);
}

#[test]
fn silu_gate() {
    random(Op::SiluGate);
}

#[test]
fn rotate() {
    random(Op::Rotate);
}

#[test]
fn cross_entropy() {
    random(Op::CrossEntropy);
}

#[test]
fn paged_attention() {
    random(Op::PagedAttention);
}

#[test]
fn sample() {
    random(Op::Sample);
}

/// Shapes as in real models: rows that are multiples of 16 bytes, blocks of several warps, several strips of rows.
#[test]
fn shapes_of_models() {
    for element in Element::ALL {
        for shifted in [false, true] {
            let shapes = [
                (Op::RmsNorm, [70, 576, 1]),
                (Op::RmsNorm, [300, 64, 1]),
                (Op::RmsNorm, [2, 4096, 1]),
                (Op::SiluGate, [3 * 1536, 1, 1]),
                (Op::Rotate, [5, 9, 32]),
                (Op::CrossEntropy, [9, 4096, 1]),
                (Op::PagedAttention, [2, 130, 64]),
                (Op::PagedAttention, [1, 70, 128]),
                (Op::PagedAttention, [1, 20, 256]),
                (Op::Sample, [3, 8192, 1]),
            ];
            for (op, shape) in shapes {
                assert!(!hold(Case { op, element, shape, shifted }, 7).is_empty());
            }
        }
    }
}

/// Empty tensors need no launch; only the gain's gradient over no rows is written, as 0.
#[test]
fn empty_tensors() {
    for element in Element::ALL {
        for shape in [[0, 64, 1], [3, 0, 1], [0, 0, 1]] {
            for op in Op::ALL {
                hold(Case { op, element, shape, shifted: false }, 7);
            }
        }
    }
}

#[test]
fn the_emulation_refuses_what_a_gpu_would() {
    let emulator = Emulator::new(0, 1);
    let launch = |kernel: &str, grid, block| Launch { kernel: kernel.into(), grid, block, arguments: Vec::new() };
    // SAFETY: the emulation refuses these launches before it reads arguments.
    let refused = |launch: &Launch| unsafe { emulator.run(launch) }.unwrap_err().to_string();
    assert_eq!(refused(&launch("nothing_f32", [1, 1], [32, 1])), "nothing_f32: there is no kernel of this name");
    assert_eq!(refused(&launch("rotate_f32", [0, 1], [32, 1])), "rotate_f32: a grid has a block");
}
