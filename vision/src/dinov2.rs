//! DINOv2 (Oquab et al. 2023) from transformers' `Dinov2Model` folders: an encoder for composed models.

use std::collections::HashSet;
use std::path::Path;

use llama::{ConfigError, ModelError, read_weight, torch_kind};
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, catch};
use weights::Checkpoint;

use crate::Result;
use crate::block::{After, Block, LayerNorm, linear};
use crate::config::config_json;

/// The encoder.
pub struct Dinov2 {
    patches: Tensor,
    patch_bias: Tensor,
    class_token: Tensor,
    /// `[1, 1 + places, width]`, starting with the class token.
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    patch_size: i64,
    image_size: i64,
    names: Vec<(String, Tensor)>,
}

/// The sizes in `config.json`.
struct Config {
    width: i64,
    inner: i64,
    layers: usize,
    heads: i64,
    patch_size: i64,
    image_size: i64,
    places: i64,
    eps: f64,
    biased: bool,
}

impl Config {
    fn from_json(fields: &Map<String, Value>) -> Result<Self, ConfigError> {
        let bad = |what: String| ConfigError::Field(what);
        if fields.get("model_type").is_some_and(|kind| kind != "dinov2") {
            return Err(bad(format!("model_type is {}, \"dinov2\" is expected", fields["model_type"])));
        }
        let size = |name: &str, default: i64| match fields.get(name).filter(|value| !value.is_null()) {
            None => Ok(default),
            Some(value) => match value.as_i64() {
                Some(size @ 1..0x1_0000_0000) => Ok(size),
                _ => Err(bad(format!("{name} is {value}, a positive whole number is expected"))),
            },
        };
        if fields.get("hidden_act").is_some_and(|activation| activation != "gelu") {
            return Err(bad("hidden_act must be \"gelu\"".into()));
        }
        if fields.get("use_swiglu_ffn") == Some(&Value::Bool(true)) {
            return Err(bad("use_swiglu_ffn is true: the giant model's feed-forward block is not supported".into()));
        }
        let (width, heads) = (size("hidden_size", 768)?, size("num_attention_heads", 12)?);
        let (image, patch_size) = (size("image_size", 224)?, size("patch_size", 14)?);
        if width % heads != 0 || patch_size > image {
            return Err(bad("num_attention_heads must divide hidden_size, and image_size hold a patch".into()));
        }
        Ok(Self {
            width,
            heads,
            patch_size,
            image_size: image,
            inner: width * size("mlp_ratio", 4)?,
            layers: size("num_hidden_layers", 12)? as usize,
            places: (image / patch_size).pow(2) + 1,
            eps: fields.get("layer_norm_eps").and_then(Value::as_f64).unwrap_or(1e-6),
            biased: fields.get("qkv_bias") != Some(&Value::Bool(false)),
        })
    }
}

impl Dinov2 {
    /// Loads the encoder of a `Dinov2Model` folder, in the type of the files or in `kind`.
    ///
    /// # Errors
    /// When a file, a tensor or a field is invalid; the error names it.
    pub fn load(folder: &Path, kind: Option<Kind>, device: Device) -> Result<Self> {
        let config = Config::from_json(&config_json(folder)?)?;
        let checkpoint = Checkpoint::open(folder)?;
        let first = checkpoint.tensor("embeddings.cls_token")?;
        let kind = kind.or_else(|| torch_kind(first.dtype)).ok_or_else(|| ModelError::Type {
            folder: folder.display().to_string(),
            name: first.name.to_owned(),
            dtype: first.dtype,
        })?;
        let mut used = HashSet::new();
        let encoder = Self::build(&config, |name, shape| {
            used.insert(name.to_owned());
            read_weight(&checkpoint, folder, name, shape, kind, device)
        })?;
        // The mask token of pretraining is not needed here.
        let mut unused = checkpoint.names().filter(|name| !used.contains(*name) && *name != "embeddings.mask_token");
        match unused.next() {
            None => Ok(encoder),
            Some(first) => Err(ModelError::Unused {
                folder: folder.display().to_string(),
                first: first.to_owned(),
                count: 1 + unused.count(),
            }
            .into()),
        }
    }

    fn build<E>(c: &Config, mut parameter: impl FnMut(&str, &[i64]) -> Result<Tensor, E>) -> Result<Self, E> {
        let mut names = Vec::new();
        let mut get = |name: &str, shape: &[i64]| -> Result<Tensor, E> {
            let tensor = parameter(name, shape)?;
            names.push((name.to_owned(), tensor.shallow_clone()));
            Ok(tensor)
        };
        let width = c.width;
        let blocks = (0..c.layers).map(|index| {
            let name = format!("encoder.layer.{index}");
            let norms = [
                LayerNorm::build(&format!("{name}.norm1"), width, c.eps, &mut get)?,
                LayerNorm::build(&format!("{name}.norm2"), width, c.eps, &mut get)?,
            ];
            let mut square = |kind: &str, biased: bool| {
                linear(&format!("{name}.attention.{kind}"), [width, width], biased, &mut get)
            };
            let attention = [
                square("attention.query", c.biased)?,
                square("attention.key", c.biased)?,
                square("attention.value", c.biased)?,
                square("output.dense", true)?,
            ];
            let scales = [
                get(&format!("{name}.layer_scale1.lambda1"), &[width])?,
                get(&format!("{name}.layer_scale2.lambda1"), &[width])?,
            ];
            let feed_forward = [
                linear(&format!("{name}.mlp.fc1"), [c.inner, width], true, &mut get)?,
                linear(&format!("{name}.mlp.fc2"), [width, c.inner], true, &mut get)?,
            ];
            Ok(Block { norms, attention, feed_forward, after: After::Scales(scales), heads: c.heads })
        });
        let blocks = blocks.collect::<Result<_, E>>()?;
        let patch = [width, 3, c.patch_size, c.patch_size];
        let patches = get("embeddings.patch_embeddings.projection.weight", &patch)?;
        let patch_bias = get("embeddings.patch_embeddings.projection.bias", &[width])?;
        let class_token = get("embeddings.cls_token", &[1, 1, width])?;
        let positions = get("embeddings.position_embeddings", &[1, c.places, width])?;
        let norm = LayerNorm::build("layernorm", width, c.eps, &mut get)?;
        let (patch_size, image_size) = (c.patch_size, c.image_size);
        Ok(Self { patches, patch_bias, class_token, positions, norm, patch_size, image_size, blocks, names })
    }

    /// All parameters by their names on disk; the tensors are shared with the encoder.
    #[must_use]
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.names.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Width of the states.
    #[must_use]
    pub fn width(&self) -> i64 {
        self.class_token.size()[2]
    }

    /// Number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// Height and width of a patch in pixels.
    #[must_use]
    pub fn patch_size(&self) -> i64 {
        self.patch_size
    }

    /// Height and width, in pixels, of the pictures for which the position embeddings were made.
    #[must_use]
    pub fn image_size(&self) -> i64 {
        self.image_size
    }

    /// The type and the device of the encoder.
    #[must_use]
    pub fn options(&self) -> (Kind, Device) {
        (self.patches.kind(), self.patches.device())
    }

    /// The states of pictures `[pictures, 3, height, width]` (normalised; sides are multiples of the patch size): the last state after
    /// its norm, and the raw outputs of `layers` (counted from 0), each `[pictures, 1 + patches, width]`. The class token is first. The
    /// position embeddings are interpolated bicubically to the pictures' size.
    ///
    /// # Errors
    /// When shapes do not match, or memory is not sufficient.
    pub fn forward(&self, pixels: &Tensor, layers: &[usize]) -> Result<(Tensor, Vec<Tensor>), OpError> {
        catch(|| self.compute(pixels, layers)).map_err(|error: OpError| error.context("DINOv2"))
    }

    fn compute(&self, pixels: &Tensor, layers: &[usize]) -> Result<(Tensor, Vec<Tensor>), OpError> {
        let (pictures, _, height, width) = pixels.size4()?;
        let patch = self.patch_size;
        if height % patch != 0 || width % patch != 0 || height == 0 || width == 0 {
            return Err(OpError::of(format!("pictures are {height} x {width}; both must be multiples of {patch}")));
        }
        if let Some(layer) = layers.iter().find(|layer| **layer >= self.blocks.len()) {
            return Err(OpError::of(format!("layer {layer} is asked for, and there are {}", self.blocks.len())));
        }
        let pixels = pixels.to_device(self.patches.device()).to_kind(self.patches.kind());
        let patches = pixels.conv2d(&self.patches, Some(&self.patch_bias), [patch; 2], [0, 0], [1, 1], 1);
        let patches = patches.flatten(2, 3).transpose(1, 2);
        let class = self.class_token.expand([pictures, 1, -1], false);
        let mut x = Tensor::cat(&[class, patches], 1) + self.positions_for(height / patch, width / patch);
        let mut chosen: Vec<Option<Tensor>> = layers.iter().map(|_| None).collect();
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, None)?;
            for (slot, _) in chosen.iter_mut().zip(layers).filter(|(_, layer)| **layer == index) {
                *slot = Some(x.shallow_clone());
            }
        }
        Ok((self.norm.forward(&x), chosen.into_iter().flatten().collect()))
    }

    /// The position embeddings for this number of rows and columns of patches, `[1, 1 + patches, width]`.
    fn positions_for(&self, rows: i64, columns: i64) -> Tensor {
        let own = self.positions.size()[1] - 1;
        let side = (own as f64).sqrt() as i64;
        if (rows, columns) == (side, side) {
            return self.positions.shallow_clone();
        }
        let width = self.positions.size()[2];
        let square = self.positions.narrow(1, 1, own).view([1, side, side, width]).permute([0, 3, 1, 2]);
        let resized = square
            .to_kind(Kind::Float)
            .upsample_bicubic2d([rows, columns], false, None::<f64>, None::<f64>)
            .to_kind(self.positions.kind());
        let flat = resized.permute([0, 2, 3, 1]).reshape([1, rows * columns, width]);
        Tensor::cat(&[self.positions.narrow(1, 0, 1), flat], 1)
    }
}
