//! Imports model files of other programs into Hugging Face folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use llama::locate;
use run::replace_folder;
use tch::Kind;
use weights::gguf::{self, Gguf};
use weights::{Checkpoint, DType, SafetensorsWriter, side_files};

use crate::registry::KNOWN;

/// The file of an imported model that says which file the weights came from, in one line for people. The name has no
/// ending that counts for the digest of a model.
const ORIGIN: &str = "ORIGIN.txt";

/// Where the weights of a model folder came from, if that is known.
pub fn origin(folder: &Path) -> Option<String> {
    let written = fs::read_to_string(folder.join(ORIGIN)).ok();
    let line = written.and_then(|text| text.lines().next().map(str::to_owned)).filter(|line| !line.is_empty());
    // Models that were fetched before the file existed.
    line.or_else(|| {
        let name = folder.file_name()?.to_str()?;
        let is_cached = locate::models_dir().is_ok_and(|models| folder == models.join(name));
        let known = KNOWN.iter().find(|known| is_cached && known.name == name)?;
        Some(origin_text(known.member.rsplit('/').next().unwrap_or(known.member), [(known.kind.to_owned(), 1)]))
    })
}

/// The origin in words. `types` has for each tensor the type in the file, such as `Q4_1`, and its number of weights.
fn origin_text(file: &str, types: impl IntoIterator<Item = (String, usize)>) -> String {
    let mut weights: BTreeMap<String, usize> = BTreeMap::new();
    types.into_iter().for_each(|(kind, count)| *weights.entry(kind).or_default() += count);
    let most = weights.into_iter().max_by_key(|(_, count)| *count).map_or(String::new(), |(kind, _)| kind);
    // The types of ggml that are quantised: Q4_1, Q6_K.
    match most.strip_prefix('Q').and_then(|rest| rest.chars().next()) {
        Some(bits) => format!("restored from {bits}-bit weights ({most}) of {file}: less exact than the original"),
        None => format!("converted from {file} ({most})"),
    }
}

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
        let types = gguf.tensors().map(|(_, info)| (format!("{:?}", info.ggml_type), info.shape.iter().product()));
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        dataset::write_file(staging.join(ORIGIN), format!("{}\n", origin_text(&file, types)).as_bytes())?;
        Ok(())
    })?;
    eprintln!("  {} tensors as {dtype:?} in {:.1} s", model.tensors.len(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Copies the files other than weights and configuration: tokenizer, chat templates, generation settings, licence.
pub fn copy_text_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    side_files::copy(from, to)?;
    let mut documents = side_files::documents(from);
    documents.extend(Some(PathBuf::from(ORIGIN)).filter(|name| from.join(name).is_file()));
    side_files::copy_all(from, to, &documents)?;
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
