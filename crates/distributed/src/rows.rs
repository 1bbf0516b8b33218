//! A sequence whose rows are divided among all ranks, and a differentiable tensor of all rows.
//!
//! The sequence is cut into twice as many chunks as there are ranks; rank `r` of `n` has the chunks `r` and `2 n - 1 - r`. Under causal
//! attention later rows see more, so this gives all ranks the same work (the Llama 3 paper, section 3.3.2).

use std::ffi::{CString, c_char, c_void};
use std::ops::Range;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, check};
use crate::ffi;
use crate::world::World;

/// The division of a sequence's rows among the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    rows: i64,
    ranks: usize,
}

impl Chunks {
    /// Divides `rows` rows among `ranks` ranks.
    ///
    /// # Errors
    /// When there are fewer rows than ranks.
    pub fn new(rows: i64, ranks: usize) -> Result<Self, Error> {
        if rows < ranks as i64 {
            return Err(Error::Unequal(format!("{rows} tokens cannot be spread over {ranks} processes: start fewer")));
        }
        Ok(Self { rows, ranks })
    }

    /// The number of rows of all ranks.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// The length of the longest chunk.
    fn length(&self) -> i64 {
        (self.rows + 2 * self.ranks as i64 - 1) / (2 * self.ranks as i64)
    }

    /// The rows of a rank, in order; the second range may be empty.
    #[must_use]
    pub fn of(&self, rank: usize) -> [Range<i64>; 2] {
        let length = self.length();
        let chunk = |number: usize| {
            let start = (number as i64 * length).min(self.rows);
            start..(start + length).min(self.rows)
        };
        [chunk(rank), chunk(2 * self.ranks - 1 - rank)]
    }

    /// The number of rows of a rank.
    #[must_use]
    pub fn count(&self, rank: usize) -> i64 {
        self.of(rank).iter().map(|chunk| chunk.end - chunk.start).sum()
    }

    /// Selects a rank's rows from a tensor with all of them along this dimension.
    pub fn pick(&self, all: &Tensor, dim: i64, rank: usize) -> Tensor {
        let parts = self.of(rank).map(|chunk| all.narrow(dim, chunk.start, chunk.end - chunk.start));
        Tensor::cat(&parts, dim)
    }
}

/// Rows that are divided among all ranks of a world.
pub struct Rows<'a> {
    world: &'a World,
    chunks: Chunks,
}

impl<'a> Rows<'a> {
    /// Divides a sequence of `rows` rows.
    ///
    /// # Errors
    /// The same as [`Chunks::new`].
    pub fn new(world: &'a World, rows: i64) -> Result<Self, Error> {
        Ok(Self { world, chunks: Chunks::new(rows, world.size())? })
    }

    /// The division of the rows.
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        self.chunks
    }

    /// Gathers the rows of all ranks in order, `[rows, ...]`, from this rank's own, `[own rows, ...]`. It is differentiable: the ranks'
    /// gradients for a row are summed in float32, in the order of the ranks. All ranks must run the backward pass in the same order.
    ///
    /// # Errors
    /// When another process has ended or called a different operation; in the backward pass this is an error of libtorch with the same
    /// message.
    ///
    /// # Safety
    /// This value must not move or be dropped before the backward pass of the result, and that must run on the calling thread, as it does
    /// on processors.
    pub unsafe fn joined(&self, own: &Tensor) -> Result<Tensor, Error> {
        let all = {
            let _no_grad = tch::no_grad_guard();
            self.gathered(&own.detach())?
        };
        let out = Tensor::new();
        let context = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: pointers to live tensors; `out` is assigned; the caller keeps this value.
        check(unsafe { ffi::hd_joined(out.as_ptr().cast_mut(), own.as_ptr(), all.as_ptr(), back, context) })?;
        Ok(out)
    }

    fn gathered(&self, own: &Tensor) -> Result<Tensor, Error> {
        // All ranks send as many rows as the longest share has.
        let mut shape = own.size();
        let count = shape[0];
        shape[0] = 2 * self.chunks.length();
        let padded = Tensor::zeros(&shape, (own.kind(), own.device()));
        padded.narrow(0, 0, count).copy_(own);
        let all = self.world.all_gather("rows", &padded)?;
        let ranks = self.world.size();
        let piece = |number: usize| {
            let rank = number.min(2 * ranks - 1 - number);
            let [first, second] = self.chunks.of(rank);
            let (before, chunk) = if number < ranks { (0, first) } else { (first.end - first.start, second) };
            all.get(rank as i64).narrow(0, before, chunk.end - chunk.start)
        };
        let pieces: Vec<Tensor> = (0..2 * ranks).map(piece).collect();
        Ok(Tensor::cat(&pieces, 0))
    }

    /// The gradient of this rank's rows: the sum of all ranks' gradients for them.
    fn scattered(&self, gradient: &Tensor) -> Result<Tensor, Error> {
        let _no_grad = tch::no_grad_guard();
        let wide = gradient.to_kind(Kind::Float).contiguous();
        let parts: Vec<Tensor> =
            (0..self.world.size()).map(|rank| self.chunks.pick(&wide, 0, rank).reshape([-1])).collect();
        let lengths: Vec<i64> = parts.iter().map(|part| part.numel() as i64).collect();
        let got = self.world.exchange("gradients of rows", &Tensor::cat(&parts, 0), &lengths)?;
        let mut sum = got.get(0).copy();
        for rank in 1..self.world.size() {
            sum += got.get(rank as i64);
        }
        let mut shape = gradient.size();
        shape[0] = self.chunks.count(self.world.rank());
        Ok(sum.reshape(&shape).to_kind(gradient.kind()))
    }
}

/// Called by libtorch in the backward pass.
extern "C" fn back(context: *mut c_void, gradient: *mut C_tensor, message: *mut *mut c_char) -> *mut C_tensor {
    // SAFETY: the value that `joined` was called on, which its caller keeps, and a tensor that lives through this call.
    let (rows, gradient) = unsafe { (&*context.cast::<Rows>(), Tensor::clone_from_ptr(gradient)) };
    let computed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rows.scattered(&gradient)));
    let error = match computed {
        Ok(Ok(own)) => {
            let pointer = own.as_ptr().cast_mut();
            // The caller frees it.
            std::mem::forget(own);
            return pointer;
        }
        Ok(Err(error)) => error,
        Err(_) => Error::Refused("the gradient of rows that are spread over processes".into()),
    };
    let text = CString::new(error.to_string()).unwrap_or_default();
    // SAFETY: a place to write to; a string that ends with 0.
    unsafe { *message = libc::strdup(text.as_ptr()) };
    std::ptr::null_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_rank_and_the_work_is_even() {
        for (rows, ranks) in [(16, 2), (17, 2), (29, 3), (5, 4), (4, 4), (1000, 8), (1, 1)] {
            let chunks = Chunks::new(rows, ranks).unwrap();
            let mut all: Vec<i64> = (0..ranks).flat_map(|rank| chunks.of(rank)).flatten().collect();
            all.sort_unstable();
            assert_eq!(all, (0..rows).collect::<Vec<_>>(), "{rows} rows, {ranks} ranks");
            assert!((0..ranks).all(|rank| chunks.count(rank) > 0), "{rows} rows, {ranks} ranks");
        }
        let chunks = Chunks::new(1008, 8).unwrap();
        let pairs = |rank| chunks.of(rank).into_iter().flatten().map(|row| row + 1).sum::<i64>();
        let (least, most) = ((0..8).map(pairs).min().unwrap(), (0..8).map(pairs).max().unwrap());
        assert_eq!(least, most);
        assert!(Chunks::new(3, 4).unwrap_err().to_string().contains("3 tokens cannot be spread over 4 processes"));
    }
}
