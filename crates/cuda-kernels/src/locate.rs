//! Finds the NVRTC library.

use std::path::{Path, PathBuf};

use crate::KernelError;

/// The file name of CUDA 13's NVRTC.
pub(crate) const NAME: &str = "libnvrtc.so.13";

/// Path at which `cargo xtask test` places NVRTC from the pinned Python wheel.
#[must_use]
pub fn nvrtc_in_cache() -> Option<PathBuf> {
    pinned::cache_dir().ok().map(|cache| cache.join("nvrtc/13.0.88").join(NAME))
}

/// Path of the NVRTC library, the first of: the file that `HERD_NVRTC` names; the library beside the libtorch whose
/// `libtorch_cuda.so` is in `cuda_folder` (in `../../nvidia/cu13/lib`, both in a Python environment and in `.libtorch`); the
/// pinned library in the cache folder.
///
/// # Errors
/// When there is no such file, or `HERD_NVRTC` names none.
pub fn find_nvrtc(cuda_folder: Option<&Path>) -> Result<PathBuf, KernelError> {
    let named = std::env::var_os("HERD_NVRTC").filter(|value| !value.is_empty()).map(PathBuf::from);
    find(named, cuda_folder, nvrtc_in_cache())
}

fn find(named: Option<PathBuf>, cuda_folder: Option<&Path>, cached: Option<PathBuf>) -> Result<PathBuf, KernelError> {
    if let Some(named) = named {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(KernelError::NoNvrtc { looked: format!("HERD_NVRTC is {}, which is no file", named.display()) })
        };
    }
    let beside = cuda_folder.map(|folder| folder.join("../../nvidia/cu13/lib").join(NAME));
    let places: Vec<PathBuf> = beside.into_iter().chain(cached).collect();
    if let Some(found) = places.iter().find(|place| place.is_file()) {
        return Ok(found.clone());
    }
    let looked = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(KernelError::NoNvrtc { looked: format!("looked for {looked}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_file_comes_first_and_the_cache_last() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let (named, cached) = (file("own/libnvrtc.so"), file("cache/libnvrtc.so.13"));
        let beside = file("site/nvidia/cu13/lib/libnvrtc.so.13");
        std::fs::create_dir_all(folder.path().join("site/torch/lib")).unwrap();
        let torch = folder.path().join("site/torch/lib");
        let found = find(Some(named.clone()), Some(&torch), Some(cached.clone())).unwrap();
        assert_eq!(found, named);
        let found = find(None, Some(&torch), Some(cached.clone())).unwrap();
        assert_eq!(found.canonicalize().unwrap(), beside.canonicalize().unwrap());
        std::fs::remove_file(beside).unwrap();
        assert_eq!(find(None, Some(&torch), Some(cached.clone())).unwrap(), cached);
    }

    #[test]
    fn a_missing_one_is_a_sentence_that_says_what_to_do() {
        let text = find(None, None, Some("/none/libnvrtc.so.13".into())).unwrap_err().to_string();
        assert!(text.contains("looked for /none/libnvrtc.so.13") && text.contains("xtask setup --cuda"), "{text}");
        let text = find(Some("/none".into()), None, None).unwrap_err().to_string();
        assert!(text.contains("HERD_NVRTC is /none, which is no file"), "{text}");
    }
}
