//! NVRTC, NVIDIA's run-time compiler library, opened at run time. It needs no GPU.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::KernelError;

/// A GPU's compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture {
    /// Major number: 9 for `sm_90`.
    pub major: u32,
    /// Minor number: 0 for `sm_90`.
    pub minor: u32,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "sm_{}{}", self.major, self.minor)
    }
}

/// The form of a compiled program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Machine code for one architecture.
    Cubin,
    /// Intermediate code (PTX), which the driver compiles for a GPU that is newer than NVRTC.
    Ptx,
}

/// A compiled program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Machine code or PTX.
    pub form: Form,
    /// The bytes that the driver loads; PTX ends with NUL.
    pub bytes: Vec<u8>,
}

type Program = *mut c_void;
type Status = c_int;
type Text = *const c_char;
type Texts = *const Text;

/// The functions of NVRTC that this crate uses; see `nvrtc.h`.
struct Api {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status,
    error_string: unsafe extern "C" fn(Status) -> Text,
    architecture_count: unsafe extern "C" fn(*mut c_int) -> Status,
    architectures: unsafe extern "C" fn(*mut c_int) -> Status,
    create: unsafe extern "C" fn(*mut Program, Text, Text, c_int, Texts, Texts) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, Texts) -> Status,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    log: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    cubin_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    cubin: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> Status,
}

/// An opened NVRTC.
pub struct Nvrtc {
    api: Api,
    path: PathBuf,
    version: (i32, i32),
    architectures: Vec<u32>,
    /// Keeps the library of the functions in `api` loaded.
    _library: Library,
    /// `libnvrtc-builtins.so`, if it is in the same folder.
    _builtins: Option<Library>,
}

impl Nvrtc {
    /// Opens the library at `path`.
    ///
    /// # Errors
    /// When it cannot be opened or lacks a function.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let trouble = |reason: String| KernelError::Library { path: path.to_owned(), reason };
        // NVRTC opens libnvrtc-builtins.so by file name, without a search path. It finds that library only if it is already loaded
        // or on LD_LIBRARY_PATH, so it is loaded here first.
        let builtins = match builtins_beside(path) {
            // SAFETY: its initialisers have no precondition.
            Some(file) => Some(
                unsafe { Library::new(&file) }
                    .map_err(|error| KernelError::Library { path: file.clone(), reason: error.to_string() })?,
            ),
            None => None,
        };
        // SAFETY: NVRTC's initialisers have no precondition.
        let library = unsafe { Library::new(path) }.map_err(|error| trouble(error.to_string()))?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the types are those of nvrtc.h of CUDA 13.0.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|error| trouble(error.to_string()))?
            };
        }
        let api = Api {
            version: function!("nvrtcVersion"),
            error_string: function!("nvrtcGetErrorString"),
            architecture_count: function!("nvrtcGetNumSupportedArchs"),
            architectures: function!("nvrtcGetSupportedArchs"),
            create: function!("nvrtcCreateProgram"),
            destroy: function!("nvrtcDestroyProgram"),
            compile: function!("nvrtcCompileProgram"),
            log_size: function!("nvrtcGetProgramLogSize"),
            log: function!("nvrtcGetProgramLog"),
            cubin_size: function!("nvrtcGetCUBINSize"),
            cubin: function!("nvrtcGetCUBIN"),
            ptx_size: function!("nvrtcGetPTXSize"),
            ptx: function!("nvrtcGetPTX"),
        };
        let (mut major, mut minor, mut count) = (0, 0, 0);
        let mut numbers = Vec::new();
        // SAFETY: pointers to live numbers; `numbers` has as many as NVRTC says that it writes.
        let status = unsafe {
            let first = (api.version)(&raw mut major, &raw mut minor);
            let second = (api.architecture_count)(&raw mut count);
            numbers.resize(usize::try_from(count).unwrap_or(0), 0);
            let third = (api.architectures)(numbers.as_mut_ptr());
            first | second | third
        };
        if status != 0 {
            return Err(trouble(format!("does not say its version and architectures (status {status})")));
        }
        let architectures = numbers.into_iter().filter_map(|number| u32::try_from(number).ok()).collect();
        Ok(Self {
            api,
            path: path.to_owned(),
            version: (major, minor),
            architectures,
            _library: library,
            _builtins: builtins,
        })
    }

    /// NVRTC's version, for example `13.0`.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// Path of the opened library.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The compiler options and the form for an architecture: machine code if this NVRTC knows the architecture; otherwise PTX
    /// for the newest known architecture that is older.
    pub(crate) fn options(&self, architecture: Architecture) -> (Vec<String>, Form) {
        options(&self.architectures, architecture)
    }

    /// Compiles `text` for an architecture.
    ///
    /// # Errors
    /// When NVRTC reports an error in the program; the error contains the compiler's messages.
    pub fn compile(&self, text: &str, architecture: Architecture) -> Result<Image, KernelError> {
        let (options, form) = self.options(architecture);
        let failed = |status: Status, log: String| KernelError::Compile {
            version: self.version(),
            architecture: architecture.to_string(),
            // SAFETY: NVRTC returns a string of static lifetime for any status.
            reason: unsafe { CStr::from_ptr((self.api.error_string)(status)) }.to_string_lossy().into_owned(),
            log,
        };
        let no_nul = |text: &str| CString::new(text).map_err(|error| failed(0, error.to_string()));
        let source = no_nul(text)?;
        let options: Vec<CString> = options.iter().map(|option| no_nul(option)).collect::<Result<_, _>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: NUL-terminated strings, no headers; `program` is written.
        let status = unsafe {
            let none = std::ptr::null();
            (self.api.create)(&raw mut program, source.as_ptr(), c"herd.cu".as_ptr(), 0, none, none)
        };
        if status != 0 {
            return Err(failed(status, String::new()));
        }
        // SAFETY: the program is live until the call of destroy below, and so are the options.
        let compiled = unsafe {
            let status = (self.api.compile)(program, pointers.len() as c_int, pointers.as_ptr());
            let log = bytes(program, self.api.log_size, self.api.log).unwrap_or_default();
            if status == 0 {
                let (size, get) = match form {
                    Form::Cubin => (self.api.cubin_size, self.api.cubin),
                    Form::Ptx => (self.api.ptx_size, self.api.ptx),
                };
                bytes(program, size, get).map_err(|status| failed(status, String::new()))
            } else {
                let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_owned();
                Err(failed(status, log))
            }
        };
        // SAFETY: made above, destroyed once.
        unsafe { (self.api.destroy)(&raw mut program) };
        compiled.map(|bytes| Image { form, bytes })
    }
}

/// `libnvrtc-builtins.so.VERSION` in the folder of NVRTC, if it is there.
fn builtins_beside(nvrtc: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(nvrtc.parent()?).ok()?;
    let name =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc-builtins.so."));
    files.filter_map(|file| file.ok().map(|file| file.path())).find(|path| name(path))
}

/// Asks NVRTC for the size of an output, then for its bytes.
///
/// # Safety
/// `program` is a live program, and the functions are NVRTC's.
unsafe fn bytes(
    program: Program,
    size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    get: unsafe extern "C" fn(Program, *mut c_char) -> Status,
) -> Result<Vec<u8>, Status> {
    let mut length = 0;
    // SAFETY: as the caller promises; `data` has the room that NVRTC asked for.
    unsafe {
        let status = size(program, &raw mut length);
        if status != 0 {
            return Err(status);
        }
        let mut data = vec![0_u8; length];
        let status = get(program, data.as_mut_ptr().cast());
        if status == 0 { Ok(data) } else { Err(status) }
    }
}

fn options(known: &[u32], architecture: Architecture) -> (Vec<String>, Form) {
    let number = architecture.major * 10 + architecture.minor;
    let newest = known.iter().copied().filter(|&other| other <= number).max().unwrap_or(number);
    let (target, form) = if known.contains(&number) || known.is_empty() {
        (format!("sm_{number}"), Form::Cubin)
    } else {
        (format!("compute_{newest}"), Form::Ptx)
    };
    (vec![format!("--gpu-architecture={target}"), "--std=c++17".to_owned()], form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_gpu_gets_intermediate_code() {
        let known = [75, 80, 90, 100, 120];
        let of = |major, minor| options(&known, Architecture { major, minor });
        assert_eq!(of(9, 0), (vec!["--gpu-architecture=sm_90".into(), "--std=c++17".into()], Form::Cubin));
        assert_eq!(of(13, 0).0[0], "--gpu-architecture=compute_120");
        assert_eq!(of(13, 0).1, Form::Ptx);
        assert_eq!(of(9, 1).0[0], "--gpu-architecture=compute_90");
    }
}
