//! The interface of image encoders for composed models, and its two implementations: Llama 3.2 Vision's tower and DINOv2.

use std::path::Path;

use dataset::digest::Fingerprint;
use llama::ConfigError;
use pictures::{Picture, Processor, resize};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::config::config_json;
use crate::dinov2::Dinov2;
use crate::pixels::Pixels;
use crate::tower::Tower;
use crate::{Result, VisionError};

/// An image encoder.
pub trait Encoder: Send {
    /// Width of the states.
    fn width(&self) -> i64;

    /// The states of a picture, `[places, width]`. They only depend on the picture and the encoder: pictures are computed one at a time,
    /// so that other pictures of a batch do not change any bit.
    ///
    /// # Errors
    /// When the picture has no pixels, or memory is not sufficient.
    fn encode(&self, picture: &Picture) -> Result<Tensor>;

    /// All parameters by their names on disk; the tensors are shared with the encoder.
    fn named_parameters(&self) -> Vec<(String, Tensor)>;

    /// The settings that affect the states, in addition to picture and parameters, as text.
    fn settings(&self) -> String;
}

/// Options of an encoder. Options that its folder determines are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderOptions {
    /// DINOv2: the longer side of a picture in pixels; the other side follows, in whole patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
    /// DINOv2: layers, from 0, whose states are appended to the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
}

/// Loads the encoder of a folder (a `Dinov2Model`, or the tower of an `MllamaForConditionalGeneration`) in the type of the files or in
/// `kind`.
///
/// # Errors
/// When the folder is invalid, or when the encoder lacks an option.
pub fn load_encoder(
    folder: &Path,
    options: &EncoderOptions,
    kind: Option<Kind>,
    device: Device,
) -> Result<Box<dyn Encoder>> {
    let config = config_json(folder)?;
    let named = config.get("architectures").and_then(|list| list.get(0)).or_else(|| config.get("model_type"));
    match named.and_then(Value::as_str).unwrap_or("(none given)") {
        "Dinov2Model" | "dinov2" => Ok(Box::new(DinoEncoder::load(folder, options, kind, device)?)),
        "MllamaForConditionalGeneration" | "mllama" => {
            if *options != EncoderOptions::default() {
                return Err(VisionError::Pictures(format!(
                    "{}: the image size and the layers of Llama 3.2 Vision's tower are those of its folder: leave \
                     --image-size and --encoder-layers out",
                    folder.display()
                )));
            }
            Ok(Box::new(TowerEncoder::load(folder, kind, device)?))
        }
        other => Err(ConfigError::Field(format!(
            "{}: architecture {other:?} is no encoder that is read: Dinov2Model and MllamaForConditionalGeneration are",
            folder.join("config.json").display()
        ))
        .into()),
    }
}

/// The digest of an encoder: its parameters, their type, and its options.
///
/// # Errors
/// When a parameter cannot be read.
pub fn encoder_digest(encoder: &dyn Encoder) -> Result<String> {
    let mut print = Fingerprint::new().text("settings", &encoder.settings());
    for (name, tensor) in encoder.named_parameters() {
        let bytes = llama::to_bytes(&tensor.detach(), tensor.kind())?;
        let digest = dataset::digest::bytes(&bytes);
        print = print.text(&format!("{name} {:?} {:?}", tensor.kind(), tensor.size()), &digest);
    }
    Ok(print.finish())
}

/// DINOv2 with its processor. The longer side of a picture is scaled to a given size (Pillow's bilinear resize, as in the other
/// processor), the other side to whole patches, so that nothing is cropped; transformers' own processor crops the centre.
struct DinoEncoder {
    model: Dinov2,
    side: u32,
    layers: Vec<usize>,
    mean: [f32; 3],
    std: [f32; 3],
}

impl DinoEncoder {
    fn load(folder: &Path, options: &EncoderOptions, kind: Option<Kind>, device: Device) -> Result<Self> {
        let model = Dinov2::load(folder, kind, device)?;
        let patch = model.patch_size();
        let side = options.image_size.map_or(model.image_size(), i64::from);
        if side % patch != 0 || !(patch..=4096).contains(&side) {
            return Err(VisionError::Pictures(format!(
                "an image size of {side} pixels: it must be a multiple of the patch's, {patch}, and at most 4096"
            )));
        }
        let layers = options.layers.clone();
        if let Some(layer) = layers.iter().find(|layer| **layer + 1 >= model.layers()) {
            return Err(VisionError::Pictures(format!(
                "encoder layer {layer}: it must lie before the last of {} layers, which is always taken",
                model.layers()
            )));
        }
        let (mean, std) = statistics(folder)?;
        Ok(Self { model, side: side as u32, layers, mean, std })
    }

    /// Width and height after scaling.
    fn size(&self, picture: &Picture) -> (u32, u32) {
        let patch = self.model.patch_size() as u32;
        let longer = picture.width.max(picture.height).max(1);
        let scaled = |side: u32| {
            let patches = f64::from(side) / f64::from(longer) * f64::from(self.side / patch);
            patch * (patches.round() as u32).max(1)
        };
        (scaled(picture.width), scaled(picture.height))
    }
}

impl Encoder for DinoEncoder {
    fn width(&self) -> i64 {
        self.model.width() * (1 + self.layers.len() as i64)
    }

    fn encode(&self, picture: &Picture) -> Result<Tensor> {
        has_pixels(picture)?;
        let (width, height) = self.size(picture);
        let sizes = |(width, height): (u32, u32)| (width as usize, height as usize);
        let rgb = resize(&picture.rgb, sizes((picture.width, picture.height)), sizes((width, height)));
        let (_, device) = self.model.options();
        let (last, chosen) = catch(|| {
            let pixels = Tensor::from_slice(&rgb).view([i64::from(height), i64::from(width), 3]).to_kind(Kind::Float);
            let row = |values: &[f32; 3]| Tensor::from_slice(values);
            let normal = (pixels / 255.0 - row(&self.mean)) / row(&self.std);
            let normal = normal.permute([2, 0, 1]).unsqueeze(0).contiguous();
            self.model.forward(&normal.to_device(device), &self.layers)
        })?;
        Ok(catch(|| {
            let all: Vec<Tensor> = std::iter::once(last).chain(chosen).collect();
            Ok::<_, OpError>(Tensor::cat(&all, -1).squeeze_dim(0))
        })?)
    }

    fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.model.named_parameters()
    }

    fn settings(&self) -> String {
        format!("dinov2 {} {:?} {:?} {:?}", self.side, self.layers, self.mean, self.std)
    }
}

/// Mean and standard deviation of red, green and blue, from the folder's `preprocessor_config.json`, or ImageNet's.
fn statistics(folder: &Path) -> Result<([f32; 3], [f32; 3])> {
    const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    const STD: [f32; 3] = [0.229, 0.224, 0.225];
    let path = folder.join("preprocessor_config.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok((MEAN, STD)) };
    let wrong = |what: &str| VisionError::Pictures(format!("{}: {what}", path.display()));
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(&format!("is not JSON: {error}")))?;
    let three = |name: &str, default: [f32; 3]| match value.get(name).filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(list) => {
            let numbers = list.as_array().and_then(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
            let numbers = numbers.filter(|list| list.iter().all(|x| name != "image_std" || *x > 0.0));
            let numbers = numbers.map(|list| list.iter().map(|x| *x as f32).collect::<Vec<f32>>());
            let three = numbers.and_then(|list| <[f32; 3]>::try_from(list).ok());
            three.ok_or_else(|| wrong(&format!("{name} must be three numbers")))
        }
    };
    Ok((three("image_mean", MEAN)?, three("image_std", STD)?))
}

fn has_pixels(picture: &Picture) -> Result<()> {
    if picture.rgb.is_empty() || picture.rgb.len() as u64 != 3 * u64::from(picture.width) * u64::from(picture.height) {
        return Err(VisionError::Pictures("a picture has no pixels".into()));
    }
    Ok(())
}

/// Llama 3.2 Vision's tower with its processor. The positions of a picture are those of its tiles in turn.
struct TowerEncoder {
    tower: Tower,
    processor: Processor,
}

impl TowerEncoder {
    fn load(folder: &Path, kind: Option<Kind>, device: Device) -> Result<Self> {
        let tower = Tower::load(folder, kind, device)?;
        let processor = Processor::from_folder(folder).map_err(|error| VisionError::Pictures(error.to_string()))?;
        let config = tower.config();
        let expected = (config.image_size, config.max_num_tiles);
        let found = (i64::from(processor.tile), i64::from(processor.max_tiles));
        if expected != found {
            return Err(VisionError::Pictures(format!(
                "{}: preprocessor_config.json has up to {} tiles of {} pixels, config.json {} of {}: are the files of one \
                 model?",
                folder.display(),
                found.1,
                found.0,
                expected.1,
                expected.0
            )));
        }
        Ok(Self { tower, processor })
    }
}

impl Encoder for TowerEncoder {
    fn width(&self) -> i64 {
        self.tower.config().output_width()
    }

    fn encode(&self, picture: &Picture) -> Result<Tensor> {
        let tiles = self.processor.tiles(picture).map_err(|error| VisionError::Pictures(error.to_string()))?;
        let count = i64::from(tiles.count());
        let features = self.tower.forward(&Pixels::of_tiles(&[tiles], &self.processor)?)?;
        Ok(catch(|| Ok::<_, OpError>(features.get(0).narrow(0, 0, count).flatten(0, 1)))?)
    }

    fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.tower.named_parameters()
    }

    fn settings(&self) -> String {
        format!("mllama {:?}", self.processor)
    }
}
