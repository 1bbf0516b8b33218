//! Process groups of libtorch's c10d and their collectives, unchecked: [`crate::World`] checks them.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr::{null, null_mut};
use std::time::Duration;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::{Error, check};
use crate::ffi::{self, Message, RawGroup, RawWork};
use crate::store::{Store, count, milliseconds, text};

/// A group of processes. All of them must call the same collectives in the same order with tensors of the same type and length. libtorch
/// does not check this; it aborts, hangs or sums the wrong tensors otherwise.
pub struct Group(*mut RawGroup);

/// A collective in progress, on tensors that outlive it.
pub struct Work<'t>(*mut RawWork, PhantomData<&'t Tensor>);

impl Work<'_> {
    /// Waits for the end. On a GPU the stream waits, not the caller.
    ///
    /// # Errors
    /// When a process is gone or the group's limit has passed.
    pub fn wait(mut self) -> Result<(), Error> {
        let work = std::mem::replace(&mut self.0, null_mut());
        // SAFETY: a live handle, which the function frees.
        check(unsafe { ffi::hd_work_wait(work) })
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: as in `wait`; the tensors must not be freed before the end.
            let _ = check(unsafe { ffi::hd_work_wait(self.0) });
        }
    }
}

impl Group {
    /// A group over TCP (Gloo) that listens on `address`; with `None`, on the interface in `GLOO_SOCKET_IFNAME` or that of the host name.
    /// A collective that takes longer than `limit` fails.
    ///
    /// # Errors
    /// When the processes do not find each other within `limit`.
    pub fn gloo(
        store: &Store,
        rank: usize,
        size: usize,
        address: Option<&str>,
        limit: Duration,
    ) -> Result<Self, Error> {
        let address = address.map(text).transpose()?;
        let (address, mut group) = (address.as_ref().map_or(null(), |address| address.as_ptr()), null_mut());
        // SAFETY: a live store, a NUL-terminated address or null, a place to write to.
        check(unsafe {
            ffi::hd_group_gloo(store.raw(), count(rank)?, count(size)?, address, milliseconds(limit), &raw mut group)
        })?;
        Ok(Self(group))
    }

    /// A group of GPUs (NCCL), one for each process: `device` is the index of this process's. Needs `libtorch_cuda.so`
    /// 2.11.0, which [`torch_ext::init`] opens. Not yet run on a GPU.
    ///
    /// # Errors
    /// When there is no GPU or no such library.
    pub fn nccl(store: &Store, rank: usize, size: usize, device: usize, limit: Duration) -> Result<Self, Error> {
        let mut group = null_mut();
        // SAFETY: a live store and a place to write to.
        check(unsafe {
            let (rank, size, device) = (count(rank)?, count(size)?, count(device)?);
            ffi::hd_group_nccl(store.raw(), rank, size, device, milliseconds(limit), &raw mut group)
        })?;
        Ok(Self(group))
    }

    /// Sums `tensor` over all processes, in place.
    ///
    /// # Errors
    /// When libtorch reports an error.
    pub fn all_reduce<'t>(&self, tensor: &'t mut Tensor) -> Result<Work<'t>, Error> {
        // SAFETY: a live group and tensor; the same holds below.
        self.start(|group, out| unsafe { ffi::hd_all_reduce(group, pointer(tensor), out) })
    }

    /// Sums `tensor` over all processes, in place on `root`; on the others its values are undefined afterwards.
    ///
    /// # Errors
    /// When libtorch reports an error.
    pub fn reduce<'t>(&self, tensor: &'t mut Tensor, root: usize) -> Result<Work<'t>, Error> {
        let root = count(root)?;
        self.start(|group, out| unsafe { ffi::hd_reduce(group, pointer(tensor), root, out) })
    }

    /// Copies the values of `root` to all processes.
    ///
    /// # Errors
    /// When libtorch reports an error.
    pub fn broadcast<'t>(&self, tensor: &'t mut Tensor, root: usize) -> Result<Work<'t>, Error> {
        let root = count(root)?;
        self.start(|group, out| unsafe { ffi::hd_broadcast(group, pointer(tensor), root, out) })
    }

    /// Concatenates the `input` of all processes in `output`.
    ///
    /// # Errors
    /// When libtorch reports an error.
    pub fn all_gather<'t>(&self, output: &'t mut Tensor, input: &'t Tensor) -> Result<Work<'t>, Error> {
        self.start(|group, out| unsafe { ffi::hd_all_gather(group, pointer(output), pointer(input), out) })
    }

    /// Sends `to[k]` elements of `input` to process k, and receives `from[k]` elements from it into `output`.
    ///
    /// # Errors
    /// When libtorch reports an error, or when the numbers do not match the tensors.
    pub fn all_to_all<'t>(
        &self,
        output: &'t mut Tensor,
        input: &'t Tensor,
        from: &[i64],
        to: &[i64],
    ) -> Result<Work<'t>, Error> {
        let sums = [from.iter().sum::<i64>(), to.iter().sum()];
        let lengths = [output.numel() as i64, input.numel() as i64];
        if sums != lengths || from.len() != to.len() {
            return Err(Error::Refused(format!("all_to_all of {sums:?} elements in tensors of {lengths:?}")));
        }
        let size = count(to.len())?;
        self.start(|group, out| unsafe {
            ffi::hd_all_to_all(group, pointer(output), pointer(input), from.as_ptr(), to.as_ptr(), size, out)
        })
    }

    fn start<'t>(&self, call: impl FnOnce(*const RawGroup, *mut *mut RawWork) -> Message) -> Result<Work<'t>, Error> {
        let mut work = null_mut();
        check(call(self.0, &raw mut work))?;
        Ok(Work(work, PhantomData))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: made by `cpp/group.cpp`, and freed once.
        let _ = check(unsafe { ffi::hd_group_free(self.0) });
    }
}

fn pointer(tensor: &Tensor) -> *mut C_tensor {
    tensor.as_ptr().cast_mut().cast()
}

/// libtorch's flight recorder of this process as JSON: the last collectives, at most `TORCH_FR_BUFFER_SIZE` (none without that variable).
/// Read it while a stall lasts, because a failed collective counts as done.
///
/// # Errors
/// When libtorch reports an error.
pub fn flight_recorder() -> Result<String, Error> {
    let mut out: *mut c_char = null_mut();
    // SAFETY: a place to write to; the string is copied and freed.
    unsafe {
        check(ffi::hd_flight_recorder(&raw mut out))?;
        let text = CStr::from_ptr(out).to_string_lossy().into_owned();
        libc::free(out.cast());
        Ok(text)
    }
}
