//! JPEG. Truncated files are refused; decoders would fill the missing part with grey.

use std::hash::{DefaultHasher, Hasher as _};

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::decode::{Limits, Notes, Picture};
use crate::kind::Kind;
use crate::{Result, Unusable, colour};

/// The markers of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scans {
    /// Number of start-of-scan markers.
    scans: usize,
    progressive: bool,
    components: u64,
    /// The offset of the end marker.
    end: Option<usize>,
}

/// Scans the markers without decoding.
fn scans(bytes: &[u8]) -> Scans {
    let mut found = Scans::default();
    let mut at = 2;
    while at + 1 < bytes.len() {
        if bytes[at] != 0xFF {
            at += 1;
            continue;
        }
        let marker = bytes[at + 1];
        match marker {
            // Fill bytes, stuffed bytes, restarts and other markers without a payload.
            0xFF => at += 1,
            0x00 | 0x01 | 0xD0..=0xD8 => at += 2,
            0xD9 => {
                found.end = Some(at);
                return found;
            }
            _ => {
                let length = bytes.get(at + 2..at + 4).map_or(2, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
                match marker {
                    0xDA => found.scans += 1,
                    0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                        found.progressive |= marker == 0xC2 || marker == 0xCA;
                        found.components = bytes.get(at + 9).copied().unwrap_or(0).into();
                    }
                    _ => {}
                }
                // The header of a scan is followed by its coded bytes, which the loop skips one by one.
                at += 2 + length.max(2);
            }
        }
    }
    found
}

/// Bytes that are neither a marker nor a sensible picture.
const FILLER: [u8; 64] = [0x5A; 64];

/// Decodes a JPEG file.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let mut decoder = decoder(bytes, true);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged("it has no size"))?;
    let (width, height) = limits.size(width as u64, height as u64)?;
    let scans = scans(bytes);
    let Some(end) = scans.end else {
        return Err(Unusable::new(format!(
            "is a JPEG that ends before its picture does: there is no end marker in its {} bytes",
            bytes.len()
        )));
    };
    let pixels = u64::from(width) * u64::from(height);
    let coefficients = if scans.progressive || scans.scans > 1 { 2 * scans.components.max(1) * pixels } else { 0 };
    limits.memory(3 * pixels + coefficients + bytes.len() as u64)?;
    // The decoder does not report an early end marker. Filler is inserted before the marker: if the picture is complete, the decoder
    // skips it; otherwise it becomes part of the picture.
    let filled = [&bytes[..end], &FILLER, b"\xFF\xD9"].concat();
    let with_filler = self::decoder(&filled, false).decode().map(|rgb| hash(&rgb)).ok();
    let exif = decoder.exif().cloned();
    let rgb = decoder.decode().map_err(damaged)?;
    if rgb.len() as u64 != 3 * pixels {
        return Err(damaged(format!("{} bytes of pixels for {width} x {height}", rgb.len())));
    }
    if with_filler != Some(hash(&rgb)) {
        return Err(Unusable::new("is a JPEG that ends before its picture does: its end marker comes too early"));
    }
    let (orientation, broken_exif) = orientation(exif.as_deref());
    let notes = Notes { turned: orientation != Orientation::NoTransforms, broken_exif, ..Notes::default() };
    if notes.turned {
        limits.memory(6 * pixels)?;
    }
    let (rgb, width, height) = colour::turned(rgb, (width, height), orientation);
    Ok(Picture { width, height, rgb, kind: Kind::Jpeg, notes })
}

fn damaged(what: impl std::fmt::Display) -> Unusable {
    Unusable::new(format!("is a damaged JPEG: {what}"))
}

fn decoder(bytes: &[u8], strict: bool) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

fn hash(rgb: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(rgb);
    hasher.finish()
}

/// The orientation in an EXIF block, and whether the block is broken; a broken block means no rotation.
pub fn orientation(exif: Option<&[u8]>) -> (Orientation, bool) {
    let Some(exif) = exif else { return (Orientation::NoTransforms, false) };
    let found = Orientation::from_exif_chunk(exif);
    let directory = match exif.get(..8) {
        Some(&[b'I', b'I', 42, 0, a, b, c, d]) => Some(u32::from_le_bytes([a, b, c, d])),
        Some(&[b'M', b'M', 0, 42, a, b, c, d]) => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    };
    let sound = directory.is_some_and(|at| at as usize + 2 <= exif.len());
    (found.unwrap_or(Orientation::NoTransforms), !sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_counted() {
        let frame = b"\xFF\xC2\0\x11\x08\0\x10\0\x10\x03\x01\x22\0\x02\x11\0\x03\x11\0";
        let scan = b"\xFF\xDA\0\x02\x12\xFF\0\x34\xFF\xD0\x56";
        let whole = [&b"\xFF\xD8"[..], frame, scan, scan, b"\xFF\xD9"].concat();
        let expected = Scans { scans: 2, progressive: true, components: 3, end: Some(whole.len() - 2) };
        assert_eq!(scans(&whole), expected);
        assert_eq!(scans(&whole[..whole.len() - 2]), Scans { end: None, ..expected });
        // An end marker inside a segment, as in a thumbnail, does not count.
        assert_eq!(scans(b"\xFF\xD8\xFF\xE1\0\x04\xFF\xD9").end, None);
    }

    #[test]
    fn a_broken_exif_block_turns_nothing() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        assert_eq!(orientation(Some(little)), (Orientation::Rotate90, false));
        assert_eq!(orientation(Some(b"II*\0\xFF\xFF\0\0")), (Orientation::NoTransforms, true));
        assert_eq!(orientation(Some(b"nonsense")), (Orientation::NoTransforms, true));
        assert_eq!(orientation(None), (Orientation::NoTransforms, false));
    }
}
