//! Tests the calls to the driver API with a fake driver: their order and arguments, and the error messages. The fake driver has one
//! GPU, an sm_90 with 4 multiprocessors.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

use cuda_kernels::{Api, Argument, Driver, Form, Image, Kernels, Launch, Origin, source};

type Handle = *mut c_void;

#[derive(Default)]
struct Seen {
    calls: Vec<String>,
    /// The call that fails, with CUDA_ERROR_OUT_OF_MEMORY (2).
    failing: Option<&'static str>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// Notes a call and returns its status.
fn call(name: &'static str, about: String) -> c_int {
    SEEN.with_borrow_mut(|seen| {
        seen.calls.push(format!("{name}{about}"));
        if seen.failing == Some(name) { 2 } else { 0 }
    })
}

unsafe extern "C" fn init(_: c_uint) -> c_int {
    call("init", String::new())
}
unsafe extern "C" fn device_count(count: *mut c_int) -> c_int {
    unsafe { *count = 1 };
    call("count", String::new())
}
unsafe extern "C" fn device_get(device: *mut c_int, ordinal: c_int) -> c_int {
    unsafe { *device = 70 + ordinal };
    // CUDA_ERROR_INVALID_DEVICE
    if ordinal == 0 { call("get", String::new()) } else { 101 }
}
unsafe extern "C" fn device_name(name: *mut c_char, _: c_int, _: c_int) -> c_int {
    unsafe { std::ptr::copy_nonoverlapping(c"Made up".as_ptr(), name, 8) };
    0
}
unsafe extern "C" fn device_attribute(value: *mut c_int, attribute: c_int, device: c_int) -> c_int {
    assert_eq!(device, 70);
    unsafe { *value = [(16, 4), (75, 9), (76, 0)].iter().find(|(number, _)| *number == attribute).unwrap().1 };
    0
}
unsafe extern "C" fn primary_retain(context: *mut Handle, device: c_int) -> c_int {
    unsafe { *context = 0xc0 as Handle };
    call("retain", format!(" {device}"))
}
unsafe extern "C" fn set_current(context: Handle) -> c_int {
    call("current", format!(" {context:?}"))
}
unsafe extern "C" fn module_load(module: *mut Handle, image: *const c_void) -> c_int {
    unsafe { *module = 0x30 as Handle };
    call("load", format!(" {}", unsafe { CStr::from_ptr(image.cast()) }.to_str().unwrap()))
}
unsafe extern "C" fn module_function(function: *mut Handle, module: Handle, name: *const c_char) -> c_int {
    assert_eq!(module as usize, 0x30);
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
    unsafe { *function = (0x1000 + name.len()) as Handle };
    call("function", format!(" {name}"))
}
unsafe extern "C" fn launch(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: Handle,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> c_int {
    assert!(extra.is_null() && shared == 0);
    let (address, number, real) = unsafe {
        let at = |index: usize| *arguments.add(index);
        (*at(0).cast::<u64>(), *at(1).cast::<i64>(), *at(2).cast::<f32>())
    };
    let sizes = [grid_x, grid_y, grid_z, block_x, block_y, block_z];
    call("launch", format!(" {function:?} {sizes:?} on {stream:?}: {address:#x} {number} {real}"))
}
unsafe extern "C" fn stream_wait(_: Handle) -> c_int {
    0
}
unsafe extern "C" fn alloc(address: *mut u64, _: usize) -> c_int {
    unsafe { *address = 16 };
    0
}
unsafe extern "C" fn free(_: u64) -> c_int {
    0
}
unsafe extern "C" fn to_device(_: u64, _: *const c_void, _: usize) -> c_int {
    0
}
unsafe extern "C" fn to_host(_: *mut c_void, _: u64, _: usize) -> c_int {
    0
}
unsafe extern "C" fn error_name(code: c_int, name: *mut *const c_char) -> c_int {
    unsafe { *name = if code == 2 { c"CUDA_ERROR_OUT_OF_MEMORY" } else { c"CUDA_ERROR_INVALID_DEVICE" }.as_ptr() };
    0
}

const API: Api = Api {
    init,
    device_count,
    device_get,
    device_name,
    device_attribute,
    primary_retain,
    set_current,
    module_load,
    module_function,
    launch,
    stream_wait,
    alloc,
    free,
    to_device,
    to_host,
    error_name,
};

fn image() -> Image {
    Image { form: Form::Ptx, bytes: b"text\0".to_vec() }
}

fn calls() -> Vec<String> {
    SEEN.with_borrow_mut(|seen| std::mem::take(&mut seen.calls))
}

fn fail(name: &'static str) {
    SEEN.with_borrow_mut(|seen| *seen = Seen { calls: Vec::new(), failing: Some(name) });
}

#[test]
fn kernels_are_loaded_into_the_primary_context_and_launched_on_a_stream() {
    let driver = Driver::of(API).unwrap();
    assert_eq!(driver.devices().unwrap(), 1);
    let (name, architecture, multiprocessors) = driver.device(0).unwrap();
    assert_eq!((name.as_str(), architecture.to_string().as_str(), multiprocessors), ("Made up", "sm_90", 4));
    calls();
    let kernels = Kernels::of_image(driver, &image(), Origin::Cache, 0).unwrap();
    assert_eq!(kernels.limits().blocks, 64);
    let seen = calls();
    let order = ["get", "get", "retain 70", "current 0xc0", "load text", "function cross_entropy_f32"];
    assert_eq!(seen[..6], order.map(str::to_owned));
    assert_eq!(seen.iter().filter(|call| call.starts_with("function")).count(), 2 * source::KERNELS.len());
    let arguments = vec![Argument::Address(0xabc0), Argument::Long(-3), Argument::Float(0.25)];
    let launch = Launch { kernel: "rotate_f32".into(), grid: [5, 2], block: [64, 4], arguments };
    unsafe { kernels.launch(&launch, 0x57) }.unwrap();
    // The fake handle of a function is 0x1000 plus the length of its name: 10 for rotate_f32.
    let expected = "launch 0x100a [5, 2, 1, 64, 4, 1] on 0x57: 0xabc0 -3 0.25";
    assert_eq!(calls(), ["current 0xc0".to_owned(), expected.to_owned()]);
    let other = Launch { kernel: "nothing_f32".into(), ..launch };
    let error = unsafe { kernels.launch(&other, 0) }.unwrap_err().to_string();
    assert_eq!(error, "nothing_f32: there is no kernel of this name");
}

#[test]
fn the_drivers_errors_name_the_call() {
    let refused = |device| Kernels::of_image(Driver::of(API).unwrap(), &image(), Origin::Cache, device);
    let error = refused(3).err().unwrap().to_string();
    assert_eq!(error, "cuDeviceGet: the NVIDIA driver answers CUDA_ERROR_INVALID_DEVICE (101)");
    for (failing, called) in
        [("retain", "cuDevicePrimaryCtxRetain"), ("load", "cuModuleLoadData"), ("function", "cuModuleGetFunction")]
    {
        fail(failing);
        let error = refused(0).err().unwrap().to_string();
        assert_eq!(error, format!("{called}: the NVIDIA driver answers CUDA_ERROR_OUT_OF_MEMORY (2)"));
    }
    fail("init");
    assert!(Driver::of(API).err().unwrap().to_string().starts_with("cuInit: "));
}

#[test]
fn without_a_driver_there_is_a_sentence() {
    let error = Driver::open_at(Path::new("/nonexistent/libcuda.so.1")).err().unwrap().to_string();
    assert!(error.starts_with("no NVIDIA driver: ") && error.contains("/nonexistent/libcuda.so.1"), "{error}");
}
