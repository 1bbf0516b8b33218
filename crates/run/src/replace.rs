//! Atomic replacement of folders: at every moment, the name belongs to the old folder or to the complete new one.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Fills a new folder beside `target`. When the new folder is complete and synced to disk, it gets the name `target`
/// and replaces an existing folder of that name. If `fill` fails, the new folder is removed and the existing one
/// stays.
///
/// The replacement is one system call (`renameat2` with `RENAME_EXCHANGE`) if the file system supports it. On other
/// file systems, the old folder is first renamed to `NAME.old`. A kill between the two renames leaves both folders;
/// the next call, or [`recover`], restores the name of the old folder.
///
/// # Errors
/// Errors of `fill`, and I/O errors.
pub fn replace_folder(target: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let parent = parent(target);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    recover(target)?;
    let staging = beside(target, ".partial");
    let written = (|| {
        remove(&staging)?;
        fs::create_dir(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
        fill(&staging)?;
        sync(&staging).with_context(|| format!("cannot write {} to the disk", staging.display()))?;
        put(&staging, target).with_context(|| format!("cannot replace {}", target.display()))
    })();
    if written.is_err() {
        fs::remove_dir_all(&staging).ok();
    }
    written
}

/// Fills an existing folder (a run folder that is itself the result). `fill` writes into a subfolder. When all files
/// are complete and synced to disk, they move to their places; files named in `last` move last.
///
/// # Errors
/// Errors of `fill`, and I/O errors.
pub fn fill_folder(target: &Path, last: &[&str], fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let staging = target.join(".partial");
    let written = (|| {
        remove(&staging)?;
        fs::create_dir(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
        fill(&staging)?;
        sync(&staging).with_context(|| format!("cannot write {} to the disk", staging.display()))?;
        let mut names: Vec<OsString> =
            fs::read_dir(&staging)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()?;
        names.sort_by_key(|name| last.iter().any(|last| name == last));
        for name in names {
            fs::rename(staging.join(&name), target.join(&name))
                .with_context(|| format!("cannot write {}", target.join(&name).display()))?;
        }
        Ok(File::open(target)?.sync_all()?)
    })();
    fs::remove_dir_all(&staging).ok();
    written
}

/// Restores the name of `target` if a kill came between the two renames of a replacement, and removes the remains of
/// a replacement that was killed after its renames.
///
/// # Errors
/// I/O errors.
pub fn recover(target: &Path) -> anyhow::Result<()> {
    let old = beside(target, ".old");
    if !old.exists() {
        return Ok(());
    }
    if target.exists() {
        return remove(&old);
    }
    fs::rename(&old, target).with_context(|| format!("cannot restore {} from {}", target.display(), old.display()))?;
    Ok(File::open(parent(target))?.sync_all()?)
}

fn put(staging: &Path, target: &Path) -> anyhow::Result<()> {
    let parent = parent(target);
    if !target.exists() {
        fs::rename(staging, target)?;
        return Ok(File::open(parent)?.sync_all()?);
    }
    match exchange(staging, target) {
        Ok(()) => {
            File::open(parent)?.sync_all()?;
            remove(staging)
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::ENOTSUP)) => {
            put_in_two(staging, target)
        }
        Err(error) => Err(error.into()),
    }
}

/// The replacement for file systems that cannot exchange two names.
fn put_in_two(staging: &Path, target: &Path) -> anyhow::Result<()> {
    let old = beside(target, ".old");
    fs::rename(target, &old)?;
    fs::rename(staging, target)?;
    File::open(parent(target))?.sync_all()?;
    remove(&old)
}

/// Exchanges the names of two folders in one step.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
        let (one, other) = (text(one)?, text(other)?);
        // SAFETY: both strings are NUL-terminated and live until the call returns.
        let failed = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                libc::AT_FDCWD,
                one.as_ptr(),
                libc::AT_FDCWD,
                other.as_ptr(),
                libc::RENAME_EXCHANGE,
            )
        };
        if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Syncs every file and folder below `folder`, and the folder itself, to disk.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    // Removes the slash that may end a path typed by hand.
    let mut name: OsString = target.components().as_path().as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &'static str) -> impl FnOnce(&Path) -> anyhow::Result<()> {
        move |folder| {
            fs::create_dir(folder.join("inner"))?;
            Ok(fs::write(folder.join("inner/a"), text)?)
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_made_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("deep/model");
        for text in ["one", "two"] {
            replace_folder(&target, filled(text)).unwrap();
            assert_eq!(fs::read_to_string(target.join("inner/a")).unwrap(), text);
            assert_eq!(names(&dir.path().join("deep")), ["model"]);
        }
        let failed = replace_folder(&target, |folder| {
            fs::write(folder.join("a"), "half")?;
            anyhow::bail!("no space")
        });
        assert_eq!(failed.unwrap_err().to_string(), "no space");
        assert_eq!(fs::read_to_string(target.join("inner/a")).unwrap(), "two");
        assert_eq!(names(&dir.path().join("deep")), ["model"]);
        // A slash at the end of the name has no effect.
        replace_folder(&dir.path().join("deep/model/"), filled("three")).unwrap();
        assert_eq!(names(&dir.path().join("deep")), ["model"]);
    }

    #[test]
    fn a_folder_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("run.json"), "{}").unwrap();
        let fill = |folder: &Path| {
            fs::write(folder.join("config.json"), "{}")?;
            Ok(fs::write(folder.join("weights"), "1")?)
        };
        fill_folder(dir.path(), &["config.json"], fill).unwrap();
        assert_eq!(names(dir.path()), ["config.json", "run.json", "weights"]);
        fill_folder(dir.path(), &[], |folder| {
            fs::write(folder.join("weights"), "2")?;
            anyhow::bail!("no space")
        })
        .unwrap_err();
        assert_eq!(names(dir.path()), ["config.json", "run.json", "weights"]);
        assert_eq!(fs::read_to_string(dir.path().join("weights")).unwrap(), "1");
    }

    /// During many replacements, one of the two contents can be read under the name at every moment.
    #[test]
    fn the_name_is_never_missing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model");
        replace_folder(&target, filled("x")).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..50 {
                    replace_folder(&target, filled("x")).unwrap();
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(target.is_dir(), "the folder has no name for a moment");
            }
        });
    }

    #[test]
    fn the_way_of_two_renames_survives_a_kill_between_them() {
        let dir = tempfile::tempdir().unwrap();
        let (target, staging) = (dir.path().join("model"), dir.path().join("model.partial"));
        fs::create_dir(&target).unwrap();
        fs::write(target.join("a"), "old").unwrap();
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("a"), "new").unwrap();
        put_in_two(&staging, &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
        assert_eq!(names(dir.path()), ["model"]);
        // State after a kill between the renames: the old folder is set aside, the name is free.
        fs::rename(&target, dir.path().join("model.old")).unwrap();
        recover(&target).unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
        // State after a kill before the old folder was removed.
        fs::create_dir(dir.path().join("model.old")).unwrap();
        recover(&target).unwrap();
        assert_eq!(names(dir.path()), ["model"]);
    }
}
