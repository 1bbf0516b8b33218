//! Model files of other programs into Hugging Face folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use tch::Kind;
use weights::gguf::{self, Gguf};
use weights::{DType, SafetensorsWriter};

/// Turns the GGUF file at `path` into the folder `target`, which appears only when it is complete. Weights are written in
/// `kind`, or as they are stored (float32 for quantised ones).
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
    into_place(target, |staging| {
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

/// Fills a folder beside `target` and gives it that name once `fill` is through, replacing what stood there.
pub fn into_place(target: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let name = target.file_name().with_context(|| format!("{} is no folder's name", target.display()))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let staging: PathBuf = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    fs::create_dir(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
    let filled = fill(&staging).and_then(|()| {
        if target.exists() {
            fs::remove_dir_all(target).with_context(|| format!("cannot replace {}", target.display()))?;
        }
        fs::rename(&staging, target).with_context(|| format!("cannot create {}", target.display()))
    });
    if filled.is_err() {
        fs::remove_dir_all(&staging).ok();
    }
    filled
}

/// Copies what is neither weights nor configuration: tokenizer, chat template, generation configuration.
pub fn copy_text_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    const FILES: [&str; 12] = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "chat_template.jinja",
        "chat_template.json",
        "generation_config.json",
        "README.md",
        "LICENSE",
    ];
    for name in FILES {
        let source = from.join(name);
        if source.is_file() {
            fs::copy(&source, to.join(name)).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    if !to.join("tokenizer.json").is_file() {
        eprintln!("  {} has no tokenizer.json: the copy has none either", from.display());
    }
    Ok(())
}
