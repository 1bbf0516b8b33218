//! Loads the compiled kernels on a GPU and launches them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::path::Path;

use crate::check::Machine;
use crate::driver::{Driver, Handle};
use crate::launch::{Element, Launch, Limits};
use crate::nvrtc::{Architecture, Image, Nvrtc};
use crate::{KernelError, Origin, compiled, source};

/// The loaded kernels of one GPU.
pub struct Kernels {
    driver: Driver,
    context: usize,
    /// `CUfunction` handles by kernel name.
    functions: HashMap<String, usize>,
    limits: Limits,
    /// The GPU's architecture, for reports.
    pub architecture: Architecture,
    /// Whether the image was compiled now or read from the cache folder, for reports.
    pub origin: Origin,
}

impl Kernels {
    /// Compiles the kernels for GPU number `device` of this process, or reads them from the folder `cache`, and loads them into the
    /// GPU's primary context.
    ///
    /// # Errors
    /// When there is no such GPU, or NVRTC or the driver reports an error.
    pub fn load(driver: Driver, nvrtc: &Nvrtc, device: u32, cache: &Path) -> Result<Self, KernelError> {
        let (_, architecture, _) = driver.device(device)?;
        let (image, origin, _) = compiled(nvrtc, architecture, cache)?;
        Self::of_image(driver, &image, origin, device)
    }

    /// Loads a compiled image into the primary context of GPU number `device`.
    ///
    /// # Errors
    /// When the driver reports an error.
    pub fn of_image(driver: Driver, image: &Image, origin: Origin, device: u32) -> Result<Self, KernelError> {
        let (_, architecture, multiprocessors) = driver.device(device)?;
        let context = driver.context(device)?;
        // SAFETY: a live context; an image as NVRTC made it (PTX ends with NUL there); names that end with NUL.
        let functions = unsafe {
            driver.check("cuCtxSetCurrent", (driver.api.set_current)(context))?;
            let mut module: Handle = std::ptr::null_mut();
            let status = (driver.api.module_load)(&raw mut module, image.bytes.as_ptr().cast());
            driver.check("cuModuleLoadData", status)?;
            let mut functions = HashMap::new();
            for name in source::KERNELS {
                for element in Element::ALL {
                    let kernel = format!("{name}_{}", element.name());
                    let symbol = CString::new(kernel.as_str()).unwrap_or_default();
                    let mut function: Handle = std::ptr::null_mut();
                    let status = (driver.api.module_function)(&raw mut function, module, symbol.as_ptr());
                    driver.check("cuModuleGetFunction", status)?;
                    functions.insert(kernel, function as usize);
                }
            }
            functions
        };
        let limits = Limits::of(multiprocessors);
        Ok(Self { driver, context: context as usize, functions, limits, architecture, origin })
    }

    /// The limits with which launches for this GPU are planned.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Launches a kernel on `stream` (0: the default stream) and returns without waiting for it.
    ///
    /// # Errors
    /// When there is no kernel of this name, or the driver reports an error.
    ///
    /// # Safety
    /// The addresses in `launch` are of this GPU's memory, of the sizes that the kernel reads and writes, and stay valid until the
    /// kernel has run.
    pub unsafe fn launch(&self, launch: &Launch, stream: u64) -> Result<(), KernelError> {
        let function = self.functions.get(&launch.kernel).ok_or_else(|| KernelError::Kernel {
            kernel: launch.kernel.clone(),
            reason: "there is no kernel of this name".into(),
        })?;
        let mut values: Vec<u64> = launch.arguments.iter().map(|argument| argument.bits()).collect();
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let ([grid_x, grid_y], [block_x, block_y]) = (launch.grid, launch.block);
        let none = std::ptr::null_mut();
        // SAFETY: a function of a loaded module; as many values as it has arguments, read before the call returns.
        unsafe {
            // The backward pass runs in threads of libtorch's autograd, which may have no current context yet.
            let api = &self.driver.api;
            self.driver.check("cuCtxSetCurrent", (api.set_current)(self.context as Handle))?;
            let status = (api.launch)(
                *function as Handle,
                grid_x,
                grid_y,
                1,
                block_x,
                block_y,
                1,
                0,
                stream as Handle,
                pointers.as_mut_ptr(),
                none,
            );
            self.driver.check("cuLaunchKernel", status)
        }
    }
}

/// A GPU whose memory comes from the driver, for [`crate::check`] without libtorch.
pub struct Gpu {
    kernels: Kernels,
    memory: RefCell<Vec<u64>>,
}

impl Gpu {
    /// Makes a machine from loaded kernels.
    #[must_use]
    pub fn new(kernels: Kernels) -> Self {
        Self { kernels, memory: RefCell::default() }
    }
}

impl Machine for Gpu {
    fn limits(&self) -> Limits {
        self.kernels.limits
    }

    fn place(&self, bytes: &[u8]) -> Result<u64, KernelError> {
        let driver = &self.kernels.driver;
        let mut address = 0;
        // SAFETY: `address` is written; the copy is not longer than the allocation. An empty slice gets memory too.
        unsafe {
            let status = (driver.api.alloc)(&raw mut address, bytes.len().max(16));
            driver.check("cuMemAlloc", status)?;
            self.memory.borrow_mut().push(address);
            let status = (driver.api.to_device)(address, bytes.as_ptr().cast(), bytes.len());
            driver.check("cuMemcpyHtoD", status)?;
        }
        Ok(address)
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), KernelError> {
        let driver = &self.kernels.driver;
        // SAFETY: `into` has room for `into.len()` bytes.
        let status = unsafe { (driver.api.to_host)(into.as_mut_ptr().cast(), address, into.len()) };
        driver.check("cuMemcpyDtoH", status)
    }

    fn launch(&self, launch: &Launch) -> Result<(), KernelError> {
        // SAFETY: `check` plans launches over memory that `place` gave, of the sizes that it says.
        unsafe { self.kernels.launch(launch, 0) }
    }

    fn wait(&self) -> Result<(), KernelError> {
        let driver = &self.kernels.driver;
        // SAFETY: the default stream.
        driver.check("cuStreamSynchronize", unsafe { (driver.api.stream_wait)(std::ptr::null_mut()) })
    }

    fn clear(&self) {
        for address in self.memory.borrow_mut().drain(..) {
            // SAFETY: from cuMemAlloc, freed once. If this fails, the memory stays allocated until the process ends.
            unsafe { (self.kernels.driver.api.free)(address) };
        }
    }
}
