//! The encoder's states of pictures, computed once. They are kept by the digest of the picture's bytes and that of the
//! encoder, in float16, one file each; a file that is damaged or half written is computed again.

use std::path::{Path, PathBuf};

use dataset::digest;
use pictures::{Limits, Source, decode};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::encoder::{Encoder, encoder_digest};
use crate::{Result, VisionError};

/// Hexadecimal digits of each digest in a file's name.
const DIGITS: usize = 24;

/// States of pictures, in a folder or not kept at all.
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
    /// Of what follows.
    sha256: String,
}

/// What was found for a picture.
#[derive(Debug)]
pub enum Kept {
    /// Its states, `[places, width]` float16 on the processor.
    Whole(Tensor),
    /// A file whose bytes are not those that were written.
    Damaged,
    /// Nothing.
    Missing,
}

impl Features {
    /// The states of an encoder, kept in `folder` if one is given.
    ///
    /// # Errors
    /// When the encoder's parameters cannot be read.
    pub fn new(folder: Option<&Path>, encoder: &dyn Encoder) -> Result<Self> {
        Ok(Self { folder: folder.map(Path::to_owned), encoder: encoder_digest(encoder)? })
    }

    /// Whether the states are those of the same encoder, used in the same way.
    #[must_use]
    pub fn is_of_same_encoder(&self, other: &Self) -> bool {
        self.encoder == other.encoder
    }

    /// The file of a picture with this digest.
    #[must_use]
    pub fn file(&self, digest: &str) -> Option<PathBuf> {
        let short = |digest: &str| digest.get(..DIGITS).unwrap_or(digest).to_owned();
        Some(self.folder.as_ref()?.join(format!("{}-{}.f16", short(digest), short(&self.encoder))))
    }

    /// The states of the picture with this digest, if they are kept.
    #[must_use]
    pub fn kept(&self, digest: &str) -> Kept {
        let Some(bytes) = self.file(digest).and_then(|file| std::fs::read(file).ok()) else { return Kept::Missing };
        read(&bytes).map_or(Kept::Damaged, Kept::Whole)
    }

    /// Computes the states of a picture, `[places, width]` float16, and keeps them under `digest` if there is a folder.
    ///
    /// # Errors
    /// For a picture that cannot be used, states that are no numbers, and a folder that cannot be written to.
    pub fn add(&self, encoder: &dyn Encoder, source: &Source, limits: &Limits, digest: &str) -> Result<Tensor> {
        let states = self.compute(encoder, source, limits)?;
        if let Some(file) = self.file(digest) {
            let bytes = written(&states)?;
            dataset::write_file(&file, &bytes).map_err(|error| VisionError::Pictures(error.to_string()))?;
        }
        Ok(states)
    }

    /// Computes the states of a picture, `[places, width]` float16: rounded as kept ones are, kept or not.
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
            // White space and names of the header apart, every byte counts.
            assert!(read(&other).is_none_or(|found| found.equal(&states)), "changed at {at}");
        }
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(read(&other).is_none());
    }
}
