//! The vision tower of Llama 3.2 Vision (Llama 3 paper, section 7.1): patches of up to four tiles, a transformer, a second transformer
//! with gates; the result is the last state and the outputs of selected layers.
//!
//! As in Meta's code and transformers, only attention between padding and padding is masked: patches of the picture see the padding
//! tiles, so the tower always computes all of them.

use std::path::Path;

use llama::{ModelError, read_weight, torch_kind};
use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, catch};
use weights::Checkpoint;

use crate::Result;
use crate::block::{After, Block, LayerNorm, linear as block_linear};
use crate::config::TowerConfig;
use crate::pixels::Pixels;

/// The tower.
pub struct Tower {
    config: TowerConfig,
    patch_embedding: Tensor,
    class_embedding: Tensor,
    position_gate: Tensor,
    positions: Tensor,
    tile_positions: Tensor,
    before_tiles: [Tensor; 2],
    after_tiles: [Tensor; 2],
    norm_before: LayerNorm,
    norm_after: LayerNorm,
    blocks: Vec<Block>,
    global_blocks: Vec<Block>,
    names: Vec<(String, Tensor)>,
}

/// The number of positions is padded to a multiple of this.
const PADDED: i64 = 8;

impl Tower {
    /// Builds the tower from parameters that `parameter(name, shape)` delivers, by their names on disk.
    ///
    /// # Errors
    /// The errors of `parameter`.
    pub fn build<E>(
        config: TowerConfig,
        mut parameter: impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let mut names = Vec::new();
        let mut get = |name: &str, shape: &[i64]| -> Result<Tensor, E> {
            let name = format!("vision_model.{name}");
            let tensor = parameter(&name, shape)?;
            names.push((name, tensor.shallow_clone()));
            Ok(tensor)
        };
        let c = &config;
        let (width, places, ratios) = (c.hidden_size, c.places(), c.supported_aspect_ratios.len() as i64 + 1);
        let patch_embedding = get("patch_embedding.weight", &[width, 3, c.patch_size, c.patch_size])?;
        let class_embedding = get("class_embedding", &[width])?;
        let position_gate = get("gated_positional_embedding.gate", &[1])?;
        let positions = get("gated_positional_embedding.embedding", &[places, width])?;
        let tile_width = c.max_num_tiles * width;
        let tile_positions = get("gated_positional_embedding.tile_embedding.weight", &[ratios, places * tile_width])?;
        let mut tiles = |name: &str| -> Result<[Tensor; 2], E> {
            let gate = get(&format!("{name}_tile_positional_embedding.gate"), &[1])?;
            Ok([gate, get(&format!("{name}_tile_positional_embedding.embedding.weight"), &[ratios, tile_width])?])
        };
        let (before_tiles, after_tiles) = (tiles("pre")?, tiles("post")?);
        let norm_before = LayerNorm::build("layernorm_pre", width, 1e-5, &mut get)?;
        let norm_after = LayerNorm::build("layernorm_post", width, 1e-5, &mut get)?;
        let mut stack = |name: &str, count: usize, gated: bool| -> Result<Vec<Block>, E> {
            (0..count).map(|index| block(&format!("{name}.layers.{index}"), &config, gated, &mut get)).collect()
        };
        let blocks = stack("transformer", config.num_hidden_layers, false)?;
        let global_blocks = stack("global_transformer", config.num_global_layers, true)?;
        Ok(Self {
            patch_embedding,
            class_embedding,
            position_gate,
            positions,
            tile_positions,
            before_tiles,
            after_tiles,
            norm_before,
            norm_after,
            blocks,
            global_blocks,
            names,
            config,
        })
    }

    /// The sizes of the tower.
    #[must_use]
    pub fn config(&self) -> &TowerConfig {
        &self.config
    }

    /// All parameters by their names on disk; the tensors are shared with the tower.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.names.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Loads only the tower of an `MllamaForConditionalGeneration` folder, in the type of the files or in `kind`. Both styles of names
    /// are accepted.
    ///
    /// # Errors
    /// When a file, a tensor or a field is invalid; the error names it.
    pub fn load(folder: &Path, kind: Option<Kind>, device: Device) -> Result<Self> {
        let config = TowerConfig::from_dir(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        let second = checkpoint.names().any(|name| name.starts_with("model.vision_model."));
        let on_disk = |name: &str| if second { format!("model.{name}") } else { name.to_owned() };
        let first = checkpoint.tensor(&on_disk("vision_model.class_embedding"))?;
        let kind = kind.or_else(|| torch_kind(first.dtype)).ok_or_else(|| ModelError::Type {
            folder: folder.display().to_string(),
            name: first.name.to_owned(),
            dtype: first.dtype,
        })?;
        Ok(Self::build(config, |name, shape| read_weight(&checkpoint, folder, &on_disk(name), shape, kind, device))?)
    }

    /// The type and the device of the tower.
    #[must_use]
    pub fn options(&self) -> (Kind, Device) {
        (self.patch_embedding.kind(), self.patch_embedding.device())
    }

    /// The features of pictures, `[pictures, tiles, places, output width]`. The last state of a position is followed by those of the
    /// selected layers, feature by feature: feature 0 of all layers, then feature 1, as transformers stacks them.
    ///
    /// # Errors
    /// When shapes do not match, or memory is not sufficient.
    pub fn forward(&self, pixels: &Pixels) -> Result<Tensor, OpError> {
        catch(|| self.compute(pixels)).map_err(|error: OpError| error.context("vision tower"))
    }

    fn compute(&self, pixels: &Pixels) -> Result<Tensor, OpError> {
        let (kind, device) = (self.patch_embedding.kind(), self.patch_embedding.device());
        let (side, width, places) = (self.config.image_size, self.config.hidden_size, self.config.places());
        let (pictures, tiles) = (pixels.count(), self.config.max_num_tiles);
        let expected = [pictures, tiles, 3, side, side];
        if pixels.values.size() != expected {
            return Err(OpError::of(format!("pixels are {:?}, {expected:?} are expected", pixels.values.size())));
        }
        let ids = pixels.ratio_ids.to_device(device);
        let flat = pixels.values.to_device(device).to_kind(kind).view([-1, 3, side, side]);
        let stride = [self.config.patch_size; 2];
        let patches = flat.conv2d(&self.patch_embedding, None::<Tensor>, stride, [0, 0], [1, 1], 1);
        let patches = patches.flatten(2, 3).transpose(1, 2).reshape([pictures, tiles, places - 1, width]);
        let patches = self.with_tiles(&patches, &self.before_tiles, &ids);
        let class = self.class_embedding.view([1, 1, 1, width]).expand([pictures, tiles, 1, width], false);
        let gate = self.position_gate.tanh();
        let x = Tensor::cat(&[class, patches], 2) + (1.0 - &gate) * &self.positions;
        let own = self.tile_positions.index_select(0, &ids).view([pictures, tiles, places, width]);
        let x = self.norm_before.forward(&(x + gate * own));

        let padded = (places as u64).next_multiple_of(PADDED as u64) as i64;
        let mask = self.mask(&pixels.tiles, padded, (kind, device));
        let mut x = x.constant_pad_nd([0, 0, 0, padded - places]).view([pictures, tiles * padded, width]);
        let mut chosen = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, Some(&mask))?;
            if self.config.intermediate_layers_indices.contains(&index) {
                chosen.push((index, x.shallow_clone()));
            }
        }
        let all = self.norm_after.forward(&x).view([pictures, tiles, padded, width]);
        let mut x = self.with_tiles(&all, &self.after_tiles, &ids).view([pictures, tiles * padded, width]);
        for block in &self.global_blocks {
            x = block.forward(&x, Some(&mask))?;
        }
        let unpadded = |x: &Tensor| x.view([pictures, tiles, padded, width]).narrow(2, 0, places);
        let mut parts = vec![unpadded(&x)];
        // The order is that of the configuration, which may be arbitrary.
        let indices = &self.config.intermediate_layers_indices;
        let states = indices.iter().filter_map(|wanted| chosen.iter().find(|(index, _)| index == wanted));
        let states: Vec<Tensor> = states.map(|(_, state)| unpadded(state)).collect();
        if !states.is_empty() {
            parts.push(Tensor::stack(&states, -1).flatten(3, 4));
        }
        Ok(Tensor::cat(&parts, -1))
    }

    /// Adds the embedding of each tile's position in its picture: `[pictures, tiles, places, width]`.
    fn with_tiles(&self, x: &Tensor, [gate, embedding]: &[Tensor; 2], ids: &Tensor) -> Tensor {
        let width = self.config.hidden_size;
        let own = embedding.index_select(0, ids).view([-1, self.config.max_num_tiles, 1, width]);
        x + own * gate.tanh()
    }

    /// The mask that is added to the scores, `[pictures, 1, places, places]` over all tiles: the type's lowest number if both the query
    /// and the key are padding.
    fn mask(&self, tiles: &[i64], padded: i64, (kind, device): (Kind, Device)) -> Tensor {
        let (max, places) = (self.config.max_num_tiles, self.config.places());
        let padding: Vec<f32> = tiles
            .iter()
            .flat_map(|&own| {
                (0..max).flat_map(move |tile| (0..padded).map(move |place| tile >= own || place >= places))
            })
            .map(|padding| f32::from(u8::from(padding)))
            .collect();
        let padding = Tensor::from_slice(&padding).view([tiles.len() as i64, max * padded, 1]).to_device(device);
        let least = match kind {
            Kind::Half => -65504.0,
            Kind::BFloat16 => -3.389_531_389_251_535_5e38,
            _ => f64::from(f32::MIN),
        };
        (padding.matmul(&padding.transpose(1, 2)) * least).to_kind(kind).unsqueeze(1)
    }
}

fn block<E>(
    name: &str,
    c: &TowerConfig,
    gated: bool,
    get: &mut impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
) -> Result<Block, E> {
    let width = c.hidden_size;
    let mut gate = |kind: &str| get(&format!("{name}.{kind}"), &[1]);
    let after = if gated { After::Gates([gate("gate_attn")?, gate("gate_ffn")?]) } else { After::Nothing };
    let mut norm = |kind: &str| LayerNorm::build(&format!("{name}.{kind}"), width, c.norm_eps, get);
    let norms = [norm("input_layernorm")?, norm("post_attention_layernorm")?];
    let mut linear = |kind: &str, out: i64, input: i64, biased: bool| {
        block_linear(&format!("{name}.{kind}"), [out, input], biased, get)
    };
    Ok(Block {
        attention: [
            linear("self_attn.q_proj", width, width, false)?,
            linear("self_attn.k_proj", width, width, false)?,
            linear("self_attn.v_proj", width, width, false)?,
            linear("self_attn.o_proj", width, width, false)?,
        ],
        feed_forward: [
            linear("mlp.fc1", c.intermediate_size, width, true)?,
            linear("mlp.fc2", width, c.intermediate_size, true)?,
        ],
        norms,
        after,
        heads: c.attention_heads,
    })
}
