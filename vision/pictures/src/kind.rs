//! Detects the format of a file from its first bytes; the file name is ignored.

use crate::{Result, Unusable};

/// The supported picture formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Portable Network Graphics, animated ones too.
    Png,
    /// JPEG, baseline and progressive.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// Scalable Vector Graphics.
    Svg,
}

/// Signatures of unsupported formats, with their offsets.
const REFUSED: [(usize, &[u8], &str); 15] = [
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"\xFF\x0A", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xFF\x4F\xFF\x51", "JPEG 2000"),
    (0, b"\0\0\x01\0", "an icon file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "PDF"),
    (0, b"\x1F\x8B", "gzip (a compressed SVG?)"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "DDS"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"\x76\x2F\x31\x01", "OpenEXR"),
];

/// Brands of ISO media files that contain pictures.
const BRANDS: [(&[u8], &str); 12] = [
    (b"avif", "AVIF"),
    (b"avis", "AVIF"),
    (b"heic", "HEIC"),
    (b"heix", "HEIC"),
    (b"heim", "HEIC"),
    (b"heis", "HEIC"),
    (b"hevc", "HEIC"),
    (b"hevx", "HEIC"),
    (b"mif1", "HEIC"),
    (b"msf1", "HEIC"),
    (b"crx ", "a camera's raw file"),
    (b"jxl ", "JPEG XL"),
];

impl Kind {
    /// The format of a file's bytes.
    ///
    /// # Errors
    /// When the file is empty or has another format; the error names the format if it is known.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        let starts = |at: usize, with: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(with));
        if bytes.is_empty() {
            return Err(Unusable::new("the file is empty"));
        }
        if starts(0, b"\x89PNG\r\n\x1A\n") {
            return Ok(Self::Png);
        }
        if starts(0, b"\xFF\xD8\xFF") {
            return Ok(Self::Jpeg);
        }
        if starts(0, b"GIF87a") || starts(0, b"GIF89a") {
            return Ok(Self::Gif);
        }
        if starts(0, b"RIFF") && starts(8, b"WEBP") {
            return Ok(Self::WebP);
        }
        if starts(0, b"BM") && starts(6, b"\0\0\0\0") {
            return Ok(Self::Bmp);
        }
        if is_svg(bytes) {
            return Ok(Self::Svg);
        }
        Err(Unusable::new(format!("is {}, which is not read: convert it to PNG or JPEG", name(bytes))))
    }

    /// The name of the format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Svg => "SVG",
        }
    }
}

/// The start of a text without byte-order mark and white space.
fn text_start(bytes: &[u8]) -> Option<&str> {
    let head = &bytes[..bytes.len().min(4096)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The head may end within a character.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    Some(text.trim_start_matches('\u{FEFF}').trim_start())
}

fn is_svg(bytes: &[u8]) -> bool {
    text_start(bytes).is_some_and(|text| {
        text.starts_with("<svg")
            || (["<?xml", "<!"].iter().any(|start| text.starts_with(start)) && text.contains("<svg"))
    })
}

/// The name of an unsupported format.
fn name(bytes: &[u8]) -> &'static str {
    if bytes.get(4..8) == Some(b"ftyp") {
        // The major brand, followed by the compatible ones.
        let brands = bytes.get(8..).unwrap_or_default().chunks(4).take(8);
        let known = |brand: &[u8]| BRANDS.iter().find(|(known, _)| *known == brand).map(|(_, name)| *name);
        return brands.filter_map(known).next().unwrap_or("a video or another ISO media file");
    }
    if let Some((.., name)) = REFUSED.iter().find(|(at, with, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(with)))
    {
        return name;
    }
    match text_start(bytes) {
        Some(text) if text.starts_with("version https://git-lfs") => "a pointer of git-lfs and not the file itself",
        Some(text) if text.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype html")) => "a web page",
        Some(text) if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("<html")) => "a web page",
        Some(text) if !text.contains(|c: char| c.is_control() && !c.is_whitespace()) => "text",
        _ => "of no known kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_content() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1A\n...."[..], Kind::Png),
            (b"\xFF\xD8\xFF\xE0", Kind::Jpeg),
            (b"GIF89a", Kind::Gif),
            (b"RIFF\0\0\0\0WEBPVP8 ", Kind::WebP),
            (b"\xEF\xBB\xBF \n<svg xmlns='x'>", Kind::Svg),
            (b"<?xml version='1.0'?>\n<!-- a drawing --><svg/>", Kind::Svg),
        ] {
            assert_eq!(Kind::of(bytes), Ok(kind));
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (bytes, name) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1"[..], "is HEIC, which is not read: convert it to PNG or JPEG"),
            (b"\0\0\0\x18ftypmsf2\0\0\0\0avif", "is AVIF,"),
            (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "is a video"),
            (b"II*\0........", "is TIFF,"),
            (b"\0\0\0\x0CJXL \r\n", "is JPEG XL,"),
            (b"a cat\n", "is text,"),
            (b"<!DOCTYPE HTML><p>404", "is a web page,"),
            (b"<?xml version='1.0'?><rss/>", "is text,"),
            (b"\x01\x02\x03\x04", "is of no known kind,"),
            (b"", "the file is empty"),
        ] {
            let error = Kind::of(bytes).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
