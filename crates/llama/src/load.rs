//! Loads weights from Hugging Face folders and saves them.

use std::collections::HashSet;
use std::path::Path;

use tch::{Device, Kind, Tensor};
use weights::{Checkpoint, DType, SafetensorsWriter, WeightsError};

use crate::config::{ConfigError, LlamaConfig};
use crate::model::Llama;

/// Why a model cannot be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// `config.json` is faulty.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A weight file is faulty.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor's shape differs from the shape that the configuration requires.
    #[error("{folder}: tensor {name} has shape {found:?}, but config.json asks for {expected:?}")]
    Shape {
        /// The model folder.
        folder: String,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration requires.
        expected: Vec<i64>,
    },
    /// A tensor has a type that models do not support.
    #[error("{folder}: tensor {name} has type {dtype:?}; float32, float16 and bfloat16 are supported")]
    Type {
        /// The model folder.
        folder: String,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: DType,
    },
    /// The folder contains tensors that the configuration does not use.
    #[error(
        "{folder}: {count} tensors have no place in this architecture, the first is {first}; is config.json of another model?"
    )]
    Unused {
        /// The model folder.
        folder: String,
        /// Number of unused tensors.
        count: usize,
        /// Name of the first unused tensor.
        first: String,
    },
    /// A reward model where a language model is expected.
    #[error("{folder}: this is a reward model ({architecture}); it scores answers and cannot write them")]
    Reward {
        /// The model folder.
        folder: String,
        /// The architecture that its `config.json` names.
        architecture: String,
    },
    /// An adapter where a model is expected.
    #[error("{0}: this is a LoRA adapter without its base model; merge the two first: herd merge {0} --output FOLDER")]
    AdapterAlone(String),
    /// The configuration declares tied embeddings, but the files contain a different output head.
    #[error("{0}: config.json says tie_word_embeddings, but lm_head.weight differs from model.embed_tokens.weight")]
    NotTied(String),
    /// libtorch reported an error.
    #[error(transparent)]
    Torch(#[from] torch_ext::OpError),
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A LoRA adapter is faulty.
    #[error("{0}")]
    Adapter(String),
    /// The tokenizer has more tokens than the model has embeddings.
    #[error(
        "{folder}: the tokenizer has {tokenizer} tokens, the model only {model} embeddings; are the files of one model?"
    )]
    Vocabulary {
        /// The model folder.
        folder: String,
        /// Number of tokens of the tokenizer.
        tokenizer: usize,
        /// Number of rows of the embedding table.
        model: i64,
    },
    /// A conversation was given to a model without a chat template.
    #[error("{0} has no chat template (a base model?): give it plain text, or a folder with chat_template.jinja")]
    NoTemplate(String),
    /// The tokenizer or the chat template is faulty.
    #[error(transparent)]
    Chat(#[from] chat::ChatError),
}

impl From<tch::TchError> for ModelError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}

impl Llama {
    /// Loads the model of a Hugging Face folder (`config.json`, `model.safetensors` or shards with their index), in `kind` or
    /// in the type of the files. Every tensor must exist with the right shape, and there must be no other tensors.
    pub fn load(folder: &Path, kind: Option<Kind>, device: Device) -> Result<Self, ModelError> {
        let config = LlamaConfig::from_dir(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        let kind = match kind {
            Some(kind) => kind,
            None => stored_kind(&checkpoint, folder)?,
        };
        let mut used = HashSet::new();
        let tied = config.tie_word_embeddings;
        if let Some(architecture) =
            config.classifier().filter(|_| checkpoint.names().any(|name| name == "score.weight"))
        {
            return Err(ModelError::Reward {
                folder: folder.display().to_string(),
                architecture: architecture.to_owned(),
            });
        }
        let model = Llama::build(config, |name, shape| {
            used.insert(name.to_owned());
            read(&checkpoint, folder, name, shape, kind, device)
        })?;
        check_rest(&checkpoint, folder, &used, tied)?;
        Ok(model)
    }

    /// Writes `config.json` and the weights into `folder`, in `kind` or in the model's type. Tokenizer files are not written.
    /// The files are read back and compared before they are renamed to their final names.
    pub fn save(&self, folder: &Path, kind: Option<Kind>) -> Result<(), ModelError> {
        let kind = kind.unwrap_or(self.kind());
        let parameters = self.named_parameters();
        let dtype = dtype(kind).ok_or(ConfigError::Field(format!("weights of type {kind:?} cannot be saved")))?;
        let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
        let declared = parameters.iter().map(|(name, tensor)| (name.clone(), dtype, shape(tensor)));
        let mut writer = SafetensorsWriter::create(folder, declared.collect())?;
        let _no_grad = tch::no_grad_guard();
        for (name, tensor) in &parameters {
            writer.write(name, &to_bytes(tensor, kind)?)?;
        }
        writer.finish()?;
        let config = serde_json::to_string_pretty(&self.config().to_json(kind)?).expect("a JSON value prints");
        let path = folder.join("config.json");
        std::fs::write(&path, config + "\n").map_err(|cause| ModelError::Io { path: path.display().to_string(), cause })
    }
}

/// The type of the weights in a model folder.
///
/// # Errors
/// When there are no weights, or models do not support their type.
pub fn weights_kind(folder: &Path) -> Result<Kind, ModelError> {
    stored_kind(&Checkpoint::open(folder)?, folder)
}

/// A weight of a model's files in float32 on the CPU; `None` if the files have no tensor of that name.
///
/// # Errors
/// When models do not support its type.
pub fn float32_weight(checkpoint: &Checkpoint, folder: &Path, name: &str) -> Result<Option<Tensor>, ModelError> {
    let Ok(view) = checkpoint.tensor(name) else { return Ok(None) };
    let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
    read(checkpoint, folder, name, &shape, Kind::Float, Device::Cpu).map(Some)
}

/// The bytes of a tensor converted to `kind`: little endian, in row-major order.
pub fn to_bytes(tensor: &Tensor, kind: Kind) -> Result<Vec<u8>, ModelError> {
    let flat = tensor.to_device(Device::Cpu).to_kind(kind).contiguous();
    let size = kind.elt_size_in_bytes();
    let mut bytes = vec![0; flat.numel() * size];
    flat.f_copy_data_u8(&mut bytes, flat.numel())?;
    Ok(bytes)
}

/// One tensor of a checkpoint: checked against the shape that the configuration requires, and converted.
///
/// # Errors
/// When it is missing, or has another shape, or a type that models do not support.
pub fn read(
    checkpoint: &Checkpoint,
    folder: &Path,
    name: &str,
    shape: &[i64],
    kind: Kind,
    device: Device,
) -> Result<Tensor, ModelError> {
    let view = checkpoint.tensor(name)?;
    if view.shape.len() != shape.len() || view.shape.iter().zip(shape).any(|(&a, &b)| a as i64 != b) {
        return Err(ModelError::Shape {
            folder: folder.display().to_string(),
            name: name.to_owned(),
            found: view.shape.to_vec(),
            expected: shape.to_vec(),
        });
    }
    let stored = torch_kind(view.dtype).ok_or_else(|| ModelError::Type {
        folder: folder.display().to_string(),
        name: name.to_owned(),
        dtype: view.dtype,
    })?;
    let tensor = Tensor::f_from_data_size(view.data, shape, stored)?;
    Ok(tensor.f_to_device(device)?.f_to_kind(kind)?)
}

/// The type of the embedding table. In the files of these model families, all tensors have this type.
pub(crate) fn stored_kind(checkpoint: &Checkpoint, folder: &Path) -> Result<Kind, ModelError> {
    let view = checkpoint.tensor("model.embed_tokens.weight")?;
    torch_kind(view.dtype).ok_or_else(|| ModelError::Type {
        folder: folder.display().to_string(),
        name: view.name.to_owned(),
        dtype: view.dtype,
    })
}

/// The type of libtorch for a floating-point type of a file; `None` if models do not support it.
pub fn torch_kind(dtype: DType) -> Option<Kind> {
    match dtype {
        DType::F32 => Some(Kind::Float),
        DType::F16 => Some(Kind::Half),
        DType::BF16 => Some(Kind::BFloat16),
        _ => None,
    }
}

/// The name of a floating-point type in a safetensors file.
pub(crate) fn dtype(kind: Kind) -> Option<DType> {
    match kind {
        Kind::Float => Some(DType::F32),
        Kind::Half => Some(DType::F16),
        Kind::BFloat16 => Some(DType::BF16),
        _ => None,
    }
}

/// An error if the files have tensors that the model does not use, other than the rotary tables of old files and a copy of tied
/// embeddings.
pub(crate) fn check_rest(
    checkpoint: &Checkpoint,
    folder: &Path,
    used: &HashSet<String>,
    tied: bool,
) -> Result<(), ModelError> {
    let mut unused = Vec::new();
    for name in checkpoint.names().filter(|name| !used.contains(*name) && !name.ends_with("rotary_emb.inv_freq")) {
        if tied && name == "lm_head.weight" {
            let (head, embedding) = (checkpoint.tensor(name)?, checkpoint.tensor("model.embed_tokens.weight")?);
            if head.data != embedding.data {
                return Err(ModelError::NotTied(folder.display().to_string()));
            }
        } else {
            unused.push(name);
        }
    }
    match unused.first() {
        None => Ok(()),
        Some(first) => Err(ModelError::Unused {
            folder: folder.display().to_string(),
            count: unused.len(),
            first: (*first).to_owned(),
        }),
    }
}
