//! The image processor of Llama 3.2 Vision, as transformers' `MllamaImageProcessor` (PIL backend) computes it: choose a
//! canvas of tiles, resize into it, pad with black at the right and the bottom, normalise, cut into tiles. The padding comes
//! before the normalisation, so it is `-mean / std` and not 0.

use std::path::Path;

use serde_json::Value;

use crate::decode::Picture;
use crate::resize::resize;
use crate::{Result, Unusable};

/// The settings, from `preprocessor_config.json` of a model folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    /// Height and width of a tile in pixels.
    pub tile: u32,
    /// Maximum number of tiles of a picture.
    pub max_tiles: u32,
    /// Factor for pixel values of 0 to 255.
    pub rescale: f64,
    /// Mean of red, green and blue after rescaling.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue after rescaling.
    pub std: [f32; 3],
}

impl Default for Processor {
    /// The settings of Llama 3.2 Vision Instruct: tiles of 560 pixels, CLIP's statistics.
    fn default() -> Self {
        Self {
            tile: 560,
            max_tiles: 4,
            rescale: 1.0 / 255.0,
            mean: [0.481_454_67, 0.457_827_5, 0.408_210_72],
            std: [0.268_629_55, 0.261_302_6, 0.275_777_1],
        }
    }
}

/// The input of the vision tower for one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiles {
    /// `[tiles, 3, tile, tile]`, float32; the tiles are in row order.
    pub pixels: Vec<f32>,
    /// Number of rows of tiles.
    pub rows: u32,
    /// Number of tiles in a row.
    pub columns: u32,
    /// The index of the arrangement, from 1; 0 stands for an absent picture.
    pub ratio_id: i64,
}

impl Tiles {
    /// Number of tiles of the picture.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.rows * self.columns
    }
}

impl Processor {
    /// Reads the settings of a model folder: `preprocessor_config.json`, or `image_processor` in `processor_config.json`.
    ///
    /// # Errors
    /// When neither exists, or when a setting requires another processor.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let read = |name: &str| match std::fs::read_to_string(folder.join(name)) {
            Ok(text) => serde_json::from_str::<Value>(&text)
                .map(Some)
                .map_err(|error| Unusable::new(format!("is not JSON: {error}")).at(folder.join(name).display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Unusable::new(format!("cannot be read: {error}")).at(folder.join(name).display())),
        };
        let (name, value) = match (read("preprocessor_config.json")?, read("processor_config.json")?) {
            (Some(value), _) => ("preprocessor_config.json", Some(value)),
            (None, whole) => {
                ("processor_config.json", whole.and_then(|mut whole| Some(whole.get_mut("image_processor")?.take())))
            }
        };
        let value = value.ok_or_else(|| {
            Unusable::new(format!("{}: there is no preprocessor_config.json in the folder", folder.display()))
        })?;
        Self::from_json(&value).map_err(|error| error.at(folder.join(name).display()))
    }

    /// Parses a `preprocessor_config.json`. Missing settings have the defaults of transformers' class, except for the size, which is
    /// required.
    ///
    /// # Errors
    /// When the value of a setting is not supported.
    pub fn from_json(value: &Value) -> Result<Self> {
        let field = |name: &str| value.get(name).filter(|value| !value.is_null());
        let wrong = |name: &str, wanted: &str| Unusable::new(format!("{name} must be {wanted}"));
        for name in ["do_resize", "do_pad", "do_rescale", "do_normalize"] {
            if field(name).is_some_and(|value| value != true) {
                return Err(wrong(name, "true: this processor does all its steps"));
            }
        }
        if field("resample").is_some_and(|value| value != 2) {
            return Err(wrong("resample", "2, bilinear"));
        }
        let side = |name: &str| field("size")?.get(name)?.as_u64().filter(|side| (1..=4096).contains(side));
        let tile = match (side("height"), side("width")) {
            (Some(height), Some(width)) if height == width => height as u32,
            _ => return Err(wrong("size", "{\"height\": N, \"width\": N} with N from 1 to 4096")),
        };
        let max_tiles = match field("max_image_tiles") {
            None => 4,
            Some(value) => match value.as_u64() {
                Some(tiles @ 1..=64) => tiles as u32,
                _ => return Err(wrong("max_image_tiles", "a whole number from 1 to 64")),
            },
        };
        let colours = |name: &str, default: f32, least: f64| match field(name) {
            None => Ok([default; 3]),
            Some(value) => {
                let three: Option<Vec<f32>> = value.as_array().and_then(|list| {
                    list.iter().map(|x| x.as_f64().filter(|x| *x >= least).map(|x| x as f32)).collect()
                });
                three.and_then(|list| list.try_into().ok()).ok_or_else(|| wrong(name, "three numbers of 0 or more"))
            }
        };
        Ok(Self {
            tile,
            max_tiles,
            rescale: field("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0),
            mean: colours("image_mean", 0.5, 0.0)?,
            std: colours("image_std", 0.5, f64::MIN_POSITIVE)?,
        })
    }

    /// All arrangements of tiles as (rows, columns), in the order of their numbers: (1, 1), (1, 2), ...
    #[must_use]
    pub fn arrangements(&self) -> Vec<(u32, u32)> {
        let all = 1..=self.max_tiles;
        let pairs = all.clone().flat_map(|rows| all.clone().map(move |columns| (rows, columns)));
        pairs.filter(|(rows, columns)| rows * columns <= self.max_tiles).collect()
    }

    /// The arrangement for a picture, as (rows, columns): the one with the smallest enlargement, or otherwise with the least reduction;
    /// ties go to the fewest tiles.
    #[must_use]
    pub fn canvas(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let scale = |&(rows, columns): &(u32, u32)| {
            let by_height = f64::from(rows * self.tile) / f64::from(height);
            let by_width = f64::from(columns * self.tile) / f64::from(width);
            by_height.min(by_width)
        };
        let all = self.arrangements();
        let enlarging = all.iter().map(scale).filter(|scale| *scale >= 1.0).reduce(f64::min);
        let chosen = enlarging.unwrap_or_else(|| all.iter().map(scale).fold(0.0, f64::max));
        let fitting = all.iter().filter(|arrangement| scale(arrangement) == chosen);
        fitting.min_by_key(|(rows, columns)| rows * columns).copied().unwrap_or((1, 1))
    }

    /// The (width, height) to which a picture is resized on its canvas of (rows, columns). The aspect ratio is kept; a side has at least
    /// 1 pixel.
    #[must_use]
    pub fn fitted(&self, (width, height): (u32, u32), (rows, columns): (u32, u32)) -> (u32, u32) {
        let target_width = width.clamp(self.tile, columns * self.tile);
        let target_height = height.clamp(self.tile, rows * self.tile);
        let by_height = f64::from(target_height) / f64::from(height);
        let by_width = f64::from(target_width) / f64::from(width);
        let scaled = |side: u32, scale: f64| ((f64::from(side) * scale).floor() as u32).max(1);
        if by_width < by_height {
            (target_width, scaled(height, by_width).min(target_height))
        } else {
            (scaled(width, by_height).min(target_width), target_height)
        }
    }

    /// The normalised tiles of a picture.
    ///
    /// # Errors
    /// When the picture has no pixels.
    pub fn tiles(&self, picture: &Picture) -> Result<Tiles> {
        let size = (picture.width, picture.height);
        if picture.rgb.is_empty() || picture.rgb.len() as u64 != 3 * u64::from(size.0) * u64::from(size.1) {
            return Err(Unusable::new("has no pixels"));
        }
        let (rows, columns) = self.canvas(size);
        let (width, height) = self.fitted(size, (rows, columns));
        let sizes = |(width, height): (u32, u32)| (width as usize, height as usize);
        let resized = resize(&picture.rgb, sizes(size), sizes((width, height)));
        let (side, stride) = (self.tile as usize, 3 * width as usize);
        let normal = |value: u8, channel: usize| {
            let rescaled = (f64::from(value) * self.rescale) as f32;
            (rescaled - self.mean[channel]) / self.std[channel]
        };
        let table: Vec<[f32; 3]> = (0..=255).map(|value| [0, 1, 2].map(|channel| normal(value, channel))).collect();
        let mut pixels = Vec::with_capacity(3 * side * side * (rows * columns) as usize);
        for (row, column) in (0..rows as usize).flat_map(|row| (0..columns as usize).map(move |column| (row, column))) {
            for channel in 0..3 {
                for y in row * side..(row + 1) * side {
                    for x in column * side..(column + 1) * side {
                        let inside = y < height as usize && x < width as usize;
                        let value = if inside { resized[y * stride + 3 * x + channel] } else { 0 };
                        pixels.push(table[usize::from(value)][channel]);
                    }
                }
            }
        }
        let number = self.arrangements().iter().position(|known| *known == (rows, columns)).unwrap_or(0);
        Ok(Tiles { pixels, rows, columns, ratio_id: number as i64 + 1 })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Processor::from_folder(folder.path()).unwrap_err().to_string();
        assert!(missing.ends_with("there is no preprocessor_config.json in the folder"), "{missing}");
        let settings =
            json!({"size": {"height": 28, "width": 28}, "max_image_tiles": 2, "resample": 2, "do_pad": true});
        std::fs::write(folder.path().join("processor_config.json"), json!({"image_processor": settings}).to_string())
            .unwrap();
        let processor = Processor::from_folder(folder.path()).unwrap();
        assert_eq!((processor.tile, processor.max_tiles, processor.mean), (28, 2, [0.5; 3]));
        assert_eq!(processor.arrangements(), [(1, 1), (1, 2), (2, 1)]);
        for (name, value) in [
            ("size", json!({"height": 28, "width": 27})),
            ("max_image_tiles", json!(0)),
            ("do_pad", json!(false)),
            ("resample", json!(3)),
            ("image_std", json!([0.0, 1.0, 1.0])),
            ("image_mean", json!([0.5])),
        ] {
            let mut settings = settings.clone();
            settings[name] = value;
            let error = Processor::from_json(&settings).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} must be")), "{error}");
        }
    }
}
