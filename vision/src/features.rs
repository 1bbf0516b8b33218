//! A cache of the encoder's states. The key is the digest of the picture's bytes and that of the encoder; each entry is a float16 file. A
//! damaged or incomplete file is recomputed.

use std::path::{Path, PathBuf};

use dataset::digest;
use pictures::{Limits, Source, decode};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::encoder::{Encoder, encoder_digest};
use crate::{Result, VisionError};

/// Number of hexadecimal digits of each digest in a file name.
const DIGITS: usize = 24;

/// The encoder's states of pictures, cached in a folder or not at all.
#[derive(Debug, Clone)]
pub struct Features {
    folder: Option<PathBuf>,
    encoder: String,
}

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    places: i64,
    width: i64,
    /// The digest of the data that follows.
    sha256: String,
}

/// The result of a cache look-up.
#[derive(Debug)]
pub enum Kept {
    /// Its states, `[places, width]` float16 on the processor.
    Whole(Tensor),
    /// A file whose content has changed.
    Damaged,
    /// No file.
    Missing,
}

impl Features {
    /// Makes a cache for an encoder; `folder` is optional.
    ///
    /// # Errors
    /// When the encoder's parameters cannot be read.
    pub fn new(folder: Option<&Path>, encoder: &dyn Encoder) -> Result<Self> {
        Ok(Self { folder: folder.map(Path::to_owned), encoder: encoder_digest(encoder)? })
    }

    /// Whether both caches are for the same encoder with the same options.
    #[must_use]
    pub fn is_of_same_encoder(&self, other: &Self) -> bool {
        self.encoder == other.encoder
    }

    /// The file for a picture with this digest.
    #[must_use]
    pub fn file(&self, digest: &str) -> Option<PathBuf> {
        let short = |digest: &str| digest.get(..DIGITS).unwrap_or(digest).to_owned();
        Some(self.folder.as_ref()?.join(format!("{}-{}.f16", short(digest), short(&self.encoder))))
    }

    /// Looks up the states of the picture with this digest.
    #[must_use]
    pub fn kept(&self, digest: &str) -> Kept {
        let Some(bytes) = self.file(digest).and_then(|file| std::fs::read(file).ok()) else { return Kept::Missing };
        read(&bytes).map_or(Kept::Damaged, Kept::Whole)
    }

    /// Computes the states of a picture, `[places, width]` float16, and stores them under `digest` if there is a folder.
    ///
    /// # Errors
    /// When a picture cannot be used, when states are not finite, or when the folder cannot be written.
    pub fn add(&self, encoder: &dyn Encoder, source: &Source, limits: &Limits, digest: &str) -> Result<Tensor> {
        let states = self.compute(encoder, source, limits)?;
        if let Some(file) = self.file(digest) {
            let bytes = written(&states)?;
            dataset::write_file(&file, &bytes).map_err(|error| VisionError::Pictures(error.to_string()))?;
        }
        Ok(states)
    }

    /// Computes the states of a picture, `[places, width]` float16. They are rounded like cached ones, whether they are cached or not.
    ///
    /// # Errors
    /// The same as [`Features::add`].
    pub fn compute(&self, encoder: &dyn Encoder, source: &Source, limits: &Limits) -> Result<Tensor> {
        let unusable = |error: pictures::Unusable| VisionError::Pictures(error.to_string());
        let bytes = source.read(limits).map_err(unusable)?;
        let picture = decode(&bytes, limits).map_err(|error| match source.path() {
            Some(path) => unusable(error.at(path.display())),
            None => unusable(error),
        })?;
        let _no_grad = tch::no_grad_guard();
        let states = encoder.encode(&picture)?;
        let (states, finite) = catch(|| {
            let states = states.to_device(tch::Device::Cpu).to_kind(Kind::Half).contiguous();
            let finite = states.isfinite().all().int64_value(&[]) != 0;
            Ok::<_, OpError>((states, finite))
        })?;
        if !finite {
            let name = source.path().map_or_else(|| "a picture".to_owned(), |path| path.display().to_string());
            return Err(VisionError::Pictures(format!("{name}: the encoder's states do not fit into float16")));
        }
        Ok(states)
    }
}

fn written(states: &Tensor) -> Result<Vec<u8>> {
    let data = llama::to_bytes(states, Kind::Half)?;
    let (places, width) = states.size2().map_err(OpError::from)?;
    let header = Header { places, width, sha256: digest::bytes(&data) };
    let mut bytes = serde_json::to_vec(&header).map_err(|error| VisionError::Pictures(error.to_string()))?;
    bytes.push(b'\n');
    bytes.extend(data);
    Ok(bytes)
}

fn read(bytes: &[u8]) -> Option<Tensor> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let header: Header = serde_json::from_slice(&bytes[..end]).ok()?;
    let data = &bytes[end + 1..];
    let fits = header.places > 0
        && header.width > 0
        && header.places.checked_mul(header.width)?.checked_mul(2)? == data.len() as i64;
    if !fits || digest::bytes(data) != header.sha256 {
        return None;
    }
    Tensor::f_from_data_size(data, &[header.places, header.width], Kind::Half).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        torch_ext::init();
        let states = Tensor::from_slice(&[1.0_f32, -2.5, 3.0, 0.1, 5.0, 6.0]).view([2, 3]).to_kind(Kind::Half);
        let bytes = written(&states).unwrap();
        assert!(read(&bytes).unwrap().equal(&states));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            // Except for white space and names of the header, every byte matters.
            assert!(read(&other).is_none_or(|found| found.equal(&states)), "changed at {at}");
        }
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(read(&other).is_none());
    }
}
