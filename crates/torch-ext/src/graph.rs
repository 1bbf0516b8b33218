//! Recorded steps (CUDA graphs): the kernel launches of a step are recorded once and replayed with one host call. The step reads
//! and writes tensors whose addresses do not change between replays.

use std::ffi::{c_char, c_void};
use std::fmt::{self, Debug, Formatter};
use std::marker::PhantomData;
use std::ptr::null_mut;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_graph_enter(out: *mut *mut c_void, like: *const C_tensor) -> *mut c_char;
    fn tx_graph_begin(graph: *mut c_void, beside: *mut c_void) -> *mut c_char;
    fn tx_graph_end(graph: *mut c_void) -> *mut c_char;
    fn tx_graph_replay(graph: *mut c_void) -> *mut c_char;
    fn tx_graph_free(graph: *mut c_void);
}

/// A step: a function that reads its inputs from tensors at fixed addresses and writes its results to such tensors.
pub type Step = Box<dyn Fn() -> Result<(), OpError> + Send>;

/// Handle to the working memory of a recorded step, which other steps of the same recorder can share.
#[derive(Debug)]
pub struct Memory<'a>(*mut c_void, PhantomData<&'a ()>);

/// A recorded step.
pub trait Recorded: Send + Debug {
    /// Runs the step again on the current contents of its tensors.
    ///
    /// # Errors
    /// When the device reports an error.
    fn replay(&self) -> Result<(), OpError>;

    /// The working memory of the step, if other steps can share it.
    fn memory(&self) -> Option<Memory<'_>> {
        None
    }
}

/// Records steps.
pub trait Recorder: Send + Sync + Debug {
    /// Whether this recorder can record work on `device`.
    fn fits(&self, device: Device) -> bool;

    /// Records `step`, whose tensors are on the device of `like`. Recording may or may not run the step: call
    /// [`Recorded::replay`] to get its results. The recording shares its working memory with `beside`, an earlier result of this
    /// recorder; the two must then not be replayed at the same time.
    ///
    /// # Errors
    /// When the step cannot be recorded. The caller can still run the step directly.
    fn record(&self, step: Step, like: &Tensor, beside: Option<&dyn Recorded>) -> Result<Box<dyn Recorded>, OpError>;
}

/// CUDA graphs of libtorch: one host call launches all kernels of a step.
#[derive(Debug, Clone, Copy, Default)]
pub struct CudaGraphs;

impl Recorder for CudaGraphs {
    fn fits(&self, device: Device) -> bool {
        device.is_cuda()
    }

    fn record(&self, step: Step, like: &Tensor, beside: Option<&dyn Recorded>) -> Result<Box<dyn Recorded>, OpError> {
        let mut handle = null_mut();
        // SAFETY: a live tensor; the handle is written on success.
        check(unsafe { tx_graph_enter(&raw mut handle, like.as_ptr()) })?;
        let graph = CudaGraph { handle, step };
        let memory = beside.and_then(Recorded::memory).map_or(null_mut(), |memory| memory.0);
        // Warm-up before the recording: the first call allocates cuBLAS's working memory and loads kernels.
        let recorded = (graph.step)().and_then(|()| {
            // SAFETY: a live handle, and null or the live handle of another graph.
            check(unsafe { tx_graph_begin(graph.handle, memory) })?;
            (graph.step)()
        });
        // SAFETY: a live handle. tx_graph_end restores the stream that was current before, also after an error.
        let ended = check(unsafe { tx_graph_end(graph.handle) });
        recorded.and(ended)?;
        Ok(Box::new(graph))
    }
}

/// A recorded CUDA graph. It keeps the step, and so the tensors whose addresses were recorded, alive.
struct CudaGraph {
    handle: *mut c_void,
    step: Step,
}

// SAFETY: the handle is not shared, so only one thread at a time uses it. libtorch's graph can be replayed from any thread.
unsafe impl Send for CudaGraph {}

impl Debug for CudaGraph {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.debug_struct("CudaGraph").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: the handle is of tx_graph_enter, and is not used again.
        unsafe { tx_graph_free(self.handle) };
    }
}

impl Recorded for CudaGraph {
    fn replay(&self) -> Result<(), OpError> {
        // SAFETY: a live handle.
        check(unsafe { tx_graph_replay(self.handle) })
    }

    fn memory(&self) -> Option<Memory<'_>> {
        Some(Memory(self.handle, PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// For a CPU tensor, `record` returns an error that says so, and calls neither the step nor libtorch's graph class.
    #[test]
    fn a_processor_has_no_graphs() {
        crate::init();
        assert!(!CudaGraphs.fits(Device::Cpu) && CudaGraphs.fits(Device::Cuda(1)));
        let like = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        let step: Step = Box::new(|| Err(OpError::of("called")));
        let text = CudaGraphs.record(step, &like, None).unwrap_err().to_string();
        assert!(text.contains("graphs are for tensors on a GPU, not on cpu"), "{text}");
    }
}
