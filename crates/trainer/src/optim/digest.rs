//! A digest of the bits of tensors, computed on their device.
//!
//! A piece of a tensor with elements `w_i`, read as integers, gives `Σ (2 i + 1) w_i`. The pieces are combined like the digits of a
//! number to an odd base, all modulo 2^64. The order of the sums does not matter, so kernels and thread counts do not change the digest.
//! Odd factors have inverses modulo 2^64: a single differing element always changes the digest.

use tch::{Kind, Tensor};
use torch_ext::OpError;

use crate::persist::state::Named;

/// Number of elements of a piece; as 64-bit integers they fit into a processor's cache.
const PIECE: i64 = 1 << 17;
/// The base of the combination; it must be odd.
const BASE: i64 = 0x9e37_79b9_7f4a_7c15_u64 as i64;

/// The digest of each tensor. All tensors are on the same device.
///
/// # Errors
/// When libtorch reports an error.
pub(crate) fn digests<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<i64>, OpError> {
    let _no_grad = tch::no_grad_guard();
    torch_ext::catch(|| {
        let tensors: Vec<&Tensor> = tensors.into_iter().collect();
        let Some(first) = tensors.first() else { return Ok(Vec::new()) };
        let factors = Tensor::arange(PIECE, (Kind::Int64, first.device())) * 2 + 1;
        let found: Vec<Tensor> = tensors.iter().map(|tensor| digest(tensor, &factors)).collect();
        Ok(Vec::<i64>::try_from(Tensor::stack(&found, 0))?)
    })
}

/// The digests of the tensors, with their names.
///
/// # Errors
/// When libtorch reports an error.
pub(crate) fn named(tensors: &Named) -> Result<Vec<(String, i64)>, OpError> {
    let found = digests(tensors.iter().map(|(_, tensor)| tensor))?;
    Ok(tensors.iter().map(|(name, _)| name.clone()).zip(found).collect())
}

fn digest(tensor: &Tensor, factors: &Tensor) -> Tensor {
    let bits = match tensor.kind().elt_size_in_bytes() {
        1 => Kind::Uint8,
        2 => Kind::Int16,
        4 => Kind::Int,
        _ => Kind::Int64,
    };
    let flat = tensor.detach().contiguous().view([-1]).view_dtype(bits);
    let mut sum = Tensor::zeros([], (Kind::Int64, tensor.device()));
    let length = flat.size1().unwrap_or_default();
    for start in (0..length).step_by(PIECE as usize) {
        let count = PIECE.min(length - start);
        let piece = flat.narrow(0, start, count).to_kind(Kind::Int64);
        sum = sum * BASE + (piece * factors.narrow(0, 0, count)).sum(Kind::Int64);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn of(tensor: &Tensor) -> i64 {
        digests([tensor]).unwrap()[0]
    }

    #[test]
    fn every_bit_counts_and_so_does_the_place() {
        torch_ext::init();
        for kind in [Kind::Float, Kind::BFloat16] {
            let numbers = Tensor::arange(3 * PIECE / 2 + 5, (kind, Device::Cpu)) * 0.25 - 1000.0;
            let expected = of(&numbers);
            assert_eq!(of(&numbers.copy()), expected);
            let bits = if kind == Kind::Float { Kind::Int } else { Kind::Int16 };
            for (place, bit) in [(0, 0), (7, 14), (PIECE - 1, 3), (PIECE, 8), (3 * PIECE / 2 + 4, 0)] {
                let other = numbers.copy();
                let _ = other
                    .view_dtype(bits)
                    .narrow(0, place, 1)
                    .bitwise_xor_tensor_(&Tensor::from(1_i64 << bit).to_kind(bits));
                assert_ne!(of(&other), expected, "bit {bit} of element {place} of {kind:?}");
            }
            let swapped = numbers.copy();
            swapped.narrow(0, 0, 1).copy_(&numbers.narrow(0, 4001, 1));
            swapped.narrow(0, 4001, 1).copy_(&numbers.narrow(0, 0, 1));
            assert_ne!(of(&swapped), expected);
        }
        // 0 and -0 are equal numbers with different bits.
        assert_ne!(of(&Tensor::from_slice(&[0.0_f32])), of(&Tensor::from_slice(&[-0.0_f32])));
    }

    #[test]
    fn a_digest_is_the_sum_of_its_formula() {
        torch_ext::init();
        let words = [3_i32, -7, i32::MAX, 11];
        let expected: i64 = words.iter().enumerate().map(|(i, &w)| (2 * i as i64 + 1) * i64::from(w)).sum();
        assert_eq!(of(&Tensor::from_slice(&words)), expected);
        assert_eq!(of(&Tensor::zeros([0], (Kind::Float, Device::Cpu))), 0);
        assert!(digests([]).unwrap().is_empty());
    }
}
