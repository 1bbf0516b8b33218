//! Loads libtorch's CUDA kernels at run time, so that one binary serves machines with and without a GPU.

use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Result of searching for libtorch's CUDA library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaLibrary {
    /// No `libtorch_cuda.so` in any of the searched folders.
    NotFound,
    /// Loaded from this path.
    Loaded(PathBuf),
    /// Found, but not loaded: it has this version of libtorch instead of [`LIBTORCH`].
    OtherVersion(PathBuf, String),
    /// Found, but the dynamic linker rejected it with this message.
    Failed(PathBuf, String),
}

/// The version of libtorch that this program is built for.
pub const LIBTORCH: &str = "2.11.0";

static STATE: OnceLock<CudaLibrary> = OnceLock::new();

/// Loads libtorch's CUDA library if there is one. Call it before the first tensor is made, because libtorch looks up its CUDA
/// hooks only once. Later calls return the result of the first call. The first call also starts [`crate::sharing::watch`], so
/// that waiting OpenMP threads leave the CPU to other programs.
pub fn init() -> &'static CudaLibrary {
    crate::sharing::watch();
    STATE.get_or_init(|| match find_cuda_library() {
        None => CudaLibrary::NotFound,
        Some(path) => match other_version(&path) {
            Some(version) => CudaLibrary::OtherVersion(path, version),
            None => open(path),
        },
    })
}

fn open(path: PathBuf) -> CudaLibrary {
    // The rows of training steps differ in length. Without expandable segments, the allocator cannot use the freed memory of one
    // length for another. It reads the option when the library is loaded. A value that the user has set is kept.
    // SAFETY: called before the first tensor, when libtorch has started no thread.
    unsafe { libc::setenv(c"PYTORCH_ALLOC_CONF".as_ptr(), c"expandable_segments:True".as_ptr(), 0) };
    match open_globally(&path) {
        Ok(()) => {
            crate::gpu::register();
            crate::gpu::settle();
            CudaLibrary::Loaded(path)
        }
        Err(reason) => CudaLibrary::Failed(path, reason),
    }
}

/// The version of a `libtorch_cuda.so` if it is known and differs from [`LIBTORCH`]. A PyTorch installation records it in
/// `../version.py`, a libtorch in `../build-version`.
fn other_version(library: &Path) -> Option<String> {
    let home = library.parent()?.parent()?;
    let read = |name: &str| std::fs::read_to_string(home.join(name)).ok();
    let python = read("version.py").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?.to_owned();
        Some(line.trim().trim_matches(['\'', '"']).to_owned())
    });
    let version = python.or_else(|| read("build-version").map(|text| text.trim().to_owned()))?;
    let same = version.split('+').next() == Some(LIBTORCH);
    (!same).then_some(version)
}

/// The `libtorch_cuda.so` that [`init`] loads: in the folder `LIBTORCH_CUDA` (a `torch/lib` of the same PyTorch version), next
/// to the CPU library in use, in its sibling `cuda/` (where `cargo xtask setup --cuda` puts it), or on `LD_LIBRARY_PATH`.
pub fn find_cuda_library() -> Option<PathBuf> {
    let named = std::env::var_os("LIBTORCH_CUDA").map(PathBuf::from);
    let own = cpu_library().and_then(|p| p.parent().map(Path::to_owned));
    let sibling = own.as_ref().and_then(|p| p.parent()).map(|p| p.join("cuda"));
    let path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = named.into_iter().chain(own).chain(sibling).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("libtorch_cuda.so")).find(|file| file.is_file())
}

/// Path from which this process has loaded `libtorch_cpu.so`.
pub fn cpu_library() -> Option<PathBuf> {
    unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, found: *mut libc::c_void) -> c_int {
        // SAFETY: the dynamic linker passes a valid record, and `found` is the `Option<PathBuf>` below.
        unsafe {
            let name = (*info).dlpi_name;
            if name.is_null() {
                return 0;
            }
            let name = CStr::from_ptr(name).to_bytes();
            if name.ends_with(b"/libtorch_cpu.so") {
                *found.cast::<Option<PathBuf>>() = Some(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
                return 1;
            }
        }
        0
    }
    let mut found: Option<PathBuf> = None;
    // SAFETY: `visit` only writes through the pointer handed over here, during this call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
    found.map(|p| p.canonicalize().unwrap_or(p))
}

fn open_globally(path: &Path) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: a NUL-terminated path; libtorch_cuda registers its kernels in static initialisers, as `import torch` does.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: dlerror returns a string or null after a failed dlopen.
        let reason = unsafe { libc::dlerror() };
        let text = if reason.is_null() {
            "no reason given".into()
        } else {
            unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned()
        };
        return Err(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("lib/libtorch_cuda.so");
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        assert_eq!(other_version(&library), None);
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("build-version", "2.11.0+cu130\n");
        assert_eq!(other_version(&library), None);
        write("build-version", "2.10.0+cu126\n");
        assert_eq!(other_version(&library), Some("2.10.0+cu126".into()));
        write("version.py", "__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\ndebug = False\n");
        assert_eq!(other_version(&library), None);
        write("version.py", "__version__ = '2.12.1'\n");
        assert_eq!(other_version(&library), Some("2.12.1".into()));
    }
}
