//! The output folder, and the files that it takes from a model folder besides the tensors.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use llama::LlamaConfig;
use llama::device::Dtype;
use weights::DType;

/// The output folder is itself a model folder, so a folder that is not a run of herd is refused.
pub(crate) fn refuse_foreign(output: &Path) -> anyhow::Result<()> {
    let foreign = output.is_dir()
        && ![::run::RECORD, "average.json"].iter().any(|name| output.join(name).is_file())
        && fs::read_dir(output)?.flatten().any(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    ensure!(!foreign, "{} already exists; choose another --output, or remove it", output.display());
    Ok(())
}

/// Files and folders in a folder.
pub(crate) fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Copies the configuration, tokenizer and chat template of a model; with `dtype`, the configuration gets this type.
pub(crate) fn copy_texts(from: &Path, target: &Path, dtype: Option<DType>) -> anyhow::Result<()> {
    weights::side_files::copy(from, target)?;
    weights::side_files::copy_all(from, target, &weights::side_files::documents(from))?;
    let configs = ["config.json", "adapter_config.json"].map(PathBuf::from);
    let configs: Vec<PathBuf> = configs.into_iter().filter(|name| from.join(name).is_file()).collect();
    weights::side_files::copy_all(from, target, &configs)?;
    if let Some(kind) = dtype.and_then(llama::torch_kind) {
        let config = LlamaConfig::from_dir(from)?.to_json(kind)?;
        let text = format!("{}\n", serde_json::to_string_pretty(&config)?);
        dataset::write_file(target.join("config.json"), text.as_bytes())?;
    }
    Ok(())
}

/// The safetensors type for a type of the command line.
pub(crate) fn safetensors_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::Bf16 => DType::BF16,
        Dtype::F16 => DType::F16,
    }
}
