//! Converts decoded pixels of any type to 8-bit RGB: 16-bit values are rounded, and transparent pixels are composited on white. (Pillow's
//! `convert("RGB")` drops the alpha channel instead, and emoji become black boxes.)

use image::ColorType;
use image::metadata::Orientation;

use crate::{Result, Unusable};

/// Number of bytes that [`to_rgb`] needs in addition to the decoded ones.
pub fn extra_bytes(color: ColorType, pixels: u64) -> u64 {
    match color {
        ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16 => 3 * pixels,
        _ => 0,
    }
}

/// Converts to RGB, 3 bytes per pixel; also returns whether there was an alpha channel. If the result is not larger, it reuses the memory
/// of the decoded bytes (16-bit values are in native byte order).
///
/// # Errors
/// When the pixels are floating-point numbers.
pub fn to_rgb(mut raw: Vec<u8>, color: ColorType) -> Result<(Vec<u8>, bool)> {
    let narrow = |raw: &mut Vec<u8>| {
        for i in 0..raw.len() / 2 {
            let value = u16::from_ne_bytes([raw[2 * i], raw[2 * i + 1]]);
            raw[i] = ((u32::from(value) + 128) / 257) as u8;
        }
        raw.truncate(raw.len() / 2);
    };
    if matches!(color, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16) {
        narrow(&mut raw);
    }
    Ok(match color {
        ColorType::Rgb8 | ColorType::Rgb16 => (raw, false),
        ColorType::L8 | ColorType::L16 => (raw.iter().flat_map(|&grey| [grey; 3]).collect(), false),
        ColorType::La8 | ColorType::La16 => {
            (raw.as_chunks().0.iter().flat_map(|&[grey, alpha]| [over_white(grey, alpha); 3]).collect(), true)
        }
        ColorType::Rgba8 | ColorType::Rgba16 => {
            let pixels = raw.len() / 4;
            for i in 0..pixels {
                let alpha = raw[4 * i + 3];
                for channel in 0..3 {
                    raw[3 * i + channel] = over_white(raw[4 * i + channel], alpha);
                }
            }
            raw.truncate(3 * pixels);
            (raw, true)
        }
        other => return Err(Unusable::new(format!("has pixels of type {other:?}, which is not read"))),
    })
}

/// `value · alpha + white · (1 - alpha)`, rounded.
fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// Rotates or mirrors the picture as EXIF says; returns the new width and height.
pub fn turned(rgb: Vec<u8>, (width, height): (u32, u32), orientation: Orientation) -> (Vec<u8>, u32, u32) {
    let (w, h) = (width as usize, height as usize);
    // For each pixel of the result, its source.
    let source: fn(usize, usize, usize, usize) -> (usize, usize) = match orientation {
        Orientation::NoTransforms => return (rgb, width, height),
        Orientation::FlipHorizontal => |x, y, w, _| (w - 1 - x, y),
        Orientation::Rotate180 => |x, y, w, h| (w - 1 - x, h - 1 - y),
        Orientation::FlipVertical => |x, y, _, h| (x, h - 1 - y),
        Orientation::Rotate90FlipH => |x, y, _, _| (y, x),
        Orientation::Rotate90 => |x, y, _, h| (y, h - 1 - x),
        Orientation::Rotate270FlipH => |x, y, w, h| (w - 1 - y, h - 1 - x),
        Orientation::Rotate270 => |x, y, w, _| (w - 1 - y, x),
    };
    let swaps = matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let (new_w, new_h) = if swaps { (h, w) } else { (w, h) };
    let mut result = Vec::with_capacity(rgb.len());
    for y in 0..new_h {
        for x in 0..new_w {
            let (from_x, from_y) = source(x, y, w, h);
            let at = 3 * (from_y * w + from_x);
            result.extend_from_slice(&rgb[at..at + 3]);
        }
    }
    (result, new_w as u32, new_h as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_types_become_rgb() {
        let sixteen = |values: &[u16]| values.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<u8>>();
        for (raw, color, rgb, alpha) in [
            (vec![7, 200], ColorType::L8, vec![7, 7, 7, 200, 200, 200], false),
            (vec![0, 255, 0, 0], ColorType::La8, vec![0, 0, 0, 255, 255, 255], true),
            (vec![10, 20, 30, 255, 0, 0, 0, 51], ColorType::Rgba8, vec![10, 20, 30, 204, 204, 204], true),
            (sixteen(&[0, 257, 65535]), ColorType::Rgb16, vec![0, 1, 255], false),
            (sixteen(&[128, 129, 65407, 65535]), ColorType::Rgba16, vec![0, 1, 255], true),
            (sixteen(&[65535, 0]), ColorType::La16, vec![255; 3], true),
        ] {
            assert_eq!(to_rgb(raw, color), Ok((rgb, alpha)), "{color:?}");
        }
    }

    #[test]
    fn the_eight_orientations_of_exif() {
        // a b c
        // d e f
        let rgb: Vec<u8> = b"abcdef".iter().flat_map(|&letter| [letter; 3]).collect();
        for (exif, rows) in [
            (1, "abc|def"),
            (2, "cba|fed"),
            (3, "fed|cba"),
            (4, "def|abc"),
            (5, "ad|be|cf"),
            (6, "da|eb|fc"),
            (7, "fc|eb|da"),
            (8, "cf|be|ad"),
        ] {
            let orientation = Orientation::from_exif(exif).unwrap();
            let (turned, width, _) = turned(rgb.clone(), (3, 2), orientation);
            let letters: Vec<u8> = turned.chunks(3).map(|pixel| pixel[0]).collect();
            let found: Vec<&str> =
                letters.chunks(width as usize).map(|row| std::str::from_utf8(row).unwrap()).collect();
            assert_eq!(found.join("|"), rows, "EXIF {exif}");
        }
    }
}
