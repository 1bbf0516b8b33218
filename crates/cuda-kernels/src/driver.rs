//! The CUDA driver API, opened at run time. The types are those of `cuda.h` of CUDA 13.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

use libloading::Library;

use crate::KernelError;
use crate::nvrtc::Architecture;

/// A handle to a context, module, function or stream.
pub type Handle = *mut c_void;
/// The result of a call (`CUresult`); 0 is success.
pub type Status = c_int;

macro_rules! api {
    ($($(#[$doc:meta])* $field:ident = $symbol:literal: ($($argument:ty),*);)*) => {
        /// The functions of the driver API that this crate uses. Tests pass functions of their own.
        #[derive(Clone, Copy)]
        pub struct Api {
            $($(#[$doc])* pub $field: unsafe extern "C" fn($($argument),*) -> Status,)*
        }

        impl Api {
            fn of(library: &Library) -> Result<Self, String> {
                Ok(Self {
                    // SAFETY: the types are those of cuda.h.
                    $($field: *unsafe { library.get(concat!($symbol, "\0").as_bytes()) }
                        .map_err(|error| error.to_string())?,)*
                })
            }
        }
    };
}

api! {
    /// Arguments: flags.
    init = "cuInit": (c_uint);
    /// Arguments: count.
    device_count = "cuDeviceGetCount": (*mut c_int);
    /// Arguments: device, ordinal.
    device_get = "cuDeviceGet": (*mut c_int, c_int);
    /// Arguments: name, bytes of room for it, device.
    device_name = "cuDeviceGetName": (*mut c_char, c_int, c_int);
    /// Arguments: value, attribute, device.
    device_attribute = "cuDeviceGetAttribute": (*mut c_int, c_int, c_int);
    /// Arguments: context, device.
    primary_retain = "cuDevicePrimaryCtxRetain": (*mut Handle, c_int);
    /// Arguments: context.
    set_current = "cuCtxSetCurrent": (Handle);
    /// Arguments: module, image.
    module_load = "cuModuleLoadData": (*mut Handle, *const c_void);
    /// Arguments: function, module, name.
    module_function = "cuModuleGetFunction": (*mut Handle, Handle, *const c_char);
    /// Arguments: function, grid x y z, block x y z, bytes of dynamic shared memory, stream, the kernel's arguments, extra.
    launch = "cuLaunchKernel": (
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
    );
    /// Arguments: stream.
    stream_wait = "cuStreamSynchronize": (Handle);
    /// Arguments: address, bytes.
    alloc = "cuMemAlloc_v2": (*mut u64, usize);
    /// Arguments: address.
    free = "cuMemFree_v2": (u64);
    /// Arguments: destination, source, bytes.
    to_device = "cuMemcpyHtoD_v2": (u64, *const c_void, usize);
    /// Arguments: destination, source, bytes.
    to_host = "cuMemcpyDtoH_v2": (*mut c_void, u64, usize);
    /// Arguments: status, name.
    error_name = "cuGetErrorName": (Status, *mut *const c_char);
}

/// Values of `CUdevice_attribute`: number of multiprocessors, and the compute capability.
const MULTIPROCESSORS: c_int = 16;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

/// An opened and initialised driver.
pub struct Driver {
    pub(crate) api: Api,
    /// Keeps the library of the functions in `api` loaded.
    _library: Option<Library>,
}

impl Driver {
    /// Opens `libcuda.so.1`, which the driver's installation provides.
    ///
    /// # Errors
    /// When there is no such library, or `cuInit` fails (for example because there is no GPU).
    pub fn open() -> Result<Self, KernelError> {
        Self::open_at(Path::new("libcuda.so.1"))
    }

    /// Opens the driver library at `path`.
    ///
    /// # Errors
    /// As [`Driver::open`].
    pub fn open_at(path: &Path) -> Result<Self, KernelError> {
        let trouble = |reason: String| KernelError::NoDriver { reason };
        // SAFETY: the driver's initialisers have no precondition.
        let library = unsafe { Library::new(path) }.map_err(|error| trouble(error.to_string()))?;
        let api = Api::of(&library).map_err(trouble)?;
        let driver = Self { api, _library: Some(library) };
        driver.init()?;
        Ok(driver)
    }

    /// Makes a driver from the functions in `api`.
    ///
    /// # Errors
    /// When `init` fails.
    pub fn of(api: Api) -> Result<Self, KernelError> {
        let driver = Self { api, _library: None };
        driver.init()?;
        Ok(driver)
    }

    fn init(&self) -> Result<(), KernelError> {
        // SAFETY: `flags` must be 0.
        self.check("cuInit", unsafe { (self.api.init)(0) })
    }

    /// Turns a status into an error.
    pub(crate) fn check(&self, call: &'static str, code: Status) -> Result<(), KernelError> {
        if code == 0 {
            return Ok(());
        }
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: `name` is written; the string is the driver's own.
        let name = unsafe {
            let status = (self.api.error_name)(code, &raw mut name);
            if status != 0 || name.is_null() {
                "an unknown error".into()
            } else {
                CStr::from_ptr(name).to_string_lossy().into_owned()
            }
        };
        Err(KernelError::Driver { call, name, code })
    }

    /// Number of GPUs that the driver shows to this process (see `CUDA_VISIBLE_DEVICES`).
    ///
    /// # Errors
    /// When the driver reports an error.
    pub fn devices(&self) -> Result<u32, KernelError> {
        let mut count = 0;
        // SAFETY: `count` is written.
        self.check("cuDeviceGetCount", unsafe { (self.api.device_count)(&raw mut count) })?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// The name, architecture and number of multiprocessors of GPU number `index`.
    ///
    /// # Errors
    /// When there is no GPU of this number, or the driver reports another error.
    pub fn device(&self, index: u32) -> Result<(String, Architecture, u32), KernelError> {
        let device = self.handle(index)?;
        let attribute = |which: c_int| {
            let mut value = 0;
            // SAFETY: `value` is written.
            let status = unsafe { (self.api.device_attribute)(&raw mut value, which, device) };
            self.check("cuDeviceGetAttribute", status).map(|()| u32::try_from(value).unwrap_or(0))
        };
        let mut name = [0 as c_char; 128];
        // SAFETY: the driver writes a NUL-terminated name of at most the given length.
        let name = unsafe {
            let status = (self.api.device_name)(name.as_mut_ptr(), name.len() as c_int, device);
            self.check("cuDeviceGetName", status)?;
            CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
        };
        let architecture = Architecture { major: attribute(CAPABILITY_MAJOR)?, minor: attribute(CAPABILITY_MINOR)? };
        Ok((name, architecture, attribute(MULTIPROCESSORS)?))
    }

    fn handle(&self, index: u32) -> Result<c_int, KernelError> {
        let mut device = 0;
        let ordinal = c_int::try_from(index).unwrap_or(c_int::MAX);
        // SAFETY: `device` is written.
        self.check("cuDeviceGet", unsafe { (self.api.device_get)(&raw mut device, ordinal) })?;
        Ok(device)
    }

    /// The primary context of GPU number `index`. libtorch uses the same context.
    pub(crate) fn context(&self, index: u32) -> Result<Handle, KernelError> {
        let device = self.handle(index)?;
        let mut context = std::ptr::null_mut();
        // SAFETY: `context` is written; the reference that is taken is kept until the process ends.
        let status = unsafe { (self.api.primary_retain)(&raw mut context, device) };
        self.check("cuDevicePrimaryCtxRetain", status)?;
        Ok(context)
    }
}
