//! Picture files as they are found: turned, transparent, animated, deep, cut off, hostile.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{SVG, chunk, exif, file, gif, jpeg, jpeg_with_exif, rgb, smooth, with_chunks};
use image::{DynamicImage, GrayAlphaImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbaImage};
use pictures::{Kind, Limits, Notes, Picture, decode};

fn read(bytes: &[u8]) -> Picture {
    decode(bytes, &Limits::default()).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    let refused = decode(bytes, &Limits::default()).map(|picture| (picture.width, picture.height, picture.notes));
    let error = refused.unwrap_err().to_string();
    assert!(!error.contains('\n') && error.len() <= 320, "{error}");
    error
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    file(&picture.into(), ImageFormat::Png)
}

#[test]
fn lossless_formats_give_the_pixels() {
    let picture = rgb(33, 21);
    for (format, kind) in
        [(ImageFormat::Png, Kind::Png), (ImageFormat::WebP, Kind::WebP), (ImageFormat::Bmp, Kind::Bmp)]
    {
        let found = read(&file(&picture.clone().into(), format));
        let expected = Picture { width: 33, height: 21, rgb: picture.to_vec(), kind, notes: Notes::default() };
        assert!(found == expected, "{format:?}: {:?}", found.notes);
    }
    let found = read(&jpeg(&smooth(33, 21), 95));
    assert_eq!((found.width, found.height, found.kind), (33, 21, Kind::Jpeg));
    let far = found.rgb.iter().zip(smooth(33, 21).to_vec()).map(|(&a, b)| a.abs_diff(b)).max();
    assert!(far < Some(8), "{far:?}");
}

#[test]
fn deep_grey_and_transparent_pixels_become_rgb() {
    let deep = ImageBuffer::<Rgb<u16>, _>::from_fn(3, 1, |x, _| Rgb([0, 257 * 40 + x as u16, 65535]));
    assert_eq!(read(&png(DynamicImage::ImageRgb16(deep))).rgb, [0, 40, 255, 0, 40, 255, 0, 40, 255]);
    let grey = ImageBuffer::<Luma<u16>, _>::from_fn(2, 1, |x, _| Luma([65535 * x as u16]));
    assert_eq!(read(&png(DynamicImage::ImageLuma16(grey))).rgb, [0, 0, 0, 255, 255, 255]);
    let clear = RgbaImage::from_fn(2, 1, |x, _| image::Rgba([10, 20, 30, 255 * x as u8]));
    let found = read(&png(clear));
    assert_eq!((found.rgb, found.notes.alpha), (vec![255, 255, 255, 10, 20, 30], true));
    let grey = GrayAlphaImage::from_pixel(1, 1, image::LumaA([0, 0]));
    assert_eq!(read(&png(grey)).rgb, [255; 3]);
}

#[test]
fn exif_turns_jpeg_and_png() {
    // Four corners of different colours, in blocks that JPEG keeps.
    let corners = |x: u32, y: u32, w: u32, h: u32| match (x < w / 2, y < h / 2) {
        (true, true) => [255, 0, 0],
        (false, true) => [0, 255, 0],
        (true, false) => [0, 0, 255],
        (false, false) => [255, 255, 255],
    };
    let picture = ImageBuffer::from_fn(64, 32, |x, y| Rgb(corners(x, y, 64, 32)));
    let name = |picture: &Picture, x: u32, y: u32| {
        let at = 3 * (y * picture.width + x) as usize;
        let named = [("r", [255, 0, 0]), ("g", [0, 255, 0]), ("b", [0, 0, 255]), ("w", [255, 255, 255])];
        let far = |colour: &[u8; 3]| {
            colour.iter().zip(&picture.rgb[at..]).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
        };
        named.iter().min_by_key(|(_, colour)| far(colour)).unwrap().0
    };
    // Top left, top right, bottom left, bottom right.
    for (orientation, expected) in
        [(1, "rgbw"), (2, "grwb"), (3, "wbgr"), (4, "bwrg"), (5, "rbgw"), (6, "brwg"), (7, "wgbr"), (8, "gwrb")]
    {
        let (little, big) = (exif(orientation, true), exif(orientation, false));
        let files = [
            jpeg_with_exif(&jpeg(&picture, 95), &little),
            jpeg_with_exif(&jpeg(&picture, 95), &big),
            with_chunks(&png(picture.clone()), &[chunk(b"eXIf", &big)]),
        ];
        for bytes in files {
            let found = read(&bytes);
            let (w, h) = (found.width, found.height);
            assert_eq!((w, h), if orientation < 5 { (64, 32) } else { (32, 64) });
            let corners = [(4, 4), (w - 4, 4), (4, h - 4), (w - 4, h - 4)];
            let named: String = corners.iter().map(|&(x, y)| name(&found, x, y)).collect();
            assert_eq!(named, expected, "orientation {orientation} of a {:?}", found.kind);
            assert_eq!((found.notes.turned, found.notes.broken_exif), (orientation != 1, false));
        }
    }
    let broken = read(&jpeg_with_exif(&jpeg(&picture, 95), b"MM\0*\xFF\xFF\xFF\xFF"));
    assert_eq!((broken.width, broken.notes.turned, broken.notes.broken_exif), (64, false, true));
}

#[test]
fn the_first_frame_of_an_animation_is_taken_and_said() {
    let two = read(&gif(&[[200, 0, 0, 255], [0, 0, 200, 255]]));
    assert_eq!((&two.rgb[..3], two.notes.animated), (&[200, 0, 0][..], true));
    assert!(!read(&gif(&[[200, 0, 0, 255]])).notes.animated);
    // An animated PNG: an animation control of two frames in front of the picture.
    let picture = png(rgb(4, 4));
    let control = chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
    let found = read(&with_chunks(&picture, &[control]));
    assert_eq!((found.rgb, found.notes.animated), (rgb(4, 4).to_vec(), true));
}

#[test]
fn what_is_cut_off_is_refused() {
    let picture = rgb(64, 64);
    let files = [
        ("PNG", png(picture.clone())),
        ("JPEG", jpeg(&picture, 80)),
        ("WebP", file(&picture.clone().into(), ImageFormat::WebP)),
        ("BMP", file(&picture.clone().into(), ImageFormat::Bmp)),
        ("GIF", gif(&[[1, 2, 3, 255]])),
    ];
    for (name, bytes) in &files {
        for part in [3, 5, 8] {
            let error = refusal(&bytes[..bytes.len() * part / 9]);
            assert!(error.contains(name), "{error}");
            if part == 8 {
                assert!(error.contains("ends") || error.contains("damaged"), "{error}");
            }
        }
    }
    // The end marker alone does not make a whole picture of a part: most decoders would fill the rest with grey.
    let whole = jpeg(&smooth(256, 256), 90);
    let patched = [&whole[..whole.len() / 2], b"\xFF\xD9"].concat();
    assert!(refusal(&patched).contains("its end marker comes too early"));
    assert!(refusal(&whole[..whole.len() - 2]).contains("ends before its picture does"));
}

#[test]
fn sizes_are_refused_by_their_headers() {
    // 60,000 x 60,000 in a few bytes.
    let mut huge = png(rgb(8, 8));
    huge[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let crc = crc32fast::hash(&huge[12..29]).to_be_bytes();
    huge[29..33].copy_from_slice(&crc);
    let started = Instant::now();
    assert_eq!(refusal(&huge), "has 60000 x 60000 pixels by its header, more than 64.0 million (--max-pixels)");
    assert!(started.elapsed() < Duration::from_millis(200));
    let limits = Limits { max_pixels: 99, ..Limits::default() };
    assert!(decode(&png(rgb(10, 10)), &limits).unwrap_err().to_string().contains("10 x 10 pixels by its header"));
    // 7,900 x 8,000 pixels of 8 bytes each would be within the pixels and beyond the memory.
    let mut deep = png(DynamicImage::ImageRgba16(ImageBuffer::new(8, 8)));
    deep[16..24].copy_from_slice(&[0, 0, 0x1E, 0xDC, 0, 0, 0x1F, 0x40]);
    let crc = crc32fast::hash(&deep[12..29]).to_be_bytes();
    deep[29..33].copy_from_slice(&crc);
    assert!(refusal(&deep).contains("would take 506 MB to decode, more than 390 MB"), "{}", refusal(&deep));
    let empty = [&b"GIF89a"[..], &[0; 7], b";"].concat();
    assert!(refusal(&empty).contains("GIF"), "{}", refusal(&empty));
}

#[test]
fn text_chunks_are_no_bombs() {
    // 200 MB of zeros in a compressed text of 200 KB.
    let zeros = vec![0; 200_000_000];
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &zeros).unwrap();
    drop(zeros);
    let packed = encoder.finish().unwrap();
    let text = [&b"XML:com.adobe.xmp\0\x01\0\0\0"[..], &packed].concat();
    let bytes = with_chunks(&png(rgb(8, 8)), &[chunk(b"iTXt", &text)]);
    let started = Instant::now();
    // Either answer will do: the picture, or a sentence.
    if let Ok(picture) = decode(&bytes, &Limits::default()) {
        assert_eq!(picture.rgb, rgb(8, 8).to_vec());
    }
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn drawings_lie_on_white() {
    let found = read(SVG.as_bytes());
    assert_eq!((found.width, found.height, found.kind, found.notes.undrawn), (560, 280, Kind::Svg, 1));
    let at = |x: u32, y: u32| &found.rgb[3 * (y * found.width + x) as usize..][..3];
    assert!(at(2, 140)[0] > 240 && at(277, 140)[2] > 240, "the gradient");
    // The triangle ends at the clip; beyond it are white and a half-transparent dot.
    assert_eq!((at(400, 70), at(450, 70)), (&[0, 0, 0][..], &[255, 255, 255][..]));
    assert_eq!(at(462, 182), [128, 213, 128]);
    let limits = Limits { svg_side: 64, ..Limits::default() };
    assert_eq!(decode(SVG.as_bytes(), &limits).unwrap().width, 64);
}

#[test]
fn drawings_read_nothing_and_end() {
    let svg = |body: &str| {
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">{body}</svg>"#
        )
    };
    // A file beside it is not drawn: the result is white, and counted.
    let folder = tempfile::tempdir().unwrap();
    let black = folder.path().join("black.png");
    std::fs::write(&black, png(ImageBuffer::from_pixel(9, 9, Rgb([0_u8; 3])))).unwrap();
    let reads = svg(&format!(r#"<image width="9" height="9" xlink:href="file://{}"/>"#, black.display()));
    let found = read(reads.as_bytes());
    assert!(found.rgb.iter().all(|&value| value == 255) && found.notes.undrawn == 1);

    let laughs: String =
        (1..10).map(|i| format!("<!ENTITY l{i} \"{}\">", format!("&l{};", i - 1).repeat(10))).collect();
    let laughs = format!("<!DOCTYPE svg [<!ENTITY l0 \"<g/>\">{laughs}]>{}", svg("&l9;"));
    let uses: String = (1..30)
        .map(|i| format!(r##"<g id="u{i}"><use xlink:href="#u{}"/><use xlink:href="#u{}"/></g>"##, i - 1, i - 1))
        .collect();
    let uses = svg(&format!(r#"<rect id="u0" width="1" height="1"/>{uses}"#));
    let patterns: String = (1..12)
        .map(|i| {
            let filled = format!(r##"<rect width="1" height="1" fill="url(#p{})"/>"##, i - 1).repeat(8);
            format!(r#"<pattern id="p{i}" width="1" height="1" patternUnits="userSpaceOnUse">{filled}</pattern>"#)
        })
        .collect();
    let patterns = svg(&format!(
        r##"<pattern id="p0" width="1" height="1"/>{patterns}<rect width="9" height="9" fill="url(#p11)"/>"##
    ));
    let noise = svg(
        r##"<filter id="f"><feTurbulence baseFrequency="0.1" numOctaves="900000"/></filter><rect width="9" height="9" filter="url(#f)"/>"##,
    );
    let deep = svg(&format!("{}{}", "<g>".repeat(5000), "</g>".repeat(5000)));
    let many = svg(&r#"<rect width="1" height="1"/>"#.repeat(120_000));
    for (bytes, sentence) in [
        (laughs, "SVG with a fault"),
        (uses, "draws about"),
        (patterns, "draws about"),
        (noise, "draws about"),
        (deep, "SVG"),
        (many, "SVG with a fault"),
        (svg("<rect"), "SVG with a fault"),
    ] {
        let started = Instant::now();
        let error = refusal(bytes.as_bytes());
        assert!(error.contains(sentence), "{error}");
        assert!(started.elapsed() < Duration::from_secs(2), "{error}");
    }
    // An element that refers to itself is drawn without the reference.
    read(svg(r##"<g id="a"><use xlink:href="#a"/><rect width="1" height="1"/></g>"##).as_bytes());
    // The time limit applies even if the estimate does not.
    let limits = Limits { svg_time: Duration::ZERO, ..Limits::default() };
    assert!(decode(SVG.as_bytes(), &limits).unwrap_err().to_string().contains("takes more than 0 s"));
}
