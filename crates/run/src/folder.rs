//! The folder of a run, and the lock that keeps other processes out of it.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folder of a run. This process holds its lock until the value is dropped or the process ends, in whatever way.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    lock: File,
    /// Whether this process created the folder.
    made: bool,
}

const LOCK: &str = ".lock";

impl RunFolder {
    /// Creates the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// When the folder cannot be written, or another process holds the lock.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let made = !path.exists();
        loop {
            let lock = Self::lock(path)?;
            // Another process that leaves an empty folder removes the folder with its lock.
            let same = |there: fs::Metadata| lock.metadata().is_ok_and(|ours| ours.ino() == there.ino());
            if fs::metadata(path.join(LOCK)).is_ok_and(same) {
                return Ok(Self { path: path.to_owned(), lock, made });
            }
        }
    }

    fn lock(path: &Path) -> anyhow::Result<File> {
        let file = path.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir());
        if let Some(file) = file {
            let (folder, advice) = (path.display(), "give the name of a new folder, or the folder of an earlier run");
            match file == path {
                true => bail!("cannot create the run folder {folder}: it is a file; {advice}"),
                false => bail!("cannot create the run folder {folder}: {} is a file; {advice}", file.display()),
            }
        }
        fs::create_dir_all(path).with_context(|| format!("cannot create the run folder {}", path.display()))?;
        let name = path.join(LOCK);
        let mut options = File::options();
        let mut lock = options
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&name)
            .with_context(|| format!("cannot write to the run folder {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).ok();
                bail!(
                    "{} belongs to a run that is in progress (process {}); wait for it, stop it, or choose another --output",
                    path.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(e)) => {
                return Err(e).with_context(|| format!("cannot lock {}", name.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", name.display()))?;
        Ok(lock)
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file or folder in the run folder.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Removes a folder that this process created and that stayed empty (a dry run, faulty data), and gives the lock back.
impl Drop for RunFolder {
    fn drop(&mut self) {
        let mut entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        if self.made && entries.all(|entry| entry.file_name() == LOCK) {
            fs::remove_file(self.path.join(LOCK)).ok();
            fs::remove_dir(&self.path).ok();
        }
        // A program that another thread is just starting holds a copy of the file until its `exec`; closing ours would leave it locked.
        self.lock.unlock().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_given_back_although_a_child_has_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let folder = RunFolder::open(&path).unwrap();
        let copy = folder.lock.try_clone().unwrap();
        drop(folder);
        RunFolder::open(&path).unwrap();
        drop(copy);
    }

    #[test]
    fn one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let first = RunFolder::open(&path).unwrap();
        let error = RunFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        assert!(!path.exists(), "an empty folder is left");
        std::fs::create_dir(&path).unwrap();
        drop(RunFolder::open(&path).unwrap());
        assert!(path.exists(), "a folder that was there is removed");
    }

    #[test]
    fn a_folder_that_cannot_be_made() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = |path: &Path| format!("{:#}", RunFolder::open(path).unwrap_err());
        let name = file.path().display();
        let advice = "give the name of a new folder, or the folder of an earlier run";
        assert_eq!(said(file.path()), format!("cannot create the run folder {name}: it is a file; {advice}"));
        let below = said(&file.path().join("run"));
        assert_eq!(below, format!("cannot create the run folder {name}/run: {name} is a file; {advice}"));
        // A folder that may not be written to.
        assert!(said(Path::new("/proc/run")).starts_with("cannot create the run folder /proc/run: "));
    }
}
