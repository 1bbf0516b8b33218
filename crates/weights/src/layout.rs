//! The names of weight files in a Hugging Face folder.

use std::fs::File;
use std::path::Path;

use crate::{Result, WeightsError};

/// All tensors in one file.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The index, which maps tensors to shards.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The name of shard `number` (from 1) of `count`.
pub(crate) fn shard_name(number: usize, count: usize) -> String {
    format!("model-{number:05}-of-{count:05}.safetensors")
}

/// Whether `name` is the name of a shard in the pattern of [`shard_name`].
pub(crate) fn is_shard_name(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let numbers = numbers.and_then(|rest| rest.split_once("-of-"));
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    numbers.is_some_and(|(number, count)| is_number(number) && is_number(count))
}

/// The folder that contains a path, `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs `folder`, so that renamed and removed names survive a power failure.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(WeightsError::io(folder, "cannot write to the disk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_names_follow_the_hub() {
        assert_eq!(shard_name(3, 12), "model-00003-of-00012.safetensors");
        assert!(is_shard_name(&shard_name(3, 12)));
        assert!(!is_shard_name(SINGLE) && !is_shard_name("model-1-of-2.safetensors"));
    }
}
