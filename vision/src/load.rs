//! Reads and writes folders of `MllamaForConditionalGeneration`.

use std::collections::HashSet;
use std::path::Path;

use llama::{ModelError, read_weight, to_bytes, torch_kind};
use tch::{Device, Kind};
use weights::{Checkpoint, SafetensorsWriter};

use crate::Result;
use crate::config::MllamaConfig;
use crate::model::Mllama;
use crate::names::second_style;

impl Mllama {
    /// Loads the model of a folder, in the type of the files or in `kind`. Both styles of names are accepted. Every tensor must exist
    /// with the right shape, and no other tensor may exist.
    ///
    /// # Errors
    /// When a file, a tensor or a field is invalid; the error names it.
    pub fn load(folder: &Path, kind: Option<Kind>, device: Device) -> Result<Self> {
        let config = MllamaConfig::from_dir(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        const EMBEDDING: &str = "language_model.model.embed_tokens.weight";
        let is_first_style = checkpoint.names().any(|name| name == EMBEDDING);
        let on_disk = |name: &str| if is_first_style { name.to_owned() } else { second_style(name) };
        let embedding = on_disk(EMBEDDING);
        let view = checkpoint.tensor(&embedding)?;
        let kind = kind.or_else(|| torch_kind(view.dtype)).ok_or_else(|| ModelError::Type {
            folder: folder.display().to_string(),
            name: embedding.clone(),
            dtype: view.dtype,
        })?;
        let mut used = HashSet::new();
        let model = Self::build(config, |name, shape| {
            let name = on_disk(name);
            let tensor = read_weight(&checkpoint, folder, &name, shape, kind, device);
            used.insert(name);
            tensor
        })?;
        let unused: Vec<&str> = checkpoint.names().filter(|name| !used.contains(*name)).collect();
        match unused.first() {
            None => Ok(model),
            Some(first) => Err(ModelError::Unused {
                folder: folder.display().to_string(),
                count: unused.len(),
                first: (*first).to_owned(),
            }
            .into()),
        }
    }

    /// Writes `config.json` and the weights into `folder`, in `kind` or in the model's own type, with the names of the first style, which
    /// all versions of transformers read. The weights are read back and compared before the files get their names.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, folder: &Path, kind: Option<Kind>) -> Result<()> {
        let kind = kind.unwrap_or(self.kind());
        let config = self.config().to_json(kind)?;
        let dtype = match kind {
            Kind::Float => weights::DType::F32,
            Kind::Half => weights::DType::F16,
            // `to_json` refuses every other type.
            _ => weights::DType::BF16,
        };
        let parameters = self.named_parameters();
        let shape = |tensor: &tch::Tensor| tensor.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
        let declared = parameters.iter().map(|(name, tensor)| (name.clone(), dtype, shape(tensor)));
        let mut writer = SafetensorsWriter::create(folder, declared.collect())?;
        let _no_grad = tch::no_grad_guard();
        for (name, tensor) in &parameters {
            writer.write(name, &to_bytes(tensor, kind)?)?;
        }
        writer.finish()?;
        let path = folder.join("config.json");
        let text = format!("{config:#}\n");
        let cannot = |cause| ModelError::Io { path: path.display().to_string(), cause };
        std::fs::write(&path, text).map_err(cannot)?;
        Ok(())
    }
}
