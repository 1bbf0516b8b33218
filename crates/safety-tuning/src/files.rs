//! Files that only their owner can read: answers to harmful requests may be harmful themselves.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context;
use dataset::resume::OrderedOutput;

/// A resumable output with mode 0600.
///
/// # Errors
/// See [`OrderedOutput::open`].
pub fn private_output(path: &Path, fingerprint: &str) -> anyhow::Result<OrderedOutput> {
    let mut partial = path.as_os_str().to_owned();
    // The file that OrderedOutput continues, and renames at the end.
    partial.push(".partial");
    let partial = Path::new(&partial);
    let cannot = || format!("cannot write {}", partial.display());
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(partial).with_context(cannot)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).with_context(cannot)?;
    drop(file);
    Ok(OrderedOutput::open(path, fingerprint)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_private_before_and_after_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items.jsonl");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let mut output = private_output(&path, "x").unwrap();
        output.push(0, &serde_json::json!({"id": 1})).unwrap();
        assert_eq!(mode(&dir.path().join("items.jsonl.partial")), 0o600);
        output.finish(1).unwrap();
        assert_eq!(mode(&path), 0o600);
    }
}
