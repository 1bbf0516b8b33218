//! Averages whole models. One tensor is in memory at a time; it is summed in float64 and then rounded to the saved
//! type. So the order of summation has no effect, and averaging a model with itself returns the model.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use llama::{LlamaConfig, to_bytes, torch_kind};
use tch::{Kind, Tensor};
use weights::{Checkpoint, DType, SafetensorsWriter, TensorView};

use crate::inputs::{Input, total};

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// The weights of a model folder, without copies.
struct Weights<'a> {
    folder: &'a Path,
    checkpoint: Checkpoint,
    names: BTreeSet<String>,
}

impl<'a> Weights<'a> {
    /// Opens a folder. A copy of tied embeddings, and rotary tables, which old files contain, are not weights.
    fn open(folder: &'a Path) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(folder)?;
        let mut names: BTreeSet<String> =
            checkpoint.names().filter(|name| !name.ends_with("rotary_emb.inv_freq")).map(str::to_owned).collect();
        if LlamaConfig::from_dir(folder)?.tie_word_embeddings && names.remove(HEAD) {
            ensure!(
                checkpoint.tensor(HEAD)?.data == checkpoint.tensor(EMBEDDING)?.data,
                "{}: config.json says tie_word_embeddings, but {HEAD} differs from {EMBEDDING}",
                folder.display()
            );
        }
        Ok(Self { folder, checkpoint, names })
    }

    /// Checks that `other` has the same tensors with the same shapes.
    fn agree(&self, other: &Self) -> anyhow::Result<()> {
        let (a, b) = (self.folder.display(), other.folder.display());
        if let Some(name) = self.names.symmetric_difference(&other.names).next() {
            let (with, without) = if self.names.contains(name) { (a, b) } else { (b, a) };
            bail!("{with} has a tensor {name}, {without} has none; are they models of the same kind?");
        }
        for name in &self.names {
            let (ours, theirs) = (self.checkpoint.tensor(name)?, other.checkpoint.tensor(name)?);
            ensure!(
                ours.shape == theirs.shape,
                "{name} has shape {:?} in {a} and {:?} in {b}; are they models of the same kind?",
                ours.shape,
                theirs.shape
            );
        }
        Ok(())
    }
}

/// Writes the averaged weights into `target`, in `dtype` or in the types of the first input, and returns the number of
/// tensors. The files are read back and compared before they get their names.
///
/// # Errors
/// When tensors are missing, differ in shape, or are not floating-point; when a file cannot be written.
pub fn average(inputs: &[Input], target: &Path, dtype: Option<DType>) -> anyhow::Result<usize> {
    let all: Vec<Weights> = inputs.iter().map(|input| Weights::open(&input.folder)).collect::<anyhow::Result<_>>()?;
    let first = all.first().context("there is nothing to average")?;
    all[1..].iter().try_for_each(|other| first.agree(other))?;
    let total = total(inputs);
    write(target, &first.checkpoint, first.names.iter().map(String::as_str), dtype, |name| {
        let mut sum: Option<Tensor> = None;
        for (weights, input) in all.iter().zip(inputs) {
            let term = wide(&weights.checkpoint.tensor(name)?, weights.folder)? * input.weight;
            sum = Some(match sum {
                Some(sum) => sum + term,
                None => term,
            });
        }
        Ok(sum.context("there is nothing to average")? / total)
    })
}

/// Writes the tensors `names` of a folder, in `dtype` or in the types of `like`, with the float64 values of `value`.
pub(crate) fn write<'a>(
    target: &Path,
    like: &Checkpoint,
    names: impl Iterator<Item = &'a str>,
    dtype: Option<DType>,
    value: impl Fn(&str) -> anyhow::Result<Tensor>,
) -> anyhow::Result<usize> {
    let _no_grad = tch::no_grad_guard();
    let mut declared = Vec::new();
    for name in names {
        let view = like.tensor(name)?;
        declared.push((name.to_owned(), dtype.unwrap_or(view.dtype), view.shape.to_vec()));
    }
    let mut writer = SafetensorsWriter::create(target, declared.clone())?;
    for (name, dtype, _) in &declared {
        let kind = torch_kind(*dtype).with_context(|| format!("{name} has type {dtype:?}, which has no average"))?;
        let value = value(name)?;
        ensure!(
            finite(&value.f_to_kind(kind)?)?,
            "{name} has values too large for {dtype:?}; choose another --save-dtype"
        );
        writer.write(name, &to_bytes(&value, kind)?)?;
    }
    writer.finish()?;
    Ok(declared.len())
}

/// A tensor in float64.
pub(crate) fn wide(view: &TensorView, folder: &Path) -> anyhow::Result<Tensor> {
    let kind = torch_kind(view.dtype).with_context(|| {
        format!("{}: {} has type {:?}, which has no average", folder.display(), view.name, view.dtype)
    })?;
    let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
    let wide = Tensor::f_from_data_size(view.data, &shape, kind)?.f_to_kind(Kind::Double)?;
    ensure!(
        finite(&wide)?,
        "{}: the tensor {} holds values that are not finite (NaN or infinite); such a model cannot be averaged",
        folder.display(),
        view.name
    );
    Ok(wide)
}

fn finite(tensor: &Tensor) -> anyhow::Result<bool> {
    Ok(bool::try_from(tensor.f_isfinite()?.f_all()?)?)
}
