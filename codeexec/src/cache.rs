//! The private cache folder for downloads and compiled code.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::sandbox::SharedBytes;

/// Creates `codeexec/` in the cache folder and returns its path. The folder has mode 0700 and must belong to this user,
/// since compiled code in it is run without further checks.
///
/// # Errors
/// When the folder cannot be created, or another user owns it.
pub fn private_folder() -> anyhow::Result<PathBuf> {
    let folder = pinned::cache_dir()?.join("codeexec");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let metadata = fs::metadata(&folder)?;
    // SAFETY: this call has no preconditions.
    if metadata.uid() != unsafe { libc::geteuid() } {
        bail!("{} belongs to another user; set HERD_CACHE to a folder of your own", folder.display());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(folder)
}

/// Removes temporary files (`.tmp*`) that an interrupted set-up left behind. The caller must hold the folder's lock.
///
/// # Errors
/// When the folder cannot be read.
pub fn remove_left_over() -> anyhow::Result<()> {
    for entry in fs::read_dir(private_folder()?)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(".tmp") {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Writes a file atomically: to a temporary file in the same folder, which is synced and then renamed to `path`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// A memory-mapped file.
struct Mapped(memmap2::Mmap);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Maps a file of the private folder into memory, read-only.
///
/// # Errors
/// When the file cannot be opened.
pub fn map(path: &Path) -> anyhow::Result<SharedBytes> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: the file is in the private folder and is replaced by renaming, never written in place.
    let mapped = unsafe { memmap2::Mmap::map(&file) }?;
    Ok(Arc::new(Mapped(mapped)))
}
