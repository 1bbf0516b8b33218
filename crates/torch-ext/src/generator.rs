//! Random number generators with a state of their own. By default all of libtorch's operators share one generator per device.

use std::ffi::{c_char, c_void};
use std::ptr::{NonNull, null_mut};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_generator_new(out: *mut *mut c_void, cuda: i64, seed: u64) -> *mut c_char;
    fn tx_generator_free(generator: *mut c_void);
    fn tx_generator_uniform(
        out: *mut C_tensor,
        generator: *mut c_void,
        sizes: *const i64,
        dimensions: usize,
    ) -> *mut c_char;
    fn tx_generator_dropout(out: *mut C_tensor, generator: *mut c_void, x: *const C_tensor, rate: f64) -> *mut c_char;
}

/// A random number generator. Its numbers depend only on its seed and on the earlier draws from it. They are the numbers of
/// libtorch's default generator after `manual_seed(seed)`.
#[derive(Debug)]
pub struct Generator {
    raw: NonNull<c_void>,
}

// SAFETY: the C++ object is not bound to a thread.
unsafe impl Send for Generator {}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: the pointer is from tx_generator_new and is freed once.
        unsafe { tx_generator_free(self.raw.as_ptr()) }
    }
}

impl Generator {
    /// A generator with this seed on `device`.
    ///
    /// # Errors
    /// [`OpError`] when the device does not exist.
    pub fn new(device: Device, seed: u64) -> Result<Self, OpError> {
        let cuda = match device {
            Device::Cuda(index) => index as i64,
            _ => -1,
        };
        let mut raw = null_mut();
        // SAFETY: `raw` is written on success.
        check(unsafe { tx_generator_new(&raw mut raw, cuda, seed) })?;
        NonNull::new(raw).map(|raw| Self { raw }).ok_or_else(|| OpError::new("no generator was made".into()))
    }

    /// A float32 tensor of this shape with uniform numbers in `[0, 1)`, on the generator's device.
    ///
    /// # Errors
    /// [`OpError`] when there is not enough memory.
    pub fn uniform(&mut self, shape: &[i64]) -> Result<Tensor, OpError> {
        let out = Tensor::new();
        // SAFETY: a live generator, `shape.len()` sizes; `out` is written by assignment.
        check(unsafe {
            tx_generator_uniform(out.as_ptr().cast_mut(), self.raw.as_ptr(), shape.as_ptr(), shape.len())
        })?;
        Ok(out)
    }

    /// Dropout: sets a share `rate` of the entries of `x` to zero and scales the others so that the mean is kept. `x` is on the
    /// generator's device. Differentiable.
    ///
    /// # Errors
    /// [`OpError`] when `x` is on another device, or there is not enough memory.
    pub fn dropout(&mut self, x: &Tensor, rate: f64) -> Result<Tensor, OpError> {
        let out = Tensor::new();
        // SAFETY: a live generator and a live tensor; `out` is written by assignment.
        check(unsafe { tx_generator_dropout(out.as_ptr().cast_mut(), self.raw.as_ptr(), x.as_ptr(), rate) })?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn the_numbers_are_those_of_libtorchs_own_generator_and_leave_it_alone() {
        crate::init();
        let options = (Kind::Float, Device::Cpu);
        tch::manual_seed(5);
        let expected = Tensor::rand([3, 7], options);
        let next = Tensor::rand([4], options);
        let dropped = {
            tch::manual_seed(6);
            Tensor::ones([50], options).dropout(0.3, true)
        };
        tch::manual_seed(5);
        let mut own = Generator::new(Device::Cpu, 5).unwrap();
        assert_eq!(own.uniform(&[3, 7]).unwrap(), expected);
        let ones = Tensor::ones([50], options);
        assert_eq!(Generator::new(Device::Cpu, 6).unwrap().dropout(&ones, 0.3).unwrap(), dropped);
        assert_eq!((Tensor::rand([3, 7], options), Tensor::rand([4], options)), (expected, next));
    }
}
