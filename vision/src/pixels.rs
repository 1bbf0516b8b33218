//! The input of the vision tower.

use pictures::{Processor, Tiles};
use tch::{Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::{Result, VisionError};

/// Pictures as tiles, padded with black tiles to the same number.
pub struct Pixels {
    /// `[pictures, tiles, 3, side, side]`, float32.
    pub values: Tensor,
    /// The index of each picture's arrangement of tiles, `[pictures]` int64; 0 for an absent picture.
    pub ratio_ids: Tensor,
    /// Number of tiles of each picture without padding; at least 1.
    pub tiles: Vec<i64>,
}

impl Pixels {
    /// Makes the input from the tiles of a processor.
    ///
    /// # Errors
    /// When there are no pictures, or when the tiles do not match the processor.
    pub fn of_tiles(pictures: &[Tiles], processor: &Processor) -> Result<Self> {
        let (side, max) = (i64::from(processor.tile), i64::from(processor.max_tiles));
        let each = 3 * side * side;
        let sound = |tiles: &Tiles| {
            let count = i64::from(tiles.count());
            count >= 1 && count <= max && tiles.pixels.len() as i64 == count * each
        };
        if pictures.is_empty() || !pictures.iter().all(sound) {
            return Err(VisionError::Pictures(format!(
                "{} pictures of 1 to {max} tiles of {side} x {side} pixels are expected",
                pictures.len().max(1)
            )));
        }
        let tiles: Vec<i64> = pictures.iter().map(|tiles| tiles.count().into()).collect();
        let values = catch(|| {
            let values = Tensor::zeros([pictures.len() as i64, max, 3, side, side], (Kind::Float, tch::Device::Cpu));
            for (i, picture) in pictures.iter().enumerate() {
                let own = Tensor::from_slice(&picture.pixels).view([-1, 3, side, side]);
                values.get(i as i64).narrow(0, 0, own.size()[0]).copy_(&own);
            }
            Ok::<_, OpError>(values)
        })?;
        let ratio_ids: Vec<i64> = pictures.iter().map(|tiles| tiles.ratio_id).collect();
        Ok(Self { values, ratio_ids: Tensor::from_slice(&ratio_ids), tiles })
    }

    /// Number of pictures.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.tiles.len() as i64
    }
}
