//! A thousand damaged pictures: each is a picture or a sentence, within 2 seconds and 400 MB.

#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{SVG, chunk, exif, file, gif, jpeg, jpeg_with_exif, rgb, smooth, with_chunks};
use image::{DynamicImage, ImageFormat};
use pictures::{Limits, decode};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use test_support::fixture;

/// The system's allocator, with the bytes that are taken and the most that were.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(TAKEN.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn twenty() -> Vec<Vec<u8>> {
    let colour = DynamicImage::ImageRgb8(rgb(61, 47));
    let soft = smooth(50, 40);
    let fixture = |name: &str| std::fs::read(fixture(&format!("vision/{name}"))).unwrap();
    let png = file(&colour, ImageFormat::Png);
    vec![
        png.clone(),
        file(&colour.to_rgba8().into(), ImageFormat::Png),
        file(&colour.to_luma8().into(), ImageFormat::Png),
        file(&colour.to_rgb16().into(), ImageFormat::Png),
        file(&colour.to_luma_alpha16().into(), ImageFormat::Png),
        with_chunks(&png, &[chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]), chunk(b"tEXt", b"Title\0a picture")]),
        with_chunks(&png, &[chunk(b"eXIf", &exif(6, true))]),
        fixture("palette.png"),
        jpeg(&soft, 90),
        jpeg(&rgb(61, 47), 30),
        jpeg_with_exif(&jpeg(&soft, 80), &exif(8, false)),
        fixture("cmyk.jpg"),
        fixture("cmyk_progressive.jpg"),
        gif(&[[9, 8, 7, 255]]),
        gif(&[[255, 0, 0, 255], [0, 255, 0, 128], [0, 0, 255, 0]]),
        file(&colour, ImageFormat::WebP),
        file(&colour.to_rgba8().into(), ImageFormat::WebP),
        file(&colour, ImageFormat::Bmp),
        SVG.as_bytes().to_vec(),
        SVG.replace("width=\"40\"", "width=\"100%\"").into_bytes(),
    ]
}

/// Makes one to four changes: flips bits, replaces bytes or four-byte numbers, or removes, duplicates or moves pieces.
fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..=4) {
        if bytes.len() < 8 {
            return;
        }
        // Half of all changes hit the first 64 bytes, where headers are.
        let end = if random.random() { bytes.len().min(64) } else { bytes.len() };
        let at = random.random_range(0..end - 4);
        let length = random.random_range(1..=(bytes.len() - at).min(200));
        match random.random_range(0..7) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at..at + 4].copy_from_slice(&random.random::<u32>().to_be_bytes()),
            3 => bytes[at..at + 2].copy_from_slice(&random.random_range(0..9000_u16).to_be_bytes()),
            4 => _ = bytes.drain(at..at + length),
            5 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(at + length),
        }
    }
    // Half of the changed PNG files have sound checksums, so that their content is read at all.
    if bytes.starts_with(b"\x89PNG") && random.random() {
        let mut at = 8;
        while at + 12 <= bytes.len() {
            let length = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
            let Some(end) = at.checked_add(8 + length).filter(|end| end + 4 <= bytes.len()) else { break };
            let sum = crc32fast::hash(&bytes[at + 4..end]).to_be_bytes();
            bytes[end..end + 4].copy_from_slice(&sum);
            at = end + 4;
        }
    }
}

#[test]
fn a_thousand_mutations_of_twenty_files() {
    let files = twenty();
    assert_eq!(files.len(), 20);
    let limits = Limits::default();
    for (i, bytes) in files.iter().enumerate() {
        decode(bytes, &limits).unwrap_or_else(|error| panic!("file {i}: {error}"));
    }
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut pictures, mut sentences, mut slowest, mut largest) = (0, 0, Duration::ZERO, 0);
    for round in 0..1000 {
        let mut bytes = files[round % files.len()].clone();
        mutate(&mut bytes, &mut random);
        let before = TAKEN.load(Relaxed);
        MOST.store(before, Relaxed);
        let started = Instant::now();
        let result = decode(&bytes, &limits);
        let (took, peak) = (started.elapsed(), MOST.load(Relaxed) - before);
        assert!(took < Duration::from_secs(2), "round {round}: {took:?}");
        assert!(peak < 400_000_000, "round {round}: {peak} bytes");
        (slowest, largest) = (slowest.max(took), largest.max(peak));
        match result {
            Ok(picture) => {
                assert_eq!(picture.rgb.len() as u64, 3 * u64::from(picture.width) * u64::from(picture.height));
                pictures += 1;
            }
            Err(error) => {
                let sentence = error.to_string();
                assert!(!sentence.is_empty() && !sentence.contains('\n'), "round {round}: {sentence}");
                assert!(!sentence.contains("a fault of it"), "round {round}: {sentence}");
                sentences += 1;
            }
        }
    }
    println!("{pictures} pictures, {sentences} sentences, at most {slowest:?} and {largest} bytes");
    // Both happen often, or the test would show nothing.
    assert!(pictures > 100 && sentences > 300, "{pictures} pictures, {sentences} sentences");
}
