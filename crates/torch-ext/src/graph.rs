//! Recorded steps: work on a GPU that is put on its stream once, kept, and repeated as a whole without the host's calls. The
//! step reads and writes tensors that stay where they are.

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

/// A step as a function of tensors that stay where they are. It returns nothing: its results are in such tensors too.
pub type Step = Box<dyn Fn() -> Result<(), OpError> + Send>;

/// The working memory of a recorded step, for others of the same recorder.
#[derive(Debug)]
pub struct Memory<'a>(*mut c_void, PhantomData<&'a ()>);

/// A recorded step.
pub trait Recorded: Send + Debug {
    /// Computes the step again, with what its tensors hold now.
    ///
    /// # Errors
    /// What the device refuses.
    fn replay(&self) -> Result<(), OpError>;

    /// Its working memory, if others can share it.
    fn memory(&self) -> Option<Memory<'_>> {
        None
    }
}

/// Records steps.
pub trait Recorder: Send + Sync + Debug {
    /// Whether it records what is computed on this device.
    fn fits(&self, device: Device) -> bool;

    /// Records `step`, whose tensors are on the device of `like`. The step may be computed while it is recorded; afterwards
    /// its results are those of a replay. Working memory is shared with `beside`, an earlier result of this recorder; the two are
    /// then not replayed at the same time.
    ///
    /// # Errors
    /// Why the step cannot be recorded. It can still be called.
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
        // The first call makes what later ones find: the working memory of products, and loaded kernels.
        let recorded = (graph.step)().and_then(|()| {
            // SAFETY: a live handle, and null or the live handle of another graph.
            check(unsafe { tx_graph_begin(graph.handle, memory) })?;
            (graph.step)()
        });
        // SAFETY: a live handle. The stream is left in any case.
        let ended = check(unsafe { tx_graph_end(graph.handle) });
        recorded.and(ended)?;
        Ok(Box::new(graph))
    }
}

/// A graph. It keeps the step, and with it the tensors whose addresses were recorded.
struct CudaGraph {
    handle: *mut c_void,
    step: Step,
}

// SAFETY: the handle is not shared, so one thread at a time uses it; libtorch's class is bound to no thread once it is recorded.
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

    /// Without a GPU there is an error that says so; neither the step nor libtorch's class is called.
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
