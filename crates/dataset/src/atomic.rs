//! Files that get their name only when they are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Result, io};

/// A file that is written under a temporary name in the folder of its target. [`AtomicFile::finish`] syncs the file
/// and the folder to disk and renames the file. A file that is dropped before that leaves nothing.
///
/// A target that is not an ordinary file, such as `/dev/stdout` or a pipe, is written to directly. A symbolic link is
/// followed: the file that it points to is replaced, and the link stays.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use std::io::Write as _;
/// let path = dir.path().join("config.toml");
/// let mut file = dataset::AtomicFile::create(&path)?;
/// writeln!(file, "seed = 7").unwrap();
/// assert!(!path.exists());
/// file.finish()?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "seed = 7\n");
/// # Ok::<(), dataset::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    out: Out,
}

#[derive(Debug)]
enum Out {
    Renamed(BufWriter<NamedTempFile>),
    Direct(BufWriter<File>),
}

impl AtomicFile {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the folder is missing or cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let named = path.as_ref();
        let path = fs::canonicalize(named).unwrap_or_else(|_| named.to_path_buf());
        if fs::metadata(&path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            let file = File::options().write(true).open(&path).map_err(io(named, "cannot open for writing"))?;
            return Ok(Self { path, out: Out::Direct(BufWriter::new(file)) });
        }
        if path.is_dir() {
            return Err(io(named, "cannot write")(io::ErrorKind::IsADirectory.into()));
        }
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // The umask of the process applies, as for an ordinary file.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = builder
            .prefix(&format!(".{name}."))
            .suffix(".tmp")
            .tempfile_in(folder(&path))
            .map_err(io(named, "cannot create a file in its folder"))?;
        Ok(Self { path, out: Out::Renamed(BufWriter::with_capacity(1 << 16, file)) })
    }

    /// Syncs the file to disk and gives it its name.
    ///
    /// # Errors
    /// [`crate::Error::Io`], for example when the disk is full; the target is then unchanged.
    pub fn finish(self) -> Result<()> {
        let path = &self.path;
        match self.out {
            Out::Direct(mut file) => file.flush().map_err(io(path, "cannot write")),
            Out::Renamed(writer) => {
                let file = writer.into_inner().map_err(|e| io(path, "cannot write")(e.into_error()))?;
                file.as_file().sync_all().map_err(io(path, "cannot write to the disk"))?;
                file.persist(path).map_err(|e| io(path, "cannot rename to")(e.error))?;
                sync_folder(path)
            }
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::Renamed(file) => file.write(bytes),
            Out::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Renamed(file) => file.flush(),
            Out::Direct(file) => file.flush(),
        }
    }
}

/// Writes a small file in one call: [`AtomicFile::create`], the bytes, [`AtomicFile::finish`].
///
/// # Errors
/// [`crate::Error::Io`]; the target is then unchanged.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(io(path, "cannot write"))?;
    file.finish()
}

/// Renames `from` to `to` in the same folder, and syncs the folder.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(io(to, "cannot rename to"))?;
    sync_folder(to)
}

/// The folder that contains a path, `.` for a bare name.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs the folder of `path`, so that a new name survives a power failure.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = folder(path);
    File::open(folder).and_then(|f| f.sync_all()).map_err(io(folder, "cannot write to the disk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_an_unfinished_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        write_file(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_permissions_are_ordinary() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (real, link, plain) = (dir.path().join("real"), dir.path().join("link"), dir.path().join("plain"));
        fs::write(&plain, "x").unwrap();
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        let mode = |p| fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&real), mode(&plain));
    }

    #[test]
    fn says_where_it_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let e = AtomicFile::create(dir.path().join("missing/a.txt")).unwrap_err().to_string();
        assert!(e.contains("missing/a.txt: cannot create a file in its folder"), "{e}");
        let e = AtomicFile::create(dir.path()).unwrap_err().to_string();
        assert!(e.contains("cannot write: is a directory"), "{e}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        // /dev/full is not an ordinary file: written to directly, and every flush fails.
        let mut file = AtomicFile::create("/dev/full").unwrap();
        file.write_all(b"x").unwrap();
        let e = file.finish().unwrap_err().to_string();
        assert!(e.contains("No space left"), "{e}");
    }
}
