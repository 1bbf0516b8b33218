//! Composed models: a language model whose files stay unchanged, with an encoder and an adapter.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use llama::attention::Attend;
use llama::{ModelFolder, Pass};
use pictures::{Limits, Source};
use run::Input;
use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, catch};
use weights::{Checkpoint, DType, SafetensorsWriter};

use crate::adapter::{Adapter, AdapterConfig, CONFIG, ENCODER, ENCODER_PREFIX, WEIGHTS};
use crate::cross::through;
use crate::encoder::{Encoder, load_encoder};
use crate::features::Features;
use crate::sight::Sight;
use crate::words::Words;
use crate::{Result, VisionError};

/// A composed model.
pub struct Composed {
    /// The language model with its tokenizer and chat template.
    pub text: ModelFolder,
    /// The tokenizer of the language model, with the image token.
    pub words: Words,
    /// The cross-attention layers and their projections.
    pub adapter: Adapter,
    /// The image encoder.
    pub encoder: Box<dyn Encoder>,
    /// The content of `adapter.json`.
    pub config: AdapterConfig,
    /// The cache of the encoder's states.
    pub features: Features,
}

impl Composed {
    /// Loads the model of a folder that `herd vision train` wrote. The language model is the one in `adapter.json`, whose files must be
    /// those that the adapter was trained on, or the one in `language_model`.
    ///
    /// # Errors
    /// When a file is missing, invalid or changed; the error names it.
    pub fn load(folder: &Path, language_model: Option<&Path>, kind: Option<Kind>, device: Device) -> Result<Self> {
        let config = AdapterConfig::from_dir(folder)?;
        let beneath = match language_model {
            Some(path) => path.to_owned(),
            None => unchanged(folder, &config)?,
        };
        let text = ModelFolder::load(&beneath, kind, device)?;
        let words = Words::from_dir(&beneath)?;
        let adapter = Adapter::load(folder, &config, &text.model)?;
        let encoder = load_encoder(&folder.join(ENCODER), &config.encoder, Some(text.model.kind()), device)?;
        if encoder.width() != config.feature_width {
            return Err(VisionError::Pictures(format!(
                "{}: feature_width is {}, the encoder's states have {}",
                folder.join(CONFIG).display(),
                config.feature_width,
                encoder.width()
            )));
        }
        let features = Features::new(None, encoder.as_ref())?;
        Ok(Self { text, words, adapter, encoder, config, features })
    }

    /// The encoder's states of pictures, each `[places, width]`.
    ///
    /// # Errors
    /// When a picture cannot be used.
    pub fn look(&self, sources: &[Source], limits: &Limits) -> Result<Vec<Tensor>> {
        sources.iter().map(|source| self.features.compute(self.encoder.as_ref(), source, limits)).collect()
    }

    /// Determines which token of `ids` (rows of `seq` tokens with one document each) sees which picture; `None` without pictures.
    ///
    /// # Errors
    /// When the numbers of image tokens and of pictures differ.
    pub fn sight(&self, ids: &[i64], seq: usize, features: &[Tensor]) -> Result<Option<Sight>> {
        let image = i64::from(self.words.image_id);
        if features.is_empty() && !ids.contains(&image) {
            return Ok(None);
        }
        if features.is_empty() {
            return Err(VisionError::Pictures("there are image tokens, and no pictures".into()));
        }
        Sight::of_rows(ids, seq, image, self.adapter.states(features)?).map(Some)
    }

    /// Final hidden states `[rows, seq, hidden]` of `input_ids` at `position_ids`, both `[rows, seq]` int64. Without `sight` this is the
    /// language model's own pass; with it, every token that sees no picture is bit-equal to that pass.
    ///
    /// # Errors
    /// The same as [`llama::Llama::hidden_states`].
    pub fn hidden_states(
        &self,
        input_ids: &Tensor,
        position_ids: &Tensor,
        attend: &mut dyn Attend,
        pass: Pass,
        sight: Option<&Sight>,
    ) -> Result<Tensor, OpError> {
        let model = &self.text.model;
        let Some(sight) = sight else { return model.hidden_states(input_ids, position_ids, attend, pass) };
        let embedded = self.embed(input_ids)?;
        through(model, self.adapter.cross_layers(), embedded, position_ids, (attend, pass), sight)
    }

    /// Embeddings `[rows, seq, hidden]` of ids, including the image token.
    fn embed(&self, input_ids: &Tensor) -> Result<Tensor, OpError> {
        let (image, plain) = catch(|| {
            let image = input_ids.eq(i64::from(self.words.image_id));
            let plain = input_ids.masked_fill(&image, 0);
            Ok::<_, OpError>((image.flatten(0, -1).nonzero().squeeze_dim(1), plain))
        })?;
        let embedded = self.text.model.embed(&plain)?;
        if image.numel() == 0 { Ok(embedded) } else { self.adapter.with_image_tokens(&embedded, &image) }
    }
}

/// Whether a folder is a model that `herd vision train` wrote.
#[must_use]
pub fn is_composed(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

/// The language model's folder, if its files are unchanged since the adapter was trained.
fn unchanged(folder: &Path, config: &AdapterConfig) -> Result<PathBuf> {
    let beneath = &config.language_model;
    let wrong = |what: String| {
        VisionError::Pictures(format!(
            "the language model {} {what}: name the right folder with --language-model ({})",
            beneath.path.display(),
            folder.join(CONFIG).display()
        ))
    };
    if !beneath.path.is_dir() {
        return Err(wrong("is not there".into()));
    }
    let found =
        Input::model("language_model", &beneath.path).map_err(|error| wrong(format!("cannot be read ({error:#})")))?;
    if found.sha256 != beneath.sha256 {
        return Err(wrong("has other files than those that this adapter was trained on".into()));
    }
    Ok(beneath.path.clone())
}

/// Writes an adapter with its settings and its encoder into `target`. `trained` has the trained float32 weights: those of the adapter
/// and, if it was trained, those of the encoder with [`ENCODER_PREFIX`]. Everything else in the encoder's folder `encoder` is copied;
/// from Llama 3.2 Vision only the tower.
///
/// # Errors
/// When a file cannot be read or written.
pub fn save(target: &Path, config: &AdapterConfig, trained: &[(String, Tensor)], encoder: &Path) -> Result<()> {
    let io = |path: &Path, cause: std::io::Error| llama::ModelError::Io { path: path.display().to_string(), cause };
    let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
    let own: Vec<&(String, Tensor)> = trained.iter().filter(|(name, _)| !name.starts_with(ENCODER_PREFIX)).collect();
    let declared = own.iter().map(|(name, tensor)| (name.clone(), DType::F32, shape(tensor)));
    let mut writer = SafetensorsWriter::create_file(&target.join(WEIGHTS), declared.collect())?;
    for (name, tensor) in own {
        writer.write(name, &llama::to_bytes(tensor, Kind::Float)?)?;
    }
    writer.finish()?;
    let path = target.join(CONFIG);
    let text = serde_json::to_string_pretty(config).map_err(|error| VisionError::Pictures(error.to_string()))?;
    std::fs::write(&path, text + "\n").map_err(|cause| io(&path, cause))?;

    let folder = target.join(ENCODER);
    std::fs::create_dir_all(&folder).map_err(|cause| io(&folder, cause))?;
    for name in ["config.json", "preprocessor_config.json", "processor_config.json"] {
        let from = encoder.join(name);
        if from.is_file() {
            std::fs::copy(&from, folder.join(name)).map_err(|cause| io(&from, cause))?;
        }
    }
    let changed: HashMap<&str, &Tensor> =
        trained.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(ENCODER_PREFIX)?, tensor))).collect();
    let source = Checkpoint::open(encoder)?;
    let is_mllama = source.names().any(|name| name.contains("vision_model."));
    let first_style = |name: &str| name.strip_prefix("model.").filter(|_| is_mllama).unwrap_or(name).to_owned();
    let names: Vec<&str> =
        source.names().filter(|name| !is_mllama || first_style(name).starts_with("vision_model.")).collect();
    let mut declared = Vec::with_capacity(names.len());
    for name in &names {
        let (view, name) = (source.tensor(name)?, first_style(name));
        let dtype = if changed.contains_key(name.as_str()) { DType::F32 } else { view.dtype };
        declared.push((name, dtype, view.shape.to_vec()));
    }
    let mut writer = SafetensorsWriter::create(&folder, declared)?;
    for name in names {
        let own = first_style(name);
        match changed.get(own.as_str()) {
            Some(tensor) => writer.write(&own, &llama::to_bytes(tensor, Kind::Float)?)?,
            None => writer.write(&own, source.tensor(name)?.data)?,
        }
    }
    writer.finish()?;
    Ok(())
}
