//! Compares paged attention in the emulation with libtorch's `scaled_dot_product_attention`.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use tch::{Device, Kind, Tensor};
use torch_ext::decoder::PAGE;
use torch_ext::{GpuKernels, PageTable, emulated, page_attention, page_attention_fits};

const OWN: GpuKernels = GpuKernels::Own;

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
}

/// The keys of a sequence, `[keys, kv_heads, width]`.
fn gathered(cache: &Tensor, pages: &[u32], keys: usize) -> Tensor {
    let pages: Vec<i64> = pages.iter().map(|&page| i64::from(page)).collect();
    cache.index_select(0, &Tensor::from_slice(&pages)).flatten(0, 1).narrow(0, 0, keys as i64)
}

fn expected(q: &Tensor, keys: &Tensor, values: &Tensor, window: Option<i64>) -> Tensor {
    let length = keys.size()[0];
    let seen = window.map_or(length, |window| window.min(length));
    let last = |x: &Tensor| x.narrow(0, length - seen, seen).to_kind(Kind::Float).transpose(0, 1).unsqueeze(0);
    let q = q.to_kind(Kind::Float).unsqueeze(1).unsqueeze(0);
    let none = None::<&Tensor>;
    let out = Tensor::scaled_dot_product_attention(&q, &last(keys), &last(values), none, 0.0, false, None::<f64>, true);
    out.squeeze_dim(0).squeeze_dim(1)
}

#[test]
fn pages_are_read_in_place() {
    torch_ext::init();
    for (kind, tolerance) in [(Kind::Float, 2e-6), (Kind::BFloat16, 1e-2)] {
        for (heads, kv_heads, width, window) in [(9, 3, 64, None), (4, 4, 20, Some(30)), (16, 2, 128, Some(300))] {
            let keys = random(&[60, PAGE as i64, kv_heads, width], kind);
            let values = random(&[60, PAGE as i64, kv_heads, width], kind);
            assert!(!page_attention_fits(&keys, heads, OWN) && emulated(|| page_attention_fits(&keys, heads, OWN)).0);
            let q = random(&[4, heads, width], kind);
            // One sequence of three splits of its keys, one without keys, and two that share their first page.
            let pages: [Vec<u32>; 4] = [(10..50).rev().collect(), vec![], vec![3, 7], vec![3, 55, 56]];
            let lengths = [600, 0, PAGE + 1, 3 * PAGE];
            let sequences: Vec<(&[u32], usize)> = pages.iter().map(Vec::as_slice).zip(lengths).collect();
            let table = PageTable::new(&sequences, Device::Cpu).unwrap();
            let (out, launched) = emulated(|| page_attention(&q, (&keys, &values), &table, window).unwrap());
            assert_eq!((out.size(), out.kind(), launched), (q.size(), kind, 2));
            assert_eq!(f64::try_from(out.get(1).abs().max()).unwrap(), 0.0);
            for row in [0, 2, 3] {
                let (pages, length) = sequences[row];
                let all = [&keys, &values].map(|cache| gathered(cache, pages, length));
                let want = expected(&q.get(row as i64), &all[0], &all[1], window);
                let error = (out.get(row as i64).to_kind(Kind::Float) - &want).norm() / want.norm();
                let error = f64::try_from(error).unwrap();
                assert!(error < tolerance, "{kind:?} {heads} {window:?}, row {row}: {error}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    torch_ext::init();
    let cache = random(&[4, PAGE as i64, 2, 16], Kind::Float);
    let q = random(&[1, 4, 16], Kind::Float);
    let table = |pages: &[u32], keys| PageTable::new(&[(pages, keys)], Device::Cpu);
    assert_eq!(
        table(&[0, 1], 2 * PAGE + 1).unwrap_err().to_string(),
        format!("libtorch: {} keys in 2 pages of {PAGE}", 2 * PAGE + 1)
    );
    let refused = |q: &Tensor, table: PageTable| {
        emulated(|| page_attention(q, (&cache, &cache), &table, None)).0.unwrap_err().to_string()
    };
    // A page number outside of the cache, and a number of query heads that is no multiple of the KV heads.
    assert!(refused(&q, table(&[4], 3).unwrap()).contains("pages up to 4"));
    assert!(refused(&random(&[1, 3, 16], Kind::Float), table(&[0], 3).unwrap()).contains("queries [1, 3, 16]"));
    // A page after the last key is not read, so its number may be outside of the cache.
    assert!(emulated(|| page_attention(&q, (&cache, &cache), &table(&[0, 9], 3).unwrap(), None)).0.is_ok());
    assert!(!emulated(|| page_attention_fits(&cache, 3, OWN)).0);
    assert!(!emulated(|| page_attention_fits(&cache, 4, GpuKernels::Libtorch)).0);
    assert!(!emulated(|| page_attention_fits(&cache.to_kind(Kind::Half), 4, OWN)).0);
}

/// The flags belong to the whole process. Other tests of this program may run at the same time: CPU results do not depend on them.
#[test]
fn operators_without_an_order_of_sums_are_told() {
    torch_ext::init();
    assert!(!torch_ext::is_deterministic());
    torch_ext::set_deterministic(true).unwrap();
    assert!(torch_ext::is_deterministic());
    assert_eq!(std::env::var("CUBLAS_WORKSPACE_CONFIG").as_deref(), Ok(":4096:8"));
    torch_ext::set_deterministic(false).unwrap();
    assert!(!torch_ext::is_deterministic());
}
