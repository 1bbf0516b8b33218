//! One digest of everything that decides the bytes of a result.

use std::fs;
use std::path::Path;

use anyhow::Context;
use dataset::digest::Fingerprint;
use serde::Serialize;
use serde_json::Value;
use tch::Kind;

use super::resolve::object;
use super::training::ASIDE;
use llama::device;

/// Over the configuration, the data's identity, the type to compute in and every file of the model folder that a stage
/// reads, byte by byte. Where the run stands, how often it is saved and measured, has no part in it.
pub(super) fn fingerprint(
    stage: &str,
    config: &impl Serialize,
    data: &Value,
    folder: &Path,
    kind: Kind,
) -> anyhow::Result<String> {
    let mut deciding = object(config)?;
    deciding.retain(|key, _| !ASIDE.contains(&key.as_str()));
    let print = Fingerprint::new()
        .text("stage", stage)
        .text("config", &serde_json::to_string(&deciding)?)
        .text("data", &data.to_string())
        .text("compute", device::name(kind));
    Ok(model_folder(print, folder)?.finish())
}

/// Adds the content of a model folder: weights, configuration, tokenizer and chat template.
///
/// # Errors
/// When a file cannot be read.
pub fn model_folder(mut print: Fingerprint, folder: &Path) -> anyhow::Result<Fingerprint> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| [".json", ".jinja", ".safetensors"].iter().any(|ending| name.ends_with(ending)));
    names.sort();
    for name in names {
        print = print.file(&name, folder.join(&name))?;
    }
    Ok(print)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_decides_the_result_changes_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        fs::write(dir.path().join("model.safetensors"), "weights").unwrap();
        let of = |config: Value, data: Value| fingerprint("sft", &config, &data, dir.path(), Kind::Float).unwrap();
        let first = of(json!({"seed": 1, "output": "a", "keep_last": 1}), json!(["x"]));
        assert_eq!(first, of(json!({"seed": 1, "output": "b", "keep_last": 2}), json!(["x"])));
        assert_ne!(first, of(json!({"seed": 2, "output": "a", "keep_last": 1}), json!(["x"])));
        assert_ne!(first, of(json!({"seed": 1, "output": "a", "keep_last": 1}), json!(["y"])));
        // Same size, same date or not: the content counts.
        fs::write(dir.path().join("README.md"), "text").unwrap();
        fs::write(dir.path().join("model.safetensors"), "weighty").unwrap();
        assert_ne!(first, of(json!({"seed": 1, "output": "a", "keep_last": 1}), json!(["x"])));
        fs::write(dir.path().join("model.safetensors"), "weights").unwrap();
        assert_eq!(first, of(json!({"seed": 1, "output": "a", "keep_last": 1}), json!(["x"])));
    }
}
