//! Own GPU kernels: compiles, loads and launches the kernels of the crate `cuda-kernels`. The C++ operators call this module
//! through `cpp/gpu.cpp`.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cuda_kernels::decoding::{PagedAttention, Sample};
use cuda_kernels::{Driver, Element, Emulator, KernelError, Kernels, Launch, Limits, Nvrtc, find_nvrtc, ops};

use crate::cuda::{CudaLibrary, init};
use crate::ops::{OpError, check};

type Ready = extern "C" fn(i64) -> bool;
type Run = unsafe extern "C" fn(i64, *mut c_void, c_int, bool, *const u64, *const i64, f64) -> *mut c_char;

unsafe extern "C" {
    fn tx_gpu_register(ready: Ready, run: Run);
    fn tx_gpu_settings() -> *mut c_char;
    fn tx_gpu_emulate(on: bool) -> bool;
    fn tx_gpu_deterministic(on: bool) -> *mut c_char;
    fn tx_gpu_is_deterministic() -> bool;
    fn tx_gpu_emulated() -> bool;
}

/// Selects the kernels of the operators on a GPU: an argument of the operators and a property of a model. On a CPU both values
/// give the same results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GpuKernels {
    /// The kernels of `cuda-kernels` if they can be compiled for the device, otherwise libtorch's operators.
    #[default]
    Own,
    /// libtorch's operators.
    Libtorch,
}

impl GpuKernels {
    pub(crate) fn own(self) -> bool {
        self == Self::Own
    }
}

/// The kernels of a GPU, or the reason why there are none.
type Found = Result<Arc<Kernels>, String>;

/// The result for each GPU that was requested, by its number.
static LOADED: OnceLock<Mutex<HashMap<i64, Found>>> = OnceLock::new();

thread_local! {
    /// Number of kernels that this thread has launched in the emulation.
    static EMULATED: Cell<usize> = const { Cell::new(0) };
}

/// Registers this module with the C++ operators. [`init`] calls it after it has loaded libtorch's CUDA library, and [`emulated`]
/// calls it; only the first call has an effect.
pub(crate) fn register() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: two functions of static lifetime with the types that `cpp/gpu.cpp` declares.
    ONCE.call_once(|| unsafe { tx_gpu_register(ready, run) });
}

/// Makes cuBLAS accumulate bfloat16 matrix products in float32, also where it splits the reduction (split-K).
pub(crate) fn settle() {
    // SAFETY: sets a flag of libtorch's context, which cannot fail; a message would only be dropped.
    unsafe { libc::free(tx_gpu_settings().cast()) };
}

/// Turns libtorch's deterministic algorithms on or off, for the whole process. If they are on, operators that have a
/// deterministic variant use it (flash attention's backward pass, additions by index), and operators that have none return an
/// error. Also sets `CUBLAS_WORKSPACE_CONFIG`, unless the user has set it: with it, cuBLAS products are reproducible. Call this
/// function before the first matrix product on a GPU. CPU operators give the same bits in both cases.
///
/// # Errors
/// When libtorch reports an error.
pub fn set_deterministic(on: bool) -> Result<(), OpError> {
    if on {
        // SAFETY: called while a command starts, before it computes on a GPU; cuBLAS reads the variable there.
        unsafe { libc::setenv(c"CUBLAS_WORKSPACE_CONFIG".as_ptr(), c":4096:8".as_ptr(), 0) };
    }
    // SAFETY: sets flags of libtorch's context.
    check(unsafe { tx_gpu_deterministic(on) })
}

/// Whether [`set_deterministic`] is on.
#[must_use]
pub fn is_deterministic() -> bool {
    // SAFETY: reads a flag of libtorch's context.
    unsafe { tx_gpu_is_deterministic() }
}

/// The kernels of GPU `device`. The first call compiles them, or reads them from the cache folder, and loads them; later calls
/// return the same kernels.
///
/// # Errors
/// A sentence that says what is missing, or the message of NVRTC or of the driver.
pub fn gpu_kernels(device: i64) -> Result<Arc<Kernels>, String> {
    let loaded = LOADED.get_or_init(Mutex::default);
    let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.entry(device).or_insert_with(|| load(device)).clone()
}

fn load(device: i64) -> Found {
    let CudaLibrary::Loaded(library) = init() else { return Err("libtorch's CUDA library is not loaded".into()) };
    let cache = pinned::cache_dir().map_err(|error| error.to_string())?.join("kernels");
    let index = u32::try_from(device).map_err(|_| format!("there is no GPU {device}"))?;
    let kernels = || -> Result<Kernels, KernelError> {
        let nvrtc = Nvrtc::open(&find_nvrtc(library.parent().map(Path::to_owned).as_deref())?)?;
        Kernels::load(Driver::open()?, &nvrtc, index, &cache)
    };
    kernels().map(Arc::new).map_err(|error| error.to_string())
}

extern "C" fn ready(device: i64) -> bool {
    static SAID: OnceLock<()> = OnceLock::new();
    match gpu_kernels(device) {
        Ok(_) => true,
        Err(reason) => {
            SAID.get_or_init(|| {
                eprintln!("GPU {device}: own kernels are not used, libtorch's operators take their place: {reason}");
            });
            false
        }
    }
}

/// Runs an operation of `herd::gpu::Op` on `stream` of GPU `device`, or in the emulation if `device` is negative. Returns null,
/// or an error message allocated with `strdup`.
///
/// # Safety
/// `addresses` and `numbers` have as many values as the operation takes; the addresses are of live tensors on the device.
unsafe extern "C" fn run(
    device: i64,
    stream: *mut c_void,
    op: c_int,
    bf16: bool,
    addresses: *const u64,
    numbers: *const i64,
    eps: f64,
) -> *mut c_char {
    let element = if bf16 { Element::Bf16 } else { Element::F32 };
    // SAFETY: as the caller promises.
    let result = unsafe {
        if device < 0 {
            let emulator = Emulator::new(0, 4);
            let launches = plan(op, element, addresses, numbers, eps, Limits { blocks: 4 });
            launches.and_then(|launches| {
                EMULATED.set(EMULATED.get() + launches.len());
                launches.iter().try_for_each(|launch| emulator.run(launch)).map_err(|error| error.to_string())
            })
        } else {
            gpu_kernels(device).and_then(|kernels| {
                let launches = plan(op, element, addresses, numbers, eps, kernels.limits())?;
                let mut each = launches.iter();
                each.try_for_each(|launch| kernels.launch(launch, stream as u64)).map_err(|error| error.to_string())
            })
        }
    };
    let Err(message) = result else { return std::ptr::null_mut() };
    let message = CString::new(message).unwrap_or_default();
    // SAFETY: a NUL-terminated string; the caller frees the copy.
    unsafe { libc::strdup(message.as_ptr()) }
}

/// The launches of operation number `op` (`herd::gpu::Op`). The callers in `cpp/fused.cpp` and `generation.rs` define the order
/// of its tensors and numbers.
///
/// # Safety
/// As [`run`].
unsafe fn plan(
    op: c_int,
    element: Element,
    addresses: *const u64,
    numbers: *const i64,
    eps: f64,
    limits: Limits,
) -> Result<Vec<Launch>, String> {
    // SAFETY: the caller passes as many tensors and numbers as the operation takes.
    let (t, n) = unsafe {
        let (tensors, count) = match op {
            0 => (4, 2),
            1 => (7, 3),
            2 => (3, 1),
            3 => (5, 1),
            4 | 5 => (4, 3),
            6 | 8 => (4, 2),
            7 => (8, 9),
            other => return Err(format!("there is no operation {other}")),
        };
        (std::slice::from_raw_parts(addresses, tensors), std::slice::from_raw_parts(numbers, count))
    };
    Ok(match op {
        0 => {
            let (rows, width) = (n[0], n[1]);
            let [x, gain, y, scale] = [t[0], t[1], t[2], t[3]];
            ops::RmsNorm { element, x, gain, y, scale, rows, width, eps: eps as f32 }.plan(limits)
        }
        1 => {
            let (rows, width, strips) = (n[0], n[1], n[2]);
            let [g, x, gain, scale, gx, g_gain, parts] = [t[0], t[1], t[2], t[3], t[4], t[5], t[6]];
            ops::RmsNormBackward { element, g, x, gain, scale, gx, g_gain, parts, rows, width, strips }.plan(limits)
        }
        2 => ops::SiluGate { element, a: t[0], b: t[1], y: t[2], count: n[0] }.plan(limits),
        3 => ops::SiluGateBackward { element, g: t[0], a: t[1], b: t[2], ga: t[3], gb: t[4], count: n[0] }.plan(limits),
        4 | 5 => {
            let [x, cosine, sine, y] = [t[0], t[1], t[2], t[3]];
            let (tokens, heads, half) = (n[0], n[1], n[2]);
            ops::Rotate { element, back: op == 5, x, cosine, sine, y, tokens, heads, half }.plan(limits)
        }
        7 => {
            let [q, keys, values, table, lengths, out, sums, softs] = [t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]];
            let [rows, heads, kv_heads, width, pages_each] = [n[0], n[1], n[2], n[3], n[4]];
            let [page_tokens, window, split, longest] = [n[5], n[6], n[7], n[8]];
            let scale = eps as f32;
            PagedAttention {
                element,
                q,
                keys,
                values,
                table,
                lengths,
                out,
                sums,
                softs,
                rows,
                heads,
                kv_heads,
                width,
                pages_each,
                page_tokens,
                window,
                split,
                longest,
                scale,
            }
            .plan(limits)
        }
        8 => {
            let [z, parameters, sums, chosen] = [t[0], t[1], t[2], t[3]];
            Sample { element, z, parameters, sums, chosen, rows: n[0], vocab: n[1] }.plan(limits)
        }
        _ => {
            let [z, labels, factor, nll] = [t[0], t[1], t[2], t[3]];
            ops::CrossEntropy { element, z, labels, factor, nll, rows: n[0], vocab: n[1] }.plan(limits)
        }
    })
}

/// Runs `work` with emulated GPU kernels instead of the fused CPU operators, in this thread. Returns the result and the number
/// of kernels launched. Tests use this function to run the GPU code path from the operator to the launch. It is slow.
pub fn emulated<T>(work: impl FnOnce() -> T) -> (T, usize) {
    /// Restores the flag, also after a panic.
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: sets a flag of this thread.
            unsafe { tx_gpu_emulate(self.0) };
        }
    }
    register();
    // SAFETY: sets a flag of this thread.
    let _back = Back(unsafe { tx_gpu_emulate(true) });
    let before = EMULATED.get();
    let result = work();
    (result, EMULATED.get() - before)
}

/// Whether this thread is inside of [`emulated`].
pub(crate) fn is_emulated() -> bool {
    // SAFETY: reads a flag of this thread.
    unsafe { tx_gpu_emulated() }
}

/// Number of GPUs that the NVIDIA driver shows to this process.
///
/// # Errors
/// When there is no driver, or it reports an error.
pub fn driver() -> Result<u32, String> {
    Driver::open().and_then(|driver| driver.devices()).map_err(|error| error.to_string())
}

/// Free memory of a GPU in bytes, according to the CUDA runtime that libtorch loads; `None` if the runtime does not report it.
#[must_use]
pub fn gpu_memory_free(device: i32) -> Option<u64> {
    type Device = unsafe extern "C" fn(c_int) -> c_int;
    type Memory = unsafe extern "C" fn(*mut usize, *mut usize) -> c_int;
    // SAFETY: symbols of libcudart.so.13 with the types of cuda_runtime_api.h. cudaSetDevice does not change the current device,
    // because a process uses one GPU.
    unsafe {
        let set = libc::dlsym(libc::RTLD_DEFAULT, c"cudaSetDevice".as_ptr());
        let get = libc::dlsym(libc::RTLD_DEFAULT, c"cudaMemGetInfo".as_ptr());
        if set.is_null() || get.is_null() {
            return None;
        }
        let set: Device = std::mem::transmute(set);
        let get: Memory = std::mem::transmute(get);
        let (mut free, mut total) = (0, 0);
        (set(device) == 0 && get(&raw mut free, &raw mut total) == 0).then_some(free as u64)
    }
}
