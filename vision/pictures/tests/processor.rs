//! The image processor against transformers and Pillow (`tests/fixtures/vision/make_processor.py`).

#![allow(clippy::unwrap_used)]

mod common;

use image::{DynamicImage, ImageFormat};
use pictures::{Limits, Picture, Processor, decode};
use serde_json::Value;
use test_support::fixture;
use weights::Checkpoint;

fn cases() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("vision/processor.json")).unwrap()).unwrap()
}

fn pair(value: &Value) -> (u32, u32) {
    let number = |i: usize| value[i].as_u64().unwrap() as u32;
    (number(0), number(1))
}

fn number(value: &Value, name: &str) -> u32 {
    value[name].as_u64().unwrap() as u32
}

/// The numbers of a tensor of the fixture.
fn tensor(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let view = checkpoint.tensor(name).unwrap();
    view.data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn formula(width: u32, height: u32) -> Picture {
    let png = common::file(&DynamicImage::ImageRgb8(common::rgb(width, height)), ImageFormat::Png);
    decode(&png, &Limits::default()).unwrap()
}

#[test]
fn canvas_and_size_of_200_sizes_equal_transformers() {
    let cases = cases();
    let sizes = cases["sizes"].as_array().unwrap();
    assert_eq!(sizes.len(), 200);
    for case in sizes {
        let size = (number(case, "width"), number(case, "height"));
        let processor =
            Processor { tile: number(case, "tile"), max_tiles: number(case, "tiles"), ..Processor::default() };
        let canvas = processor.canvas(size);
        // transformers has (height, width) in pixels.
        let (height, width) = pair(&case["canvas"]);
        assert_eq!((canvas.0 * processor.tile, canvas.1 * processor.tile), (height, width), "{case}");
        let (width, height) = processor.fitted(size, canvas);
        assert_eq!((height, width), pair(&case["size"]), "{case}");
    }
}

#[test]
fn pixels_equal_transformers() {
    let cases = cases();
    let checkpoint = Checkpoint::open(fixture("vision/processor.safetensors")).unwrap();
    let processor = Processor { tile: 28, ..Processor::default() };
    let pictures = cases["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 9);
    for (i, case) in pictures.iter().enumerate() {
        let tiles = processor.tiles(&formula(number(case, "width"), number(case, "height"))).unwrap();
        assert_eq!(
            (tiles.count(), tiles.ratio_id),
            (number(case, "tiles"), i64::from(number(case, "ratio_id"))),
            "{case}"
        );
        let expected = tensor(&checkpoint, &format!("pixels.{i}"));
        assert_eq!(tiles.pixels.len(), expected.len());
        // A step of 1/255 is at least this far after the normalisation; equality is what is found.
        let worst = tiles.pixels.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-6, "{case}: {worst}");
    }
}

/// The largest difference of a decoded file from Pillow's pixels.
fn distance(checkpoint: &Checkpoint, name: &str, file: &str) -> f32 {
    let picture = decode(&std::fs::read(fixture(&format!("vision/{file}"))).unwrap(), &Limits::default()).unwrap();
    let expected = tensor(checkpoint, name);
    assert_eq!(picture.rgb.len(), expected.len());
    picture.rgb.iter().zip(&expected).map(|(&a, b)| (f32::from(a) - b).abs()).fold(0.0, f32::max)
}

#[test]
fn cmyk_and_palettes_equal_pillow() {
    let checkpoint = Checkpoint::open(fixture("vision/processor.safetensors")).unwrap();
    // A palette with a transparent colour, over white.
    assert_eq!(distance(&checkpoint, "palette", "palette.png"), 0.0);
    // Decoders of JPEG round their transforms differently; a swapped or inverted channel would be far off.
    for name in ["cmyk", "cmyk_progressive"] {
        let worst = distance(&checkpoint, name, &format!("{name}.jpg"));
        assert!(worst <= 4.0, "{name}: {worst}");
    }
}
