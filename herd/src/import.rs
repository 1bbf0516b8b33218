//! Imports model files of other programs into Hugging Face folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use run::replace_folder;
use tch::Kind;
use weights::gguf::{self, Gguf};
use weights::{Checkpoint, DType, SafetensorsWriter, side_files};

/// Converts the GGUF file at `path` to the folder `target`, which gets its name only when it is complete. Weights are
/// written in `kind`, or as they are stored (float32 for quantised ones).
pub fn import(path: &Path, target: &Path, kind: Option<Kind>) -> anyhow::Result<()> {
    let start = Instant::now();
    let gguf = Gguf::open(path)?;
    let model = gguf::to_hf(&gguf)?;
    let dtype = match kind {
        Some(Kind::BFloat16) => DType::BF16,
        Some(Kind::Half) => DType::F16,
        Some(_) => DType::F32,
        None => model.natural_dtype(),
    };
    replace_folder(target, |staging| {
        let declared = model.tensors.iter().map(|tensor| (tensor.name.clone(), dtype, tensor.shape.clone())).collect();
        let mut writer = SafetensorsWriter::create(staging, declared)?;
        for tensor in &model.tensors {
            writer.write(&tensor.name, &tensor.bytes(dtype)?)?;
        }
        writer.finish()?;
        model.write_text_files(staging, dtype)?;
        Ok(())
    })?;
    eprintln!("  {} tensors as {dtype:?} in {:.1} s", model.tensors.len(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Copies the files other than weights and configuration: tokenizer, chat templates, generation settings, licence.
pub fn copy_text_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    side_files::copy(from, to)?;
    side_files::copy_all(from, to, &side_files::documents(from))?;
    if !to.join("tokenizer.json").is_file() {
        eprintln!("  {} has no tokenizer.json: the copy has none either", from.display());
    }
    Ok(())
}

/// Copies the weights of a folder, each tensor in the type in which it is stored.
pub fn copy_weights(from: &Path, to: &Path) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::open(from)?;
    let names: Vec<&str> = checkpoint.names().collect();
    let declared = names.iter().map(|name| {
        let tensor = checkpoint.tensor(name)?;
        Ok(((*name).to_owned(), tensor.dtype, tensor.shape.to_vec()))
    });
    let mut writer = SafetensorsWriter::create(to, declared.collect::<weights::Result<Vec<_>>>()?)?;
    for name in names {
        writer.write(name, checkpoint.tensor(name)?.data)?;
    }
    writer.finish()?;
    let config = "config.json";
    fs::copy(from.join(config), to.join(config))
        .with_context(|| format!("cannot copy {}", from.join(config).display()))?;
    Ok(())
}

/// The types in which a folder's tensors are stored, in the user's notation: `bf16`, or `bf16 and f32`.
pub fn stored_types(folder: &Path) -> anyhow::Result<String> {
    let checkpoint = Checkpoint::open(folder)?;
    let mut types = BTreeSet::new();
    for name in checkpoint.names() {
        types.insert(format!("{:?}", checkpoint.tensor(name)?.dtype).to_lowercase());
    }
    Ok(types.into_iter().collect::<Vec<_>>().join(" and "))
}
