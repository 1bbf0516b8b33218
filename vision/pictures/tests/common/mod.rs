//! Picture files that the tests make themselves.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, Frame, ImageBuffer, ImageFormat, Rgb, RgbImage, RgbaImage};

/// A colour picture of a formula, the one of `tests/fixtures/vision/make_processor.py`.
pub fn rgb(width: u32, height: u32) -> RgbImage {
    ImageBuffer::from_fn(width, height, |x, y| {
        Rgb([0, 1, 2].map(|c| {
            let stripes = (x / 5 + y / 3) % 2 * 90;
            ((x * 7 + y * 13 + c * 29 + (x * y) % 31 * 5 + stripes) % 256) as u8
        }))
    })
}

/// A picture with smooth colours, which JPEG keeps within a few steps.
pub fn smooth(width: u32, height: u32) -> RgbImage {
    ImageBuffer::from_fn(width, height, |x, y| Rgb([(x * 4) as u8, (y * 5) as u8, 128]))
}

/// A picture as a file of this format.
pub fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A JPEG of this quality.
pub fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture).unwrap();
    bytes
}

/// A GIF of frames of one colour each.
pub fn gif(colours: &[[u8; 4]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for &colour in colours {
        encoder.encode_frame(Frame::new(RgbaImage::from_pixel(20, 10, image::Rgba(colour)))).unwrap();
    }
    drop(encoder);
    bytes
}

/// A PNG chunk.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
}

/// A PNG with further chunks behind its header.
pub fn with_chunks(png: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    // 8 bytes of signature, 25 of the header.
    [&png[..33], &chunks.concat(), &png[33..]].concat()
}

/// An EXIF block with an orientation, in the order of Intel or Motorola.
pub fn exif(orientation: u8, little: bool) -> Vec<u8> {
    if little {
        [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat()
    } else {
        [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"[..], &[0, orientation, 0, 0, 0, 0, 0, 0]].concat()
    }
}

/// A JPEG with an EXIF block behind its start marker.
pub fn jpeg_with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let body = [&b"Exif\0\0"[..], exif].concat();
    let length = ((body.len() + 2) as u16).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &body, &jpeg[2..]].concat()
}

/// A drawing with most of what drawings have.
pub const SVG: &str = r##"<?xml version="1.0"?>
<!-- a drawing -->
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="40" height="20" viewBox="0 0 40 20">
 <defs><linearGradient id="g"><stop offset="0" stop-color="#f00"/><stop offset="1" stop-color="#00f"/></linearGradient>
  <g id="dot"><circle cx="3" cy="3" r="2" style="fill:#0a0;opacity:0.5"/></g>
  <clipPath id="c"><rect x="20" y="0" width="10" height="20"/></clipPath></defs>
 <rect x="0" y="0" width="20" height="20" fill="url(#g)"/>
 <path d="M22 2 L38 2 L30 18 Z" fill="black" clip-path="url(#c)"/>
 <use xlink:href="#dot" x="30" y="10"/><text x="1" y="9">not drawn</text>
</svg>"##;
