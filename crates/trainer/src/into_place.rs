//! Folders that appear only when they are complete.

use std::fs::{self, File};
use std::path::Path;

/// Fills a folder beside `target` and gives it that name once it is complete and on the disk; what had the name before is
/// replaced. When filling fails, nothing is left.
///
/// # Errors
/// Those of `fill`, and what the disk refuses.
pub fn into_place(target: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    let staging = Path::new(&name);
    let written = (|| {
        if staging.exists() {
            fs::remove_dir_all(staging)?;
        }
        fs::create_dir_all(staging)?;
        fill(staging)?;
        for entry in fs::read_dir(staging)? {
            File::open(entry?.path())?.sync_all()?;
        }
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        anyhow::Ok(fs::rename(staging, target)?)
    })();
    if written.is_err() {
        fs::remove_dir_all(staging).ok();
    }
    written
}
