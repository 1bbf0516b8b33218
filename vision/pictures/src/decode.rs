//! Decodes bytes to pixels, within limits that are checked before decoding.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{ImageDecoder, ImageError};

use crate::kind::Kind;
use crate::{Result, Unusable, colour, jpeg, svg};

/// Limits on the resources for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum width times height, according to the file's header.
    pub max_pixels: u64,
    /// Maximum number of bytes of a file.
    pub max_bytes: u64,
    /// Maximum memory for pixels during decoding, in bytes.
    pub max_memory: u64,
    /// The longer side, in pixels, in which an SVG is drawn.
    pub svg_side: u32,
    /// Time limit for an SVG.
    pub svg_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 64_000_000,
            max_bytes: 100_000_000,
            max_memory: 390_000_000,
            svg_side: 560,
            svg_time: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// Checks that a width and a height may be decoded.
    pub(crate) fn size(&self, width: u64, height: u64) -> Result<(u32, u32)> {
        let pixels = width.saturating_mul(height);
        if pixels == 0 {
            return Err(Unusable::new(format!("has no pixels: its header says {width} x {height}")));
        }
        if pixels > self.max_pixels {
            return Err(Unusable::new(format!(
                "has {width} x {height} pixels by its header, more than {:.1} million (--max-pixels)",
                self.max_pixels as f64 / 1e6
            )));
        }
        // Both are smaller than their product.
        Ok((u32::try_from(width).unwrap_or(u32::MAX), u32::try_from(height).unwrap_or(u32::MAX)))
    }

    pub(crate) fn memory(&self, bytes: u64) -> Result<()> {
        if bytes <= self.max_memory {
            return Ok(());
        }
        let mb = |bytes: u64| bytes as f64 / 1e6;
        Err(Unusable::new(format!(
            "would take {:.0} MB to decode, more than {:.0} MB: make it smaller",
            mb(bytes),
            mb(self.max_memory)
        )))
    }
}

/// Remarks about a decoded picture, which commands count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// The file has more frames; only the first was decoded.
    pub animated: bool,
    /// EXIF asked for a rotation or reflection, which was applied.
    pub turned: bool,
    /// The EXIF block cannot be read; the picture was used unrotated.
    pub broken_exif: bool,
    /// There was an alpha channel; transparent pixels were composited on white.
    pub alpha: bool,
    /// Number of SVG elements that are not drawn: text without a font, embedded pictures.
    pub undrawn: usize,
}

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[height, width, 3]`: 8-bit red, green and blue as stored; colour profiles are ignored.
    pub rgb: Vec<u8>,
    /// The file format.
    pub kind: Kind,
    /// Remarks about the decoding.
    pub notes: Notes,
}

/// Decodes the bytes of a file.
///
/// # Errors
/// When the bytes are not a picture, are damaged or truncated, or exceed the limits.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    if bytes.len() as u64 > limits.max_bytes {
        return Err(Unusable::new(format!("has {} bytes, more than {}", bytes.len(), limits.max_bytes)));
    }
    let kind = Kind::of(bytes)?;
    // The decoders are third-party code, and the bytes are untrusted.
    catch_unwind(AssertUnwindSafe(|| match kind {
        Kind::Jpeg => jpeg::decode(bytes, limits),
        Kind::Svg => svg::decode(bytes, limits),
        Kind::Png | Kind::Gif | Kind::WebP | Kind::Bmp => raster(kind, bytes, limits),
    }))
    .unwrap_or_else(|_| Err(Unusable::new(format!("made the decoder of {} files fail (a fault of it)", kind.name()))))
}

fn raster(kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let failed = |error: ImageError| damaged(kind, &error);
    let input = Cursor::new(bytes);
    match kind {
        Kind::Png => {
            // Texts and profiles are compressed and may be decompression bombs: together they get 32 MB; pixels are counted separately.
            let mut own = image::Limits::no_limits();
            own.max_alloc = Some(32 << 20);
            let decoder = PngDecoder::with_limits(input, own).map_err(failed)?;
            let animated = decoder.is_apng().map_err(failed)?;
            pixels(kind, decoder, animated, 0, limits)
        }
        Kind::Gif => {
            let decoder = GifDecoder::new(input).map_err(failed)?;
            // The frame and the canvas take four bytes per pixel each.
            pixels(kind, decoder, gif_frames(bytes) > 1, 4, limits)
        }
        Kind::WebP => {
            let declared = bytes.get(4..8).map_or(0, |b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])) + 8);
            if declared > bytes.len() as u64 + 1 {
                return Err(Unusable::new(format!("is a WebP that ends after {} of {declared} bytes", bytes.len())));
            }
            let decoder = WebPDecoder::new(input).map_err(failed)?;
            let animated = decoder.has_animation();
            pixels(kind, decoder, animated, 2, limits)
        }
        _ => pixels(kind, BmpDecoder::new(input).map_err(failed)?, false, 0, limits),
    }
}

/// Decodes a picture whose header was read. `own` is the number of bytes per pixel that the decoder needs besides its result.
fn pixels(kind: Kind, mut decoder: impl ImageDecoder, animated: bool, own: u64, limits: &Limits) -> Result<Picture> {
    let failed = |error: ImageError| damaged(kind, &error);
    let (width, height) = decoder.dimensions();
    let (width, height) = limits.size(width.into(), height.into())?;
    let count = u64::from(width) * u64::from(height);
    let (color, total) = (decoder.color_type(), decoder.total_bytes());
    limits.memory(total + (own * count).max(colour::extra_bytes(color, count)))?;
    // A fault in the metadata does not make the picture invalid.
    let exif = decoder.exif_metadata();
    let (orientation, broken_exif) = match &exif {
        Ok(exif) => jpeg::orientation(exif.as_deref()),
        Err(_) => (image::metadata::Orientation::NoTransforms, true),
    };
    let mut raw = vec![0; usize::try_from(total).unwrap_or(0)];
    decoder.read_image(&mut raw).map_err(failed)?;
    let (rgb, alpha) = colour::to_rgb(raw, color)?;
    let turned = orientation != image::metadata::Orientation::NoTransforms;
    if turned {
        limits.memory(6 * count)?;
    }
    let (rgb, width, height) = colour::turned(rgb, (width, height), orientation);
    let notes = Notes { animated, turned, broken_exif, alpha, undrawn: 0 };
    Ok(Picture { width, height, rgb, kind, notes })
}

fn damaged(kind: Kind, error: &ImageError) -> Unusable {
    let name = kind.name();
    let text = error.to_string();
    let cut = ["unexpected end", "UnexpectedEof", "failed to fill whole buffer", "end of file", "truncated"];
    if cut.iter().any(|sign| text.contains(sign)) {
        return Unusable::new(format!("is a {name} that ends before its picture does ({text})"));
    }
    Unusable::new(format!("is a damaged {name}: {text}"))
}

/// Number of frames of a GIF, at most 2.
fn gif_frames(bytes: &[u8]) -> usize {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + bytes.get(10).map_or(0, |&flags| table(flags));
    let mut frames = 0;
    // Skips blocks with a length prefix, up to one of length 0.
    let blocks = |mut at: usize| {
        while let Some(&length) = bytes.get(at) {
            at += 1 + usize::from(length);
            if length == 0 {
                break;
            }
        }
        at
    };
    while frames < 2 {
        match bytes.get(at) {
            Some(0x2C) => {
                frames += 1;
                at = blocks(at + 11 + bytes.get(at + 9).map_or(0, |&flags| table(flags)));
            }
            Some(0x21) => at = blocks(at + 2),
            _ => break,
        }
    }
    frames
}
